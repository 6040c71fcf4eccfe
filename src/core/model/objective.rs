//! A service level objective: the share of requests that has to succeed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reason why a text is not an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectiveError {
    /// Not a percentage with at most four decimals.
    #[error(
        "{text:?} is not an objective: a percentage such as \"99.9%\", with four decimals at most"
    )]
    NotAPercentage {
        /// What was written.
        text: String,
    },
    /// So low that no alarm could follow, or so high that every failure would be one.
    #[error("{text:?} is not an objective: at least 95% and below 100%")]
    OutOfRange {
        /// What was written.
        text: String,
    },
}

/// The share of requests that has to succeed, from 95 % and below 100 %, in steps of 0.0001 %.
///
/// An alarm means that 14.4 times the permitted failures happen: an objective near 93 % permits so
/// many that no failure rate is above that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Objective {
    /// In millionths.
    ppm: u32,
}

impl Objective {
    const WHOLE: u32 = 1_000_000;
    const LOWEST: u32 = 950_000;

    /// As a share, 0.95..1.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.ppm) / f64::from(Self::WHOLE)
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let shown = || text.chars().take(40).collect::<String>();
        let malformed = || ObjectiveError::NotAPercentage { text: shown() };
        let digits = text.strip_suffix('%').ok_or_else(malformed)?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || fraction.len() > 4 {
            return Err(malformed());
        }
        let out_of_range = || ObjectiveError::OutOfRange { text: shown() };
        let whole: u32 = whole.parse().map_err(|_| out_of_range())?;
        let fraction: u32 = format!("{fraction:0<4}").parse().map_err(|_| malformed())?;
        let ppm = whole.saturating_mul(10_000).saturating_add(fraction);
        let inside = (Self::LOWEST..Self::WHOLE).contains(&ppm);
        if inside { Ok(Self { ppm }) } else { Err(out_of_range()) }
    }
}

impl TryFrom<String> for Objective {
    type Error = ObjectiveError;
    fn try_from(text: String) -> Result<Self, ObjectiveError> {
        text.parse()
    }
}

impl From<Objective> for String {
    fn from(objective: Objective) -> Self {
        objective.to_string()
    }
}

impl fmt::Display for Objective {
    /// The shortest decimal: `99.9%`, `99.95%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.ppm / 10_000, self.ppm % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let fraction = format!("{rest:04}");
        write!(f, "{whole}.{}%", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_read_and_written_in_one_way() {
        for (text, shown, share) in [
            ("99.9%", "99.9%", 0.999),
            ("99.90%", "99.9%", 0.999),
            ("99.9999%", "99.9999%", 0.999_999),
            ("95%", "95%", 0.95),
        ] {
            let read: Objective = text.parse().unwrap();
            assert_eq!(read.to_string(), shown);
            assert!((read.share() - share).abs() < 1e-12);
        }
        for text in ["99.9", "100%", "94.9%", "99.99999%", "x%", "%", "-99%", "99.%"] {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
    }
}
