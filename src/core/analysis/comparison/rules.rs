//! What a comparison goes by, fixed before the rollout starts.

use crate::core::model::Span;

use super::certificate::CertificateRule;
use super::cohort::Calendar;
use super::margins::{Level, MarginTable};

/// The rules of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How much worse green may be.
    pub margins: MarginTable,
    /// At most this part of the healthy greens is rolled back by the comparison.
    pub alpha: Level,
    /// What a certificate needs; `None`: none is ever given by statistics, as in a sticky service
    /// (B9).
    pub certificate: Option<CertificateRule>,
    /// The absolute processes; `None` without a service level objective.
    pub absolute: Option<AbsoluteRule>,
    /// From how many targets of green on a rollback must stand without any one of them; `None`
    /// switches leave-one-out off (section 6.5).
    pub leave_one_out_from: Option<usize>,
    /// How many cohorts may be open at once; see [`Rules::ring_for`].
    pub ring: usize,
}

impl Rules {
    /// The fewest open cohorts that are kept: 64 s.
    pub const SMALLEST_RING: usize = 640;
    /// The most open cohorts that are kept, whatever the timeout: 10 minutes.
    pub const LARGEST_RING: usize = 6_000;

    /// How many open cohorts it takes so that no request of a service with this timeout is given up
    /// before it is answered: the timeout and a second (C5), and some for cuts at changes.
    #[must_use]
    pub fn ring_for(upstream_timeout: Span) -> usize {
        let time = upstream_timeout.saturating_add(Span::from_secs(1));
        let cohorts = time.ms().div_ceil(Calendar::COHORT.ms()) + SPARE;
        let cohorts = usize::try_from(cohorts).unwrap_or(Self::LARGEST_RING);
        cohorts.clamp(Self::SMALLEST_RING, Self::LARGEST_RING)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            margins: MarginTable::default(),
            alpha: Level::ALPHA,
            certificate: Some(CertificateRule::default()),
            absolute: None,
            leave_one_out_from: Some(3),
            ring: Self::SMALLEST_RING,
        }
    }
}

/// Cohorts that are kept for cuts at changes of weight, step or dormancy.
const SPARE: u64 = 16;

/// What the absolute processes go by (section 6.3b).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbsoluteRule {
    /// The share of failures that is alarmed above, 0..1; at 1 and more nothing is.
    pub p0: f64,
    /// The level of each of the two processes.
    pub alpha: Level,
}

impl AbsoluteRule {
    /// The rule of an objective, `0.999` for 99.9 %: a burn rate above 14.4.
    #[must_use]
    pub fn for_objective(objective: f64) -> Self {
        Self { p0: 14.4 * (1.0 - objective), alpha: Level::ALPHA }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_outlasts_the_timeout() {
        assert_eq!(Rules::ring_for(Span::from_secs(1)), 640);
        assert_eq!(Rules::ring_for(Span::from_secs(120)), 1_226);
        assert_eq!(Rules::ring_for(Span::from_hours(10)), 6_000);
    }
}
