//! Arrival cohorts: the order in which the evidence is read.
//!
//! The evidence is a process over requests in the order in which they *arrived*. Whoever reads them
//! as they complete loses the guarantee: in an outage that green answers at once and blue by a
//! timeout, every failure known early is green's (section 5, trap a). So requests are counted in
//! cohorts of 100 ms of arrival time, and a cohort is settled only when everything before it is.

use serde::{Deserialize, Serialize};

use crate::core::model::{MonoTime, Span, Weight};

use super::metric::MetricSet;

/// Requests that arrived together, under one weight, in one epoch and one step.
///
/// Everything about it is fixed before its first request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// Its number, larger than that of every earlier cohort of the rollout. Counts are matched by
    /// it and never by a place in a ring, so that a late outcome finds its cohort or nothing.
    pub number: u64,
    /// The epoch; see [`Calendar`].
    pub epoch: u64,
    /// The step of the rollout: a certificate holds for one step.
    pub step: u64,
    /// Green's weight among green and blue.
    pub weight: Weight,
    /// The metrics in which no request of this cohort is compared, on either side: without a
    /// latency threshold (6.1), while a target of green warms up (B5), or without what is
    /// remembered of sticky units (B9).
    pub dormant: MetricSet,
}

impl Cohort {
    /// What a certificate is about: the step and its weight.
    #[must_use]
    pub(super) fn step_key(&self) -> (u64, Weight) {
        (self.step, self.weight)
    }
}

/// Cuts the time of a rollout into cohorts and epochs, and paces the evaluations.
///
/// An epoch begins at every multiple of 30 s since the start and at every change of weight, which
/// does not shift the multiples (D2). Time is monotonic and given; if it leaps ahead, the epochs in
/// between are skipped, and if it stands still nothing happens (C9).
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    start: MonoTime,
    changes: u64,
    /// The last cohort and its tick; `None` for the tick of one from before a restart.
    last: Option<(Option<u64>, Cohort)>,
    evaluated: Option<MonoTime>,
}

impl Calendar {
    /// The arrival time of one cohort.
    pub const COHORT: Span = Span::from_ms(100);
    /// The arrival time between two restarts.
    pub const EPOCH: Span = Span::from_secs(30);
    /// The least time between two evaluations (B15); looking less often is always valid.
    pub const EVALUATION: Span = Span::from_ms(10);

    /// The calendar of a rollout that starts now.
    #[must_use]
    pub fn new(start: MonoTime) -> Self {
        Self { start, changes: 0, last: None, evaluated: None }
    }

    /// The calendar of a rollout that goes on after a restart of the process, in a new epoch and
    /// with numbers after the last known ones.
    #[must_use]
    pub fn resume(now: MonoTime, last: Cohort) -> Self {
        Self { start: now, changes: last.epoch + 1, last: Some((None, last)), evaluated: None }
    }

    /// The epoch that a cohort opened now at this weight would belong to: if it is a new one, the
    /// latency thresholds are renewed before the cohort is opened.
    #[must_use]
    pub fn epoch_at(&self, now: MonoTime, weight: Weight) -> u64 {
        let change = self.last.is_some_and(|(_, last)| last.weight != weight);
        let elapsed = now.since(self.start).ms();
        let computed = elapsed / Self::EPOCH.ms() + self.changes + u64::from(change);
        self.last.map_or(computed, |(_, last)| computed.max(last.epoch))
    }

    /// The cohort to open now, if it is time: because 100 ms went by, or because weight, step or
    /// dormancy are others than those of the last one.
    pub fn next(
        &mut self,
        now: MonoTime,
        step: u64,
        weight: Weight,
        dormant: MetricSet,
    ) -> Option<Cohort> {
        let elapsed = now.since(self.start).ms();
        let tick = elapsed / Self::COHORT.ms();
        let epoch = self.epoch_at(now, weight);
        let mut number = 0;
        if let Some((at, last)) = self.last {
            let same = (last.step, last.weight, last.dormant) == (step, weight, dormant);
            if same && at.is_some_and(|at| tick <= at) {
                return None;
            }
            self.changes += u64::from(last.weight != weight);
            number = last.number + 1;
        }
        let cohort = Cohort { number, epoch, step, weight, dormant };
        self.last = Some((Some(tick), cohort));
        Some(cohort)
    }

    /// Whether an evaluation out of turn (after a failure of green) may take place now; if so, it
    /// counts as done.
    pub fn may_evaluate(&mut self, now: MonoTime) -> bool {
        let may = self.evaluated.is_none_or(|at| now.since(at) >= Self::EVALUATION);
        if may {
            self.evaluated = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    fn weight(bp: u16) -> Weight {
        Weight::from_bp(bp).unwrap()
    }

    #[test]
    fn cohorts_are_cut_each_100_ms_and_at_every_change() {
        let mut calendar = Calendar::new(at(1_000));
        let mut next = |ms, step, bp, dormant| {
            calendar.next(at(ms), step, weight(bp), dormant).map(|c| (c.number, c.epoch))
        };
        let none = MetricSet::NONE;
        assert_eq!(next(1_000, 0, 100, none), Some((0, 0)));
        assert_eq!(next(1_099, 0, 100, none), None);
        assert_eq!(next(1_100, 0, 100, none), Some((1, 0)));
        assert_eq!(next(1_101, 0, 1_000, none), Some((2, 1)), "a new weight is a new epoch");
        assert_eq!(next(1_102, 1, 1_000, none), Some((3, 1)), "a new step alone is not");
        assert_eq!(next(1_103, 1, 1_000, MetricSet::LATENCIES), Some((4, 1)));
        assert_eq!(next(1_104, 1, 1_000, MetricSet::LATENCIES), None);
        assert_eq!(next(31_000, 1, 1_000, none), Some((5, 2)), "the 30 s are not shifted");
    }

    #[test]
    fn a_leap_of_the_clock_skips_epochs_and_one_back_does_nothing() {
        let mut calendar = Calendar::new(at(0));
        let mut next = |ms| {
            let cohort = calendar.next(at(ms), 0, weight(100), MetricSet::NONE);
            cohort.map(|cohort| (cohort.number, cohort.epoch))
        };
        assert_eq!(next(0), Some((0, 0)));
        assert_eq!(next(300_000), Some((1, 10)));
        assert_eq!(next(299_000), None);
        assert_eq!(next(300_100), Some((2, 10)));
    }

    #[test]
    fn a_resumed_rollout_reuses_no_number() {
        let mut first = Calendar::new(at(0));
        first.next(at(0), 3, weight(500), MetricSet::NONE);
        let last = first.next(at(90_000), 3, weight(500), MetricSet::NONE).unwrap();
        let mut second = Calendar::resume(at(7), last);
        let cohort = second.next(at(7), 3, weight(500), MetricSet::NONE).unwrap();
        assert_eq!((cohort.number, cohort.epoch), (2, 4));
        assert_eq!(second.next(at(100), 3, weight(500), MetricSet::NONE), None);
    }

    #[test]
    fn evaluations_are_at_least_10_ms_apart() {
        let mut calendar = Calendar::new(at(0));
        let permitted = (0..1_000).filter(|ms| calendar.may_evaluate(at(*ms))).count();
        assert_eq!(permitted, 100);
    }
}
