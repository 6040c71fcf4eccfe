//! Trials: whole rollouts through the real comparison, on a virtual clock and with a seed.
//!
//! Requests arrive as a Poisson process, the coin is flipped for each, and the traffic that is
//! tried says what becomes of it and when. The comparison sees what it would see in the proxy:
//! counters of cohorts, read every 100 ms and after failures of green. The same seed gives the same
//! report.
//!
//! This is what `make analysis-proof` measures false rollbacks with, and what a rollout can be
//! planned with.

mod run;
mod users;

use crate::core::model::{Side, Span, Weight};

use super::comparison::{Calendar, Chance, ClusterGuard, Rules};
pub use run::TrialRun;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long it takes until that is known, in microseconds.
    pub after_us: u64,
    /// What it is.
    pub kind: AnswerKind,
    /// The target that it was sent to; `None` without one.
    pub target: Option<usize>,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// Answered well.
    Ok,
    /// Answered 4xx.
    ClientError,
    /// Answered 5xx, or not at all.
    Error,
    /// The client left first: counts as an error on both sides (B6).
    ClientGone,
}

/// A request that has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrives, in microseconds since the start of the rollout.
    pub at_us: u64,
    /// Where the coin sent it.
    pub side: Side,
    /// Who sent it, in a sticky service; `None` in one that is not.
    pub user: Option<u32>,
}

/// A rollout to be tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The rules of the comparison.
    pub rules: Rules,
    /// Requests a second, on both sides together.
    pub rate: f64,
    /// Weight and length of each step.
    pub steps: Vec<(Weight, Span)>,
    /// How many targets green has.
    pub green_targets: usize,
    /// The cluster guard.
    pub guard: ClusterGuard,
    /// How many of blue's latencies are known when it begins.
    pub known_before: usize,
    /// How many users there are, each pinned to a side by a hash as in a sticky service; `None`: a
    /// coin is flipped for each request. The rules have to be those for units.
    pub users: Option<u32>,
}

/// What became of the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrialReport {
    /// When it was rolled back, in microseconds since the start; `None` if it was not.
    pub rolled_back_us: Option<u64>,
    /// When the first step was certified, in microseconds; `None` if it was not.
    pub passed_us: Option<u64>,
    /// Requests sent to green before the rollback.
    pub green_requests: u64,
    /// Those of them that fail, whether that was known by then or not.
    pub green_failed: u64,
    /// All requests before the rollback.
    pub requests: u64,
    /// The largest evidence against green.
    pub highest: f64,
    /// Whether the absolute process of green alarmed.
    pub green_alarmed: bool,
    /// Whether that of blue did.
    pub blue_alarmed: bool,
}

impl Trial {
    /// Runs the rollout until it is rolled back or its steps are over. `traffic` answers requests;
    /// it is asked in the order of arrival and may remember what it likes.
    pub fn run(
        &self,
        seed: u64,
        mut traffic: impl FnMut(&mut Chance, Arrival) -> Answer,
    ) -> TrialReport {
        let mut chance = Chance::new(seed);
        let mut run = self.start();
        for _ in 0..self.known_before {
            let arrival = Arrival { at_us: 0, side: Side::Blue, user: None };
            let answer = traffic(&mut chance, arrival);
            run.learn(run::latency_of(Side::Blue, &answer));
        }
        let mut end_us = 0;
        let mut arrival_us = 0;
        for (step, (weight, length)) in (0..).zip(&self.steps) {
            let w = weight.share();
            let start_us = end_us;
            end_us += length.ms() * 1_000;
            run.tick(start_us, step, *weight);
            let mut tick_us = start_us + COHORT_US;
            while tick_us <= end_us && run.report.rolled_back_us.is_none() {
                while arrival_us < tick_us {
                    run.settle_until(arrival_us);
                    if run.report.rolled_back_us.is_some() {
                        break;
                    }
                    let arrival = self.flip(seed, &mut chance, arrival_us, w);
                    let answer = traffic(&mut chance, arrival);
                    run.arrive(arrival, answer);
                    arrival_us += chance.exponential(1e6 / self.rate) as u64 + 1;
                }
                run.settle_until(tick_us);
                run.tick(tick_us, step, *weight);
                tick_us += COHORT_US;
            }
        }
        run.finish()
    }

