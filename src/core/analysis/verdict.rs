//! What the comparison says.
//!
//! "Insufficient" and "no comparison" are answers of their own. Neither is ever a pass: silence is
//! not health.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::comparison::{Metric, Tally};

/// The answer of the comparison of green with blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Green is worse; this never changes back within a rollout.
    Fail(Failure),
    /// Green is certified to be better than the margins of the certificate, for this step.
    Pass,
    /// Neither is shown.
    Insufficient {
        /// What a certificate misses.
        missing: Missing,
    },
    /// There should be a comparison and there is none.
    Unavailable {
        /// What is wrong.
        why: Unavailable,
    },
    /// There is nothing to compare with: `comparison: none`.
    NoComparison {
        /// Why not.
        why: NoComparison,
    },
}

/// A verdict in a word, as it is written down and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Green is certified not to be worse than the margins of the certificate.
    Pass,
    /// Green is worse than blue.
    Fail,
    /// Neither is shown.
    Insufficient,
    /// There should be a comparison and there is none.
    Unavailable,
    /// There is nothing to compare with.
    None,
}

impl Word {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Insufficient => "insufficient",
            Self::Unavailable => "unavailable",
            Self::None => "none",
        }
    }
}

impl From<&Verdict> for Word {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail(_) => Self::Fail,
            Verdict::Insufficient { .. } => Self::Insufficient,
            Verdict::Unavailable { .. } => Self::Unavailable,
            Verdict::NoComparison { .. } => Self::None,
        }
    }
}

/// Why green was found worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure {
    /// The metric that contributed most.
    pub metric: Metric,
    /// Its part of the evidence, 0..=1.
    pub share: f64,
    /// The evidence: so many times as likely to be reached by a green that is worse than by a
    /// healthy one.
    pub evidence: f64,
    /// The settled requests of the step in that metric.
    pub settled: Tally,
    /// Green fails at least so many times as often as blue; `None` if that is not shown.
    pub at_least: Option<f64>,
}

/// How many green requests a certificate misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// About this many, at the present rates.
    Green(u64),
    /// Not known: at the present rates the evidence does not grow.
    Unknown,
    /// Certificates are not given here: there is no rule for them, or users are sticky.
    NotByStatistics,
}

impl Missing {
    /// The number; `None` where it is not known.
    #[must_use]
    pub fn green(self) -> Option<u64> {
        match self {
            Self::Green(missing) => Some(missing),
            Self::Unknown | Self::NotByStatistics => None,
        }
    }
}

/// Why there is no comparison although there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// A calculation gave something that is no number: weights are held, somebody has to look.
    Fault,
    /// Which sticky users were counted is not known any more (B9).
    UnitsForgotten,
}

/// Why there is nothing to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoComparison {
    /// No request was drawn yet.
    NotBegun,
    /// Green has no traffic.
    GreenHasNothing,
    /// Blue has no traffic.
    GreenHasEverything,
    /// At most one request in 10 000 goes to one of the sides.
    WeightTooExtreme,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(failure) => failure.fmt(f),
            Self::Pass => write!(f, "green is certified not to be worse than its margins"),
            Self::Insufficient { missing: Missing::Green(missing) } => {
                write!(f, "not enough is known: about {missing} more green requests")
            }
            Self::Insufficient { missing: Missing::Unknown } => {
                write!(f, "not enough is known, and at the present rates it does not become more")
            }
            Self::Insufficient { missing: Missing::NotByStatistics } => {
                write!(f, "nothing speaks against green; certificates are not given here")
            }
            Self::Unavailable { why } => why.fmt(f),
            Self::NoComparison { why } => write!(f, "comparison: none, {why}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { green_bad, blue_bad, .. } = self.settled;
        write!(
            f,
            "{}: {green_bad} of {} green requests bad, {blue_bad} of {} blue ones",
            self.metric.as_str(),
            self.settled.green(),
            self.settled.blue(),
        )?;
        if let Some(ratio) = self.at_least {
            write!(f, "; green fails at least {ratio} times as often")?;
        }
        Ok(())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "the comparison failed by a fault of its own",
            Self::UnitsForgotten => "which users were counted already is not known any more",
        })
    }
}

impl fmt::Display for NoComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBegun => "no request was drawn yet",
            Self::GreenHasNothing => "green has no traffic",
            Self::GreenHasEverything => "green has all the traffic",
            Self::WeightTooExtreme => "one side has next to no traffic",
        })
    }
}
