//! One run of a trial: what the proxy's telemetry and the controller do, on a virtual clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::core::analysis::comparison::{
    Calendar, Cells, Comparator, METRICS, Metric, MetricSet, PerMetric,
};
use crate::core::analysis::thresholds::{LatencyTolerance, ThresholdBook, Thresholds};
use crate::core::analysis::verdict::Verdict;
use crate::core::model::{MonoTime, Side, Weight};

use super::users::Users;
use super::{Answer, AnswerKind, Arrival, Trial, TrialReport};

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    known_us: u64,
    /// In the order of arrival, so that two that end together are told apart.
    number: u64,
    cohort: u64,
    side: Side,
    bad: PerMetric<bool>,
    /// In which metrics it is bad by the time that it took alone.
    slow: PerMetric<bool>,
    target: Option<usize>,
    latency_us: Option<u64>,
    user: Option<u32>,
    /// The metrics in which it is a datum.
    counted: MetricSet,
}

/// The latency that later thresholds are made of: blue's, and not of an error.
pub(super) fn latency_of(side: Side, answer: &Answer) -> Option<u64> {
    let answered = match answer.kind {
        AnswerKind::Ok | AnswerKind::ClientError => true,
        AnswerKind::Error | AnswerKind::ClientGone => false,
    };
    (side == Side::Blue && answered).then_some(answer.after_us)
}

/// The target of green that waits for nothing but the answer; `None` on blue, without a target, and
/// where the request is no datum in latency.
fn written_to(side: Side, counted: MetricSet, target: Option<usize>) -> Option<usize> {
    // A request is a datum in all latencies or in none.
    target.filter(|_| side == Side::Green && counted.contains(Metric::LatencyP50))
}

/// The counters of an open cohort, and whether they changed since they were last read.
#[derive(Clone, Debug)]
struct Open {
    cohort: u64,
    cells: Cells,
    changed: bool,
}

/// A rollout that is being tried: [`Trial::run`] drives it along the steps of the trial, and
/// whoever decides about weights by other means drives it tick by tick, in the order of the loop in
/// [`Trial::run`].
#[derive(Debug)]
pub struct TrialRun<'a> {
    trial: &'a Trial,
    comparator: Comparator,
    calendar: Calendar,
    book: ThresholdBook,
    epoch: Option<u64>,
    thresholds: Thresholds,
    open: VecDeque<Open>,
    flights: BinaryHeap<Reverse<Flight>>,
    /// Per target of green: when a failure was last counted, when it last answered well.
    targets: Vec<(Option<MonoTime>, Option<MonoTime>)>,
    users: Option<Users>,
    pub(super) report: TrialReport,
}

impl<'a> TrialRun<'a> {
    pub(super) fn new(trial: &'a Trial) -> Self {
        Self {
            trial,
            comparator: Comparator::new(trial.rules),
            calendar: Calendar::new(MonoTime::from_ms(0)),
            book: ThresholdBook::new(LatencyTolerance::default()),
            epoch: None,
            thresholds: Thresholds::default(),
            open: VecDeque::new(),
            flights: BinaryHeap::new(),
            targets: vec![(None, None); trial.green_targets],
            users: trial.users.map(|_| Users::default()),
            report: TrialReport::default(),
        }
    }

    pub(super) fn learn(&mut self, latency_us: Option<u64>) {
        if let Some(latency_us) = latency_us {
            self.book.present().record(latency_us);
        }
    }

    /// Has blue answer a request from before the rollout, for the first thresholds of latency.
    pub fn remember(&mut self, answer: &Answer) {
        self.learn(latency_of(Side::Blue, answer));
    }

    /// The comparison as it stands.
    #[must_use]
    pub fn comparator(&self) -> &Comparator {
        &self.comparator
    }

    /// What became of it so far; what only [`finish`](Self::finish) knows is not in it.
    #[must_use]
    pub fn report(&self) -> &TrialReport {
        &self.report
    }

    /// What became of it.
    #[must_use]
    pub fn finish(mut self) -> TrialReport {
        self.report.highest = self.comparator.highest();
        self.report.green_alarmed = self.comparator.absolute_alarm(Side::Green).is_some();
        self.report.blue_alarmed = self.comparator.absolute_alarm(Side::Blue).is_some();
        self.report
    }