    /// The rollout before its first request, to be driven tick by tick.
    #[must_use]
    pub fn start(&self) -> TrialRun<'_> {
        TrialRun::new(self)
    }

    /// Draws a request's side with the odds `w` (0..=1) for green; in a sticky service its user,
    /// whose side is that of a hash.
    pub fn flip(&self, seed: u64, chance: &mut Chance, at_us: u64, w: f64) -> Arrival {
        let user = self.users.map(|users| (chance.bits() % u64::from(users.max(1))) as u32);
        let green = match user {
            None => chance.yes(w),
            Some(user) => Chance::new(seed ^ (u64::from(user) << 32) ^ SIDES).yes(w),
        };
        Arrival { at_us, side: if green { Side::Green } else { Side::Blue }, user }
    }
}

/// The salt that sides are drawn with, another than that of the filter of users.
const SIDES: u64 = 0x7469_6465_6761_7465;

const COHORT_US: u64 = 1_000 * Calendar::COHORT.ms();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::comparison::{Level, MarginTable};

    fn trial(rate: f64, bp: u16, secs: u64) -> Trial {
        Trial {
            rules: Rules { margins: MarginTable::default(), ..Rules::default() },
            rate,
            steps: vec![(Weight::from_bp(bp).unwrap(), Span::from_secs(secs))],
            green_targets: 1,
            guard: ClusterGuard::new(Span::ZERO),
            known_before: 2_000,
            users: None,
        }
    }

    fn answer(chance: &mut Chance, failing: f64, median_ms: f64) -> Answer {
        let kind = if chance.yes(failing) { AnswerKind::Error } else { AnswerKind::Ok };
        Answer { after_us: chance.log_normal(1_000.0 * median_ms, 0.8) as u64, kind, target: None }
    }

    fn median(mut found: Vec<u64>) -> u64 {
        found.sort_unstable();
        found[found.len() / 2]
    }

    /// The tables of section 5 and E2: 50 ms, w = 0.1, all five metrics.
    #[test]
    fn a_green_that_fails_everything_leaks_as_few_requests_as_the_tables_say() {
        for (rate, most) in [(100.0, 8), (1_000.0, 24)] {
            let leaked = (0..40).map(|seed| {
                let report = trial(rate, 1_000, 60).run(seed, |chance, arrival| {
                    let failing = if arrival.side == Side::Green { 1.0 } else { 0.0 };
                    answer(chance, failing, 50.0)
                });
                assert!(report.rolled_back_us.is_some());
                report.green_failed
            });
            let leaked = median(leaked.collect());
            assert!(leaked <= most && leaked >= 4, "{rate}: {leaked}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_report_and_another_another() {
        let run = |seed| trial(500.0, 1_000, 5).run(seed, |chance, _| answer(chance, 0.01, 20.0));
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn a_slower_green_is_caught_and_a_healthy_one_is_certified() {
        let slower = trial(1_000.0, 1_000, 120).run(1, |chance, arrival| {
            answer(chance, 0.0, if arrival.side == Side::Green { 75.0 } else { 50.0 })
        });
        assert!(slower.rolled_back_us.is_some(), "{slower:?}");
        let healthy = trial(1_000.0, 1_000, 60).run(1, |chance, _| answer(chance, 0.0, 50.0));
        assert_eq!(healthy.rolled_back_us, None);
        assert!(healthy.passed_us.is_some_and(|at| at < 12_000_000), "{healthy:?}");
    }

    #[test]
    fn healthy_greens_are_rarely_suspected_with_drift_and_a_shared_outage() {
        let mut plan = trial(200.0, 1_000, 20);
        plan.rules.alpha = Level::new(0.05).unwrap();
        let minute = |at_us: u64| at_us as f64 / 60e6;
        let false_rollbacks = (0..60).filter(|seed| {
            let report = plan.run(*seed, |chance, arrival| {
                let at = minute(arrival.at_us);
                let outage = (0.1..0.2).contains(&at);
                let failing = if outage { 0.3 } else { 0.01 * (1.0 + 0.5 * (20.0 * at).sin()) };
                answer(chance, failing, 50.0)
            });
            report.rolled_back_us.is_some()
        });
        // Expected at most 3; 10 would happen once in 4 000.
        assert!(false_rollbacks.count() < 10);
    }
}
