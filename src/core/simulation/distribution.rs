//! What becomes of many simulated rollouts that differ in their seeds alone.

use serde::Serialize;

use crate::core::rollout::StateName;

use super::run::Simulated;
use super::scenario::Scenario;

/// What is kept of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// When the comparison spoke against green, in milliseconds; `None` if it did not.
    caught_ms: Option<u64>,
    green_requests: u64,
    green_failed: u64,
    state: StateName,
}

impl Glance {
    /// A glance at a run.
    #[must_use]
    pub fn at(run: &Simulated) -> Self {
        Self {
            caught_ms: run.caught.as_ref().map(|caught| caught.at_ms),
            green_requests: run.green.requests,
            green_failed: run.green.failed,
            state: run.state,
        }
    }
}

/// The middle of some numbers, and what 19 of 20 of them do not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Half of them are at most this.
    pub median: u64,
    /// 95 % of them are at most this.
    pub p95: u64,
}

impl Quantiles {
    /// Those of some numbers; `None` of none.
    #[must_use]
    pub fn of(mut numbers: Vec<u64>) -> Option<Self> {
        numbers.sort_unstable();
        let last = numbers.len().checked_sub(1)?;
        // The smallest number that so many percent do not exceed.
        let at = |percent: usize| {
            let rank = (numbers.len() * percent).div_ceil(100);
            numbers[rank.saturating_sub(1).min(last)]
        };
        Some(Self { median: at(50), p95: at(95) })
    }
}

/// What became of all runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// How many there were.
    pub runs: u64,
    /// Those in which something was wrong with green and the comparison spoke against it.
    pub caught: u64,
    /// Those in which it spoke against a green with which nothing was wrong, or not yet, or no more
    /// than is tolerated.
    pub false_rollbacks: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that ended otherwise, or were held until the simulation ended.
    pub otherwise: u64,
    /// How long it took from the beginning of what is wrong until it was caught, in milliseconds,
    /// where it was; `None` where it never was.
    pub caught_after_ms: Option<Quantiles>,
    /// Requests that green failed, over all runs; `None` without runs.
    pub green_failed: Option<Quantiles>,
    /// Requests that green was sent, over all runs; `None` without runs.
    pub green_requests: Option<Quantiles>,
}

impl Distribution {
    /// Sums up the runs of a scenario.
    #[must_use]
    pub fn of(scenario: &Scenario, runs: &[Glance]) -> Self {
        let begins_ms = scenario.starts_after.ms();
        let wrong = !scenario.is_tolerated();
        let spoken: Vec<u64> = runs.iter().filter_map(|run| run.caught_ms).collect();
        let rightly: Vec<u64> = spoken
            .iter()
            .filter(|at_ms| wrong && **at_ms >= begins_ms)
            .map(|at_ms| at_ms - begins_ms)
            .collect();
        let count =
            |wanted: &dyn Fn(&Glance) -> bool| runs.iter().filter(|run| wanted(run)).count() as u64;
        let silent = |run: &Glance| run.caught_ms.is_none();
        let succeeded = count(&|run| silent(run) && run.state == StateName::Succeeded);
        Self {
            runs: runs.len() as u64,
            caught: rightly.len() as u64,
            false_rollbacks: (spoken.len() - rightly.len()) as u64,
            succeeded,
            otherwise: count(&silent) - succeeded,
            caught_after_ms: Quantiles::of(rightly),
            green_failed: Quantiles::of(runs.iter().map(|run| run.green_failed).collect()),
            green_requests: Quantiles::of(runs.iter().map(|run| run.green_requests).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Span;
    use crate::core::simulation::testkit::scenario;

    fn glance(caught_ms: Option<u64>, state: StateName) -> Glance {
        Glance { caught_ms, green_requests: 10, green_failed: 1, state }
    }

    #[test]
    fn quantiles_are_numbers_that_were_there() {
        assert_eq!(Quantiles::of(Vec::new()), None);
        assert_eq!(Quantiles::of(vec![7]), Some(Quantiles { median: 7, p95: 7 }));
        let hundred = Quantiles::of((1..=100).rev().collect());
        assert_eq!(hundred, Some(Quantiles { median: 50, p95: 95 }));
    }

    #[test]
    fn what_is_caught_before_anything_is_wrong_is_false() {
        let mut wrong = scenario();
        wrong.green_errors = "5%".parse().expect("a share");
        wrong.starts_after = Span::from_secs(10);
        let runs = [
            glance(Some(4_000), StateName::RolledBack),
            glance(Some(12_000), StateName::RolledBack),
            glance(None, StateName::Succeeded),
            glance(None, StateName::Shifting),
        ];
        let found = Distribution::of(&wrong, &runs);
        assert_eq!((found.caught, found.false_rollbacks), (1, 1));
        assert_eq!((found.succeeded, found.otherwise), (1, 1));
        assert_eq!(found.caught_after_ms, Some(Quantiles { median: 2_000, p95: 2_000 }));
        let healthy = Distribution::of(&scenario(), &runs);
        assert_eq!((healthy.caught, healthy.false_rollbacks), (0, 2));
    }

    #[test]
    fn what_is_within_the_tolerance_is_not_wrong() {
        let check = |errors: &str, latency: &str, tolerated: bool| {
            let mut scenario = scenario();
            scenario.green_errors = errors.parse().expect("a share");
            scenario.green_latency = latency.parse().expect("a slowdown");
            assert_eq!(scenario.is_tolerated(), tolerated, "{errors} {latency}");
        };
        check("0.1%", "+0%", true);
        check("0.16%", "+10%", true);
        check("0.17%", "+0%", false);
        check("0.1%", "+11%", false);
    }
}