    /// Evaluates, folds and opens the next cohort (D1). To be called each 100 ms and where the
    /// weight changes; the first one comes before the first arrival.
    pub fn tick(&mut self, at_us: u64, step: u64, weight: Weight) {
        let now = MonoTime::from_ms(at_us / 1_000);
        self.evaluate(at_us);
        self.comparator.fold();
        let epoch = self.calendar.epoch_at(now, weight);
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.thresholds = self.book.next_epoch();
        }
        if let Some(next) = self.calendar.next(now, step, weight, self.thresholds.dormant()) {
            let cohort = next.number;
            self.comparator.time_by(&self.thresholds);
            self.comparator.open(next).expect("the calendar numbers its cohorts upwards");
            self.open.push_back(Open { cohort, cells: Cells::default(), changed: false });
        }
        let oldest = self.comparator.oldest().map_or(0, |cohort| cohort.number);
        while self.open.front().is_some_and(|open| open.cohort < oldest) {
            self.open.pop_front();
        }
    }

    /// Counts a request, which is answered in its time.
    pub fn arrive(&mut self, arrival: Arrival, answer: Answer) {
        let failed = matches!(answer.kind, AnswerKind::Error | AnswerKind::ClientGone);
        let mut bad = [failed; METRICS];
        bad[Metric::Client4xx.index()] = answer.kind == AnswerKind::ClientError;
        let mut slow = [false; METRICS];
        let exceeds = self.thresholds.slow(arrival.side, answer.after_us);
        for (metric, exceeds) in Metric::LATENCIES.iter().zip(exceeds) {
            slow[metric.index()] = exceeds;
            bad[metric.index()] |= exceeds;
        }
        let users = self.users.as_mut().zip(arrival.user);
        let counted = users.map_or(MetricSet::ALL, |(users, user)| users.arrive(user));
        let open = self.open.back_mut().expect("a cohort is open before the first arrival");
        open.cells.arrive(arrival.side, counted);
        if let Some(target) = written_to(arrival.side, counted, answer.target) {
            open.cells.write(target);
        }
        open.changed = true;
        self.flights.push(Reverse(Flight {
            known_us: arrival.at_us + answer.after_us,
            number: self.report.requests,
            cohort: open.cohort,
            side: arrival.side,
            bad,
            slow,
            target: answer.target,
            latency_us: latency_of(arrival.side, &answer),
            user: arrival.user,
            counted,
        }));
        self.report.requests += 1;
        if arrival.side == Side::Green {
            self.report.green_requests += 1;
            self.report.green_failed += u64::from(failed);
        }
    }

    /// Counts every answer until then, unless the comparison speaks against green before.
    pub fn settle_until(&mut self, until_us: u64) {
        while let Some(Reverse(flight)) = self.flights.peek().copied()
            && flight.known_us <= until_us
            && self.report.rolled_back_us.is_none()
        {
            self.flights.pop();
            let bad = self.settle(flight);
            let now = MonoTime::from_ms(flight.known_us / 1_000);
            if bad && self.calendar.may_evaluate(now) {
                self.evaluate(flight.known_us);
            }
        }
    }

    /// Counts an outcome; whether it is a failure of green.
    fn settle(&mut self, flight: Flight) -> bool {
        self.learn(flight.latency_us);
        let failed = flight.bad[Metric::Errors.index()];
        let spared = flight.side == Side::Green && self.spares(&flight, failed);
        let Ok(place) = self.open.binary_search_by_key(&flight.cohort, |open| open.cohort) else {
            return false;
        };
        let open = &mut self.open[place];
        open.changed = true;
        open.cells.absolute.settle(flight.side, failed);
        if let Some(target) = written_to(flight.side, flight.counted, flight.target) {
            open.cells.time(target);
        }
        for metric in Metric::ALL.into_iter().filter(|metric| flight.counted.contains(*metric)) {
            // As in the proxy: what is spared is slow if it took as long.
            let kinds = if spared { flight.slow } else { flight.bad };
            let mut bad = kinds[metric.index()];
            if bad && let Some((users, user)) = self.users.as_mut().zip(flight.user) {
                bad = users.is_datum(metric, user);
            }
            open.cells.settle(metric, flight.side, bad, flight.target);
        }
        flight.side == Side::Green && failed && !spared
    }

    fn spares(&mut self, flight: &Flight, failed: bool) -> bool {
        let now = MonoTime::from_ms(flight.known_us / 1_000);
        let target = flight.target.and_then(|target| self.targets.get_mut(target));
        let Some((counted, good)) = target else {
            return false;
        };
        if !failed {
            *good = Some(now);
            return false;
        }
        let spared = self.trial.guard.spares(now, *counted, *good);
        if !spared {
            *counted = Some(now);
        }
        spared
    }

    fn evaluate(&mut self, at_us: u64) {
        for open in self.open.iter_mut().filter(|open| open.changed) {
            self.comparator.observe(open.cohort, &open.cells);
            open.changed = false;
        }
        let now = MonoTime::from_ms(at_us / 1_000);
        if self.comparator.evaluate(now, self.trial.green_targets).crossed {
            self.report.rolled_back_us = Some(at_us);
        }
        if self.report.passed_us.is_none() && self.comparator.verdict() == Verdict::Pass {
            self.report.passed_us = Some(at_us);
        }
    }
}
