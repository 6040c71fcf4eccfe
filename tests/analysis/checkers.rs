//! Small models of checkers by thresholds, to compare with: what they do with the same traffic.
//!
//! Both look once a minute at green's last minute and call it bad if less than 99 % of its requests
//! succeeded, the threshold of their usual examples. *Flagger-like*: bad looks are added up and
//! nothing takes them away, a minute without requests is bad, and the rollback comes with the look
//! after the fifth. *Argo-like*: the fourth bad look aborts. The delay of scraping is left out, in
//! their favour. They are models of published rules and none of the programs themselves.

use tidegate::core::analysis::comparison::Chance;

/// A rule of a checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checker {
    /// Rolls back with the look after the fifth bad one.
    FlaggerLike,
    /// Aborts with the fourth bad one.
    ArgoLike,
}

/// What became of a rollout: when it was taken back, in seconds, and what green failed until then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Watched {
    /// `None` if it was not taken back.
    pub(crate) caught_secs: Option<f64>,
    /// Requests that green failed.
    pub(crate) failed: u64,
}

impl Checker {
    /// Watches a green with so many requests a second of which it fails a share.
    pub(crate) fn watch(self, green_rate: f64, failing: f64, chance: &mut Chance) -> Watched {
        let (mut bad, mut failed) = (0_u32, 0);
        for minute in 1..=MINUTES {
            let requests = arrivals(green_rate * 60.0, chance);
            let failures = failures(requests, failing, chance);
            failed += failures;
            let caught = Watched { caught_secs: Some(f64::from(minute) * 60.0), failed };
            if self == Self::FlaggerLike && bad >= 5 {
                return caught;
            }
            let is_bad = match requests {
                0 => self == Self::FlaggerLike,
                _ => failures as f64 > 0.01 * requests as f64,
            };
            bad += u32::from(is_bad);
            if self == Self::ArgoLike && bad > 3 {
                return caught;
            }
        }
        Watched { caught_secs: None, failed }
    }
}

/// How many requests arrive where so many are expected; of many, the normal distribution is close
/// enough.
fn arrivals(expected: f64, chance: &mut Chance) -> u64 {
    if expected >= 50.0 {
        // The logarithm of a log-normal number is normal.
        let normal = chance.log_normal(1.0, 1.0).ln();
        return (expected + expected.sqrt() * normal).round().max(0.0) as u64;
    }
    let (mut at, mut arrived) = (chance.exponential(1.0), 0);
    while at < expected {
        at += chance.exponential(1.0);
        arrived += 1;
    }
    arrived
}

/// How many of so many requests fail, from one failure to the next.
fn failures(requests: u64, failing: f64, chance: &mut Chance) -> u64 {
    if failing >= 1.0 {
        return requests;
    }
    let mut gap = || ((1.0 - chance.unit()).ln() / (-failing).ln_1p()) as u64;
    let (mut at, mut failed) = (gap(), 0);
    while at < requests {
        at = at.saturating_add(1).saturating_add(gap());
        failed += 1;
    }
    failed
}

/// How long a rollout is watched.
const MINUTES: u32 = 60;
