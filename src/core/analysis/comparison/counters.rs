//! The counters that requests are counted in: where the comparison gets its evidence from.
//!
//! A ring of arrival cohorts in atomics. The request path counts and never waits; one task opens
//! cohorts and reads them. A request counts itself in before it is sent, takes cohort, dormant
//! metrics and thresholds of its arrival with it as a [`Ticket`], and settles it when its outcome
//! is known.
//!
//! **Cost.** An arrival is one atomic addition, and one more in a sticky service (besides what is
//! remembered of a unit that is new). An outcome is one for both metrics of events and the absolute
//! process, and one for all latencies ([`OutcomeCounts`](super::outcome_counts::OutcomeCounts)),
//! whether it is good or bad, and its target with it; a bad one of green is one more. In between
//! green alone has one, where it is written: latency runs from there and not from its arrival (D5),
//! and who waits for which target cannot be told from the arrivals. No step is ever tried again.
//! What all requests read lies on other cache lines than what they count. No word is shared with
//! another rollout. A cohort takes 832 bytes, a ring of 64 s 546 KiB, and the largest one 4.8 MiB.
//!
//! A ticket that is never settled stays in flight for ever, which is counted against whatever is to
//! be shown ([`Cells`]); one that is settled after its cohort left the ring is dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::analysis::split_check::Drawn;
use crate::core::analysis::thresholds::Thresholds;
use crate::core::model::{MonoTime, Side, Span, Weight};

use super::arrivals::Arrivals;
use super::cells::Cells;
use super::cohort::Cohort;
use super::count::Turn;
use super::counter_slot::Slot;
use super::guard::ClusterGuard;
use super::guard_board::GuardBoard;
use super::metric::{Metric, MetricSet};
use super::outcome_counts::{BadEvent, Events};
use super::unit_filter::UnitFilter;

/// The counters of one rollout's comparison on this proxy: a ring of arrival cohorts that the
/// request path counts into and the control side reads. Lock-free.
#[derive(Debug)]
pub struct Counters {
    /// The open cohorts, and [`GRACE`] more.
    slots: Box<[Slot]>,
    /// How many cohorts may be open.
    open: u64,
    /// The present cohort's number and one more; 0 before the first.
    present: AtomicU64,
    /// How often the weight changed.
    run: AtomicU64,
    /// What was drawn since then in cohorts that have left the ring: green's, and blue's.
    drawn_before: [AtomicU64; 2],
    /// What is remembered of sticky units; `None` where each request is drawn for itself.
    pub(super) units: Option<Units>,
    guard: GuardBoard,
    arrivals: Arrivals,
    failures: Failures,
}

/// What is counted besides the cohorts, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Failures {
    green_bad: AtomicU64,
    /// After the headers, of blue and of green.
    late: [AtomicU64; 2],
}

/// The sticky units of a rollout (B9): 1.5 MiB that never forget.
#[derive(Debug)]
pub(super) struct Units {
    /// Those that failed, per metric of events.
    pub(super) failed: [UnitFilter; 2],
    /// Those that sent anything.
    pub(super) met: UnitFilter,
}

/// A request that was counted in, and is to be settled.
#[derive(Debug)]
#[must_use = "a request that is not settled is in flight for ever"]
pub struct Ticket {
    cohort: u64,
    side: Side,
    /// The metrics in which it is a datum.
    counted: MetricSet,
    /// `None` for a request that was drawn for itself.
    unit: Option<u64>,
    thresholds: Thresholds,
    /// When it was written to green's target; `None` before that, and on blue.
    written: Option<MonoTime>,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether it failed: 5xx, or no answer's headers for whatever reason.
    pub errors: bool,
    /// Whether it was answered 4xx, other than 401, 407 and 429; never of one that failed.
    pub client4xx: bool,
    /// Time to headers in microseconds; `None`: an error, slow by definition.
    pub latency_us: Option<u64>,
    /// The place of green's target that it was sent to, the same as where it was written; `None` on
    /// blue, and where no target is to blame.
    pub endpoint: Option<usize>,
}

impl Counters {
    /// No cohort is open. `ring` as [`Rules::ring_for`](super::Rules::ring_for), 832 bytes each;
    /// `units`: whether the service is sticky, and each unit counts once (B9).
    #[must_use]
    pub fn new(ring: usize, units: bool, guard: ClusterGuard) -> Self {
        let open = ring.max(2);
        Self {
            slots: std::iter::repeat_with(Slot::default).take(open + GRACE).collect(),
            open: open as u64,
            present: AtomicU64::new(0),
            run: AtomicU64::new(0),
            drawn_before: Default::default(),
            units: units.then(Units::new),
            guard: GuardBoard::new(guard),
            arrivals: Arrivals::default(),
            failures: Failures::default(),
        }
    }

    /// Makes this the cohort in which requests arrive from now on, with the thresholds of its
    /// epoch. Numbers only grow, so that one which does not opens nothing. To be called by one task
    /// alone.
    pub fn open(&self, cohort: &Cohort, thresholds: &Thresholds) {
        let last = self.present.load(Ordering::Acquire);
        if cohort.number < last {
            return;
        }
        if let Some(left) = cohort.number.checked_sub(self.open) {
            self.slot(left).retire(left);
        }
        let slot = self.slot(cohort.number);
        let last = last.checked_sub(1);
        let before = last.map(|number| self.slot(number).terms().0);
        let mut run = self.run.load(Ordering::Acquire);
        if before.is_some_and(|before| before != cohort.weight) {
            run += 1;
            self.run.store(run, Ordering::Release);
            self.drawn_before.iter().for_each(|count| count.store(0, Ordering::Release));
        } else {
            let (green, blue) = slot.drawn(run, self.units.is_some());
            self.drawn_before[0].fetch_add(green, Ordering::AcqRel);
            self.drawn_before[1].fetch_add(blue, Ordering::AcqRel);
        }
        slot.begin(cohort, run, thresholds, self.turn(cohort.number));
        let arrived = self.arrivals.begin(cohort.number);
        let last = last.map(|last| self.slot(last));
        if let Some(last) = last.filter(|last| !std::ptr::eq(*last, slot)) {
            last.close(arrived);
        }
        // Last: who sees the number counts in this cohort, or in a later one.
        self.present.store(cohort.number + 1, Ordering::Release);
    }

    /// What was counted of a cohort so far; `None` if it is not in the ring any more. Outcomes are
    /// read before arrivals (D6). By the task that opens cohorts: for another one a cohort that is
    /// being closed at that moment is not there.
    #[must_use]
    pub fn read(&self, number: u64) -> Option<Cells> {
        let slot = self.slot(number);
        if !slot.is(number) {
            return None;
        }
        let arrived = || self.arrivals.read(number).unwrap_or_else(|| slot.arrived());
        slot.read(self.units.is_some(), self.turn(number), arrived)
    }

    /// How many requests were drawn at the weight of the present cohort, and green's of them, since
    /// the weight changed; in a sticky service units that were never met before. Forced, overridden
    /// and panic-routed requests are not in it.
    #[must_use]
    pub fn drawn(&self) -> Drawn {
        let sticky = self.units.is_some();
        let last = self.present.load(Ordering::Acquire).checked_sub(1);
        let weight = last.map_or(Weight::ZERO, |number| self.slot(number).terms().0);
        let run = self.run.load(Ordering::Acquire);
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        let before = (read(&self.drawn_before[0]), read(&self.drawn_before[1]));
        let present = last.filter(|_| !sticky).and_then(|number| self.arrivals.read(number));
        let present: (u64, u64) =
            present.map_or((0, 0), |(green, blue)| (green.into(), blue.into()));
        let slots = self.slots.iter().map(|slot| slot.drawn(run, sticky)).chain([present]);
        let (green, blue) = slots.fold(before, |sum, more| (sum.0 + more.0, sum.1 + more.1));
        Drawn { weight, green, total: green + blue }
    }

    /// Bad outcomes of green counted so far, in any metric of errors; grows. What the guard spared
    /// is not in it, and of a sticky unit only the first.
    #[must_use]
    pub fn green_bad(&self) -> u64 {
        self.failures.green_bad.load(Ordering::Acquire)
    }

    /// Failures after the response headers, outside the bet.
    #[must_use]
    pub fn late_failures(&self, side: Side) -> u64 {
        self.failures.late[side as usize].load(Ordering::Acquire)
    }

    /// Counts the arrival of a drawn request, if the present cohort has this weight; `None`: it is
    /// not counted, which is decided before anything that follows from its flip. `unit` is a hash
    /// of the sticky unit under a salt of its own, `None` for a request that was drawn for itself.
    /// Where the service became sticky after the rollout began no unit is counted: nothing tells
    /// its first request from the others, which have no flip of their own (B9).
    pub fn arrive(&self, side: Side, weight: Weight, unit: Option<u64>) -> Option<Ticket> {
        if unit.is_some() && self.units.is_none() {
            return None;
        }
        let seen = self.present.load(Ordering::Acquire).checked_sub(1)?;
        if self.slot(seen).terms().0 != weight {
            return None;
        }
        // The next cohort may have been opened just now: then it is that one's.
        let cohort = self.arrivals.count(side, seen)?;
        let slot = self.slot(cohort);
        let (present, dormant) = slot.terms();
        if present != weight {
            if !self.arrivals.take_back(side, cohort) && slot.is(cohort) {
                slot.take_back(side);
            }
            return None;
        }
        let thresholds = slot.thresholds();
        // Only if it is still its place were these its terms and its thresholds.
        if !slot.is(cohort) {
            return None;
        }
        let mut data = MetricSet::ALL;
        if let Some(units) = &self.units {
            data = unit.map_or(MetricSet::ALL, |unit| units.arrive(unit));
            if !slot.arrive_in(data, side, self.turn(cohort)) {
                return None;
            }
        }
        let counted = data.without(dormant);
        Some(Ticket { cohort, side, counted, unit, thresholds, written: None })
    }

    /// Counts that a request is about to be written to a connection that stands: its latency runs
    /// from now on. `endpoint` is the place of green's target.
    pub fn written(&self, ticket: &mut Ticket, endpoint: Option<usize>, now: MonoTime) {
        let is_new = ticket.side == Side::Green && ticket.written.is_none();
        let Some(endpoint) = endpoint.filter(|_| is_new && is_timed(ticket.counted)) else {
            return;
        };
        ticket.written = Some(now);
        let slot = self.slot(ticket.cohort);
        if slot.is(ticket.cohort) {
            slot.write(endpoint, self.turn(ticket.cohort));
        }
    }

    /// Settles a request; once.
    #[expect(clippy::needless_pass_by_value, reason = "whoever settles has no ticket any more")]
    pub fn settle(&self, ticket: Ticket, settled: Settled, now: MonoTime) {
        let Ticket { cohort, side, counted, unit, thresholds, written } = ticket;
        let Settled { errors, client4xx, latency_us, endpoint } = settled;
        // A failure that is no datum stands for no other: a user who fails again and again must not
        // have everybody else's failures spared.
        let is_heard = !errors || self.fails_anew(counted, unit);
        let spared = match (side, endpoint) {
            (Side::Green, Some(endpoint)) if is_heard => self.guard.spares(endpoint, errors, now),
            (Side::Green | Side::Blue, _) => false,
        };
        let slot = self.slot(cohort);
        if !slot.is(cohort) {
            return;
        }
        let events = Events {
            failed: errors,
            in_errors: counted.contains(Metric::Errors),
            in_client4xx: counted.contains(Metric::Client4xx),
            bad: BadEvent::of(errors, client4xx)
                .filter(|bad| !spared && self.is_datum(counted, bad.metric(), unit)),
        };
        let exceeded = match latency_us {
            Some(latency_us) if !errors => thresholds.exceeded(side, latency_us),
            // What the guard spares is no error, which would be slow by definition, but what took
            // too long did: while it was open it was slow already, and slow it stays.
            Some(_) | None if spared => {
                let took = written.map_or(Span::ZERO, |at| now.since(at));
                thresholds.exceeded(side, took.ms().saturating_mul(1_000))
            }
            Some(_) | None => Metric::LATENCIES.len(),
        };
        let exceeded = is_timed(counted).then_some(exceeded);
        if let (Side::Green, None, Some(endpoint), Some(_)) = (side, written, endpoint, exceeded) {
            // So that what was written and has no latency is what waits for one.
            slot.write(endpoint, self.turn(cohort));
        }
        let is_counted = slot.settle(side, events, exceeded, endpoint, self.turn(cohort));
        if is_counted && events.bad.is_some() && side == Side::Green {
            self.failures.green_bad.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Leaves a request open for good: it was given up before it was known what it comes to. What is
    /// known is whether it took longer than is slow; if not, its latency is ok, and a later look at
    /// what hangs does not find it.
    pub fn cut_short(&self, ticket: &Ticket, endpoint: Option<usize>, now: MonoTime) {
        let slot = self.slot(ticket.cohort);
        let Some((written, endpoint)) = ticket.written.zip(endpoint) else { return };
        if slot.is(ticket.cohort) {
            // Both moments are whole milliseconds.
            let took_us = now.since(written).ms().saturating_sub(1).saturating_mul(1_000);
            let exceeded = ticket.thresholds.exceeded(ticket.side, took_us);
            slot.time(exceeded, endpoint, self.turn(ticket.cohort));
        }
    }

    /// Counts a failure after the response headers.
    pub fn late_failure(&self, side: Side) {
        self.failures.late[side as usize].fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a failure would be a datum in any metric: not one of a unit that failed before.
    fn fails_anew(&self, counted: MetricSet, unit: Option<u64>) -> bool {
        self.units.as_ref().zip(unit).is_none_or(|(units, unit)| units.fails_anew(counted, unit))
    }

    /// Whether a bad request is a datum in this metric: if its unit is, its first one.
    fn is_datum(&self, counted: MetricSet, metric: Metric, unit: Option<u64>) -> bool {
        let is_first = |(units, unit): (&Units, u64)| units.is_datum(metric, unit);
        counted.contains(metric) && self.units.as_ref().zip(unit).is_none_or(is_first)
    }

    fn slot(&self, number: u64) -> &Slot {
        let place = usize::try_from(number % self.places()).expect("it is below their number");
        &self.slots[place]
    }

    fn turn(&self, number: u64) -> Turn {
        Turn::of(number, self.places())
    }

    fn places(&self) -> u64 {
        self.slots.len() as u64
    }
}

impl Units {
    fn new() -> Self {
        Self { failed: [UnitFilter::new(), UnitFilter::new()], met: UnitFilter::new() }
    }

    /// The metrics in which a unit's request is a datum: those of events until the unit has failed
    /// once, those of latency for the first request.
    fn arrive(&self, unit: u64) -> MetricSet {
        let mut counted = MetricSet::NONE;
        for (metric, failed) in [Metric::Errors, Metric::Client4xx].iter().zip(&self.failed) {
            if !failed.contains(unit) {
                counted = counted.with(*metric);
            }
        }
        if self.met.insert(unit) { counted.union(MetricSet::LATENCIES) } else { counted }
    }

    /// Whether a failure of a unit would be a datum in any metric in which its request is one.
    fn fails_anew(&self, counted: MetricSet, unit: u64) -> bool {
        let is_first = counted.contains(Metric::Errors) && !self.failed[0].contains(unit);
        is_first || Metric::LATENCIES.iter().any(|metric| counted.contains(*metric))
    }

    /// Whether a bad request is the unit's first in this metric; latencies are counted once anyway.
    fn is_datum(&self, metric: Metric, unit: u64) -> bool {
        match metric {
            Metric::Errors => self.failed[0].insert(unit),
            Metric::Client4xx => self.failed[1].insert(unit),
            Metric::LatencyP50 | Metric::LatencyP90 | Metric::LatencyP99 => true,
        }
    }
}

/// Whether something is a datum in any latency.
fn is_timed(counted: MetricSet) -> bool {
    Metric::LATENCIES.iter().any(|metric| counted.contains(*metric))
}

/// For how many cohorts a place takes nothing before it is used again: 3.2 s, in which every step
/// comes to its end that was begun before, or is taken back ([`Count`](super::count::Count)).
const GRACE: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::cells::Row;
    use super::super::chance::Chance;
    use super::*;
    use crate::core::analysis::thresholds::Threshold;

    const OK: Settled =
        Settled { errors: false, client4xx: false, latency_us: Some(50), endpoint: None };
    const FAILED: Settled =
        Settled { errors: true, client4xx: false, latency_us: None, endpoint: None };

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    fn weight(bp: u16) -> Weight {
        Weight::from_bp(bp).unwrap()
    }

    fn thresholds() -> Thresholds {
        let threshold = |us| Some(Threshold { blue_us: us, green_us: us + us / 10 });
        Thresholds { each: [threshold(100), threshold(200), threshold(300)] }
    }

    fn cohort(number: u64, bp: u16) -> Cohort {
        Cohort { number, epoch: 0, step: 0, weight: weight(bp), dormant: MetricSet::NONE }
    }

    fn counters(ring: usize, units: bool) -> Counters {
        let counters = Counters::new(ring, units, ClusterGuard::new(Span::ZERO));
        counters.open(&cohort(0, 1_000), &thresholds());
        counters
    }

    fn arrive(counters: &Counters, side: Side) -> Ticket {
        counters.arrive(side, weight(1_000), None).expect("counted")
    }

    fn row(cells: &Cells, metric: Metric) -> Row {
        cells.rows[metric.index()]
    }

    #[test]
    fn what_is_cut_short_stays_open_and_is_slow_only_if_it_took_so_long() {
        let counters = counters(8, false);
        for (took_ms, wanted) in [(0, [0, 0, 0]), (1, [0, 0, 0]), (2, [1, 1, 1])] {
            let before = counters.read(0).expect("in the ring");
            let mut ticket = arrive(&counters, Side::Green);
            counters.written(&mut ticket, Some(3), at(10));
            counters.cut_short(&ticket, Some(3), at(10 + took_ms));
            let cells = counters.read(0).expect("in the ring");
            assert_eq!(cells.green_written[3], cells.green_timed[3]);
            for (metric, wanted) in Metric::LATENCIES.into_iter().zip(wanted) {
                let bad = row(&cells, metric).green_bad - row(&before, metric).green_bad;
                assert_eq!((bad, row(&cells, metric).in_flight().0), (wanted, 0), "{took_ms} ms");
            }
        }
        counters.cut_short(&arrive(&counters, Side::Blue), None, at(99));
        let cells = counters.read(0).expect("in the ring");
        for metric in [Metric::Errors, Metric::Client4xx] {
            assert_eq!(row(&cells, metric).in_flight(), (3, 1));
        }
        assert_eq!((cells.absolute.in_flight(), counters.green_bad()), ((3, 1), 0));
        assert_eq!(row(&cells, Metric::LatencyP50).in_flight(), (0, 1), "blue's is bad so");
    }

    #[test]
    fn every_outcome_lands_in_its_cells() {
        let counters = counters(8, false);
        let settle = |side, settled| counters.settle(arrive(&counters, side), settled, at(0));
        settle(Side::Green, Settled { latency_us: Some(110), endpoint: Some(2), ..OK });
        settle(Side::Green, Settled { latency_us: Some(111), endpoint: Some(2), ..OK });
        settle(Side::Green, Settled { client4xx: true, endpoint: Some(3), ..OK });
        settle(Side::Green, Settled { endpoint: Some(3), ..FAILED });
        settle(Side::Green, FAILED);
        settle(Side::Blue, Settled { latency_us: Some(301), ..OK });
        settle(Side::Blue, FAILED);
        settle(Side::Blue, OK);
        let _open = [arrive(&counters, Side::Green), arrive(&counters, Side::Blue)];
        let cells = counters.read(0).expect("in the ring");
        let check = |row: Row, green: (u32, u32), blue: (u32, u32)| {
            assert_eq!((row.green, row.blue), (6, 4));
            assert_eq!((row.green_bad, row.green_ok), green);
            assert_eq!((row.blue_bad, row.blue_ok), blue);
        };
        check(cells.absolute, (2, 3), (1, 2));
        check(row(&cells, Metric::Errors), (2, 3), (1, 2));
        check(row(&cells, Metric::Client4xx), (1, 4), (0, 3));
        check(row(&cells, Metric::LatencyP50), (3, 2), (2, 1));
        check(row(&cells, Metric::LatencyP90), (2, 3), (2, 1));
        check(row(&cells, Metric::LatencyP99), (2, 3), (2, 1));
        let named = |metric: Metric| {
            let counts = cells.bad_by_endpoint[metric.index()];
            (counts[2], counts[3], counts.iter().sum::<u32>())
        };
        assert_eq!(named(Metric::Errors), (0, 1, 1), "one had no target to blame");
        assert_eq!(named(Metric::Client4xx), (0, 1, 1));
        assert_eq!(named(Metric::LatencyP50), (1, 1, 2));
        assert_eq!(counters.green_bad(), 3);
        assert_eq!(counters.drawn(), Drawn { weight: weight(1_000), green: 6, total: 10 });
        assert!(!counters.read(0).expect("in the ring").is_complete(), "unsettled for ever");
        counters.late_failure(Side::Green);
        assert_eq!([Side::Blue, Side::Green].map(|side| counters.late_failures(side)), [0, 1]);
    }

    #[test]
    fn a_request_of_another_weight_is_not_counted() {
        let counters = Counters::new(4, false, ClusterGuard::default());
        assert!(counters.arrive(Side::Blue, weight(1_000), None).is_none(), "nothing is open");
        assert_eq!(counters.drawn().total, 0);
        counters.open(&cohort(0, 1_000), &thresholds());
        assert!(counters.arrive(Side::Blue, weight(500), None).is_none());
        let _open = arrive(&counters, Side::Green);
        counters.open(&cohort(1, 500), &thresholds());
        assert_eq!(counters.drawn(), Drawn { weight: weight(500), green: 0, total: 0 });
        assert!(counters.arrive(Side::Blue, weight(1_000), None).is_none());
        assert!(counters.arrive(Side::Blue, weight(500), None).is_some());
        counters.open(&cohort(1, 7_000), &thresholds());
        assert!(counters.arrive(Side::Blue, weight(7_000), None).is_none(), "numbers only grow");
    }

    #[test]
    fn what_is_dormant_is_counted_on_neither_side() {
        let counters = counters(4, false);
        let dormant = MetricSet::NONE.with(Metric::Errors);
        let [p50, _, p99] = thresholds().each;
        let known = Thresholds { each: [p50, None, p99] };
        counters.open(&Cohort { dormant, ..cohort(1, 1_000) }, &known);
        counters.settle(arrive(&counters, Side::Green), FAILED, at(0));
        counters.settle(arrive(&counters, Side::Blue), FAILED, at(0));
        let cells = counters.read(1).expect("in the ring");
        let bad = |metric| (row(&cells, metric).green_bad, row(&cells, metric).blue_bad);
        assert_eq!(row(&cells, Metric::Errors), Row::default());
        assert_eq!(row(&cells, Metric::LatencyP90), Row::default());
        assert_eq!((bad(Metric::LatencyP50), bad(Metric::LatencyP99)), ((1, 1), (1, 1)));
        assert_eq!((cells.absolute.green_bad, cells.absolute.blue_bad), (1, 1));
    }

    #[test]
    fn a_request_keeps_cohort_and_thresholds_of_its_arrival() {
        let counters = counters(4, false);
        let ticket = arrive(&counters, Side::Blue);
        let slack = Threshold { blue_us: 9_000, green_us: 9_000 };
        counters.open(&cohort(1, 1_000), &Thresholds { each: [Some(slack); 3] });
        counters.settle(ticket, Settled { latency_us: Some(150), ..OK }, at(0));
        let cells = counters.read(0).expect("in the ring");
        assert_eq!(row(&cells, Metric::LatencyP50).blue_bad, 1);
        assert_eq!(row(&cells, Metric::LatencyP90).blue_ok, 1);
        assert_eq!(counters.read(1), Some(Cells::default()));
    }

    #[test]
    fn c5_an_outcome_whose_cohort_left_the_ring_is_dropped() {
        let counters = counters(4, false);
        let late = arrive(&counters, Side::Green);
        for number in 1..=4 {
            counters.open(&cohort(number, 1_000), &thresholds());
        }
        let _open = arrive(&counters, Side::Green);
        counters.settle(late, FAILED, at(0));
        assert_eq!(counters.read(0), None);
        let cells = counters.read(4).expect("in the ring");
        assert_eq!(row(&cells, Metric::Errors), Row { green: 1, ..Row::default() });
        assert_eq!(counters.green_bad(), 0);
        assert_eq!(counters.drawn(), Drawn { weight: weight(1_000), green: 2, total: 2 });
        let again = 1 + 1_000 * (4 + GRACE as u64);
        counters.open(&cohort(again, 1_000), &thresholds());
        assert!(counters.read(again).is_some() && counters.read(4).is_some());
        assert_eq!(counters.read(1), None);
    }

    #[test]
    fn b7_the_guard_counts_one_failure_of_a_target_that_answers_and_the_absolute_process_all() {
        let counters = Counters::new(4, false, ClusterGuard::default());
        counters.open(&cohort(0, 1_000), &thresholds());
        let settle = |side, settled, ms| {
            let settled = Settled { endpoint: (side == Side::Green).then_some(1), ..settled };
            counters.settle(arrive(&counters, side), settled, at(ms));
        };
        settle(Side::Green, OK, 0);
        for ms in [1, 2, 3] {
            settle(Side::Green, FAILED, ms);
            settle(Side::Blue, FAILED, ms);
        }
        let cells = counters.read(0).expect("in the ring");
        for metric in Metric::ALL.into_iter().filter(|metric| *metric != Metric::Client4xx) {
            let row = row(&cells, metric);
            assert_eq!((row.green_bad, row.green_ok, row.blue_bad), (1, 3, 3), "{metric:?}");
            assert_eq!(cells.bad_by_endpoint[metric.index()][1], 1);
        }
        assert_eq!((cells.absolute.green_bad, cells.absolute.blue_bad), (3, 3));
        assert_eq!(counters.green_bad(), 1);
    }

    #[test]
    fn who_waits_for_a_target_of_green_is_known_from_the_moment_it_was_written() {
        let counters = counters(8, false);
        let targets = |number| {
            let cells = counters.read(number).expect("in the ring");
            (cells.green_written[2], cells.green_timed[2])
        };
        let mut ticket = arrive(&counters, Side::Green);
        assert_eq!(targets(0), (0, 0), "it waits for a connection");
        counters.written(&mut ticket, Some(2), at(5));
        counters.written(&mut ticket, Some(2), at(6));
        assert_eq!(targets(0), (1, 0));
        counters.settle(ticket, Settled { endpoint: Some(2), ..OK }, at(7));
        assert_eq!(targets(0), (1, 1));
        let unwritten = arrive(&counters, Side::Green);
        counters.settle(unwritten, Settled { endpoint: Some(2), ..FAILED }, at(7));
        assert_eq!(targets(0), (2, 2), "it waits for none");
        counters.settle(arrive(&counters, Side::Green), FAILED, at(7));
        let mut blue = arrive(&counters, Side::Blue);
        counters.written(&mut blue, Some(2), at(8));
        counters.settle(blue, Settled { endpoint: Some(2), ..OK }, at(9));
        let cells = counters.read(0).expect("in the ring");
        assert_eq!((cells.green_written.iter().sum::<u32>(), targets(0)), (2, (2, 2)));
        let rests = Cohort { dormant: MetricSet::LATENCIES, ..cohort(1, 1_000) };
        counters.open(&rests, &thresholds());
        let mut ticket = arrive(&counters, Side::Green);
        counters.written(&mut ticket, Some(2), at(9));
        counters.settle(ticket, Settled { endpoint: Some(2), ..OK }, at(9));
        assert_eq!(targets(1), (0, 0), "latencies rest");
    }

    #[test]
    fn a_failure_that_the_guard_spares_is_slow_if_it_took_as_long() {
        let counters = Counters::new(4, false, ClusterGuard::default());
        counters.open(&cohort(0, 1_000), &thresholds());
        let send = |settled, (written, known)| {
            let mut ticket = arrive(&counters, Side::Green);
            counters.written(&mut ticket, Some(1), at(written));
            counters.settle(ticket, Settled { endpoint: Some(1), ..settled }, at(known));
        };
        send(OK, (0, 1_000));
        send(FAILED, (1_000, 1_000));
        let bad = || {
            let cells = counters.read(0).expect("in the ring");
            Metric::ALL.map(|metric| row(&cells, metric).green_bad)
        };
        assert_eq!(bad(), [1, 0, 1, 1, 1]);
        send(FAILED, (1_100, 1_100));
        assert_eq!(bad(), [1, 0, 1, 1, 1], "it is spared");
        send(FAILED, (200, 1_200));
        assert_eq!(bad(), [1, 0, 2, 2, 2], "it hung before");
    }

    #[test]
    fn b9_a_unit_is_a_datum_once_per_metric_and_rollout() {
        let counters = counters(4, true);
        let send = |unit, settled| {
            let ticket = counters.arrive(Side::Green, weight(1_000), unit).expect("counted");
            counters.settle(ticket, settled, at(0));
        };
        let rows = |number| {
            let cells = counters.read(number).expect("in the ring");
            Metric::ALL.map(|m| (row(&cells, m).green, row(&cells, m).green_bad))
        };
        send(Some(1), OK);
        send(Some(1), FAILED);
        send(Some(1), FAILED);
        send(Some(2), Settled { client4xx: true, ..OK });
        assert_eq!(rows(0), [(3, 1), (4, 1), (2, 0), (2, 0), (2, 0)]);
        let [first, second] =
            [0, 1].map(|_| counters.arrive(Side::Green, weight(1_000), Some(3)).expect("counted"));
        counters.settle(first, FAILED, at(0));
        counters.settle(second, FAILED, at(0));
        assert_eq!(rows(0), [(5, 2), (6, 1), (3, 1), (3, 1), (3, 1)], "the second is ok");
        assert_eq!(counters.drawn().total, 3, "units");
        counters.open(&cohort(1, 1_000), &thresholds());
        send(Some(1), FAILED);
        assert_eq!(rows(1), [(0, 0), (1, 0), (0, 0), (0, 0), (0, 0)], "it never forgets");
        send(None, FAILED);
        send(None, FAILED);
        assert_eq!(rows(1), [(2, 2), (3, 0), (2, 2), (2, 2), (2, 2)], "drawn for themselves");
        let cells = counters.read(1).expect("in the ring");
        assert_eq!((cells.absolute.green, cells.absolute.green_bad), (3, 3), "every request");
        assert_eq!((counters.drawn().green, counters.green_bad()), (5, 5));
    }

    #[test]
    fn b9_a_service_that_became_sticky_later_counts_no_unit() {
        let counters = counters(4, false);
        assert!(counters.arrive(Side::Green, weight(1_000), Some(7)).is_none());
        assert_eq!((counters.read(0), counters.drawn().total), (Some(Cells::default()), 0));
        assert!(counters.arrive(Side::Green, weight(1_000), None).is_some());
    }

    #[test]
    fn b9_a_unit_that_fails_again_has_no_failure_of_another_spared() {
        let counters = Counters::new(4, true, ClusterGuard::default());
        counters.open(&cohort(0, 1_000), &thresholds());
        let send = |unit, settled, ms| {
            let ticket = counters.arrive(Side::Green, weight(1_000), Some(unit));
            let settled = Settled { endpoint: Some(1), ..settled };
            counters.settle(ticket.expect("counted"), settled, at(ms));
        };
        send(1, OK, 0);
        send(2, FAILED, 1);
        assert_eq!(counters.green_bad(), 1);
        send(1, OK, 1_400);
        send(2, FAILED, 1_500);
        send(3, FAILED, 1_501);
        assert_eq!(counters.green_bad(), 2, "the first failure of a user for a second");
        send(4, FAILED, 1_502);
        assert_eq!(counters.green_bad(), 2, "they come together");
    }

    #[test]
    fn what_many_threads_count_adds_up_and_no_outcome_is_read_without_its_arrival() {
        const EACH: u32 = 20_000;
        let counters = counters(64, false);
        let (running, opened) = (AtomicBool::new(true), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let work: Vec<_> = (0..4_u64)
                .map(|seed| {
                    let counters = &counters;
                    scope.spawn(move || {
                        let mut chance = Chance::new(seed);
                        let mut held = Vec::new();
                        for turn in 0..EACH {
                            let side = if chance.yes(0.5) { Side::Green } else { Side::Blue };
                            held.push(arrive(counters, side));
                            if turn % 8 == 7 {
                                for ticket in held.drain(..) {
                                    let settled = if chance.yes(0.5) { OK } else { FAILED };
                                    let endpoint = Some(turn as usize);
                                    counters.settle(ticket, Settled { endpoint, ..settled }, at(0));
                                }
                            }
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut number = 0;
                while running.load(Ordering::Acquire) {
                    for known in 0..=number {
                        let cells = counters.read(known).expect("in the ring");
                        for row in cells.rows.iter().chain([&cells.absolute]) {
                            assert!(row.green_bad + row.green_ok <= row.green, "{row:?}");
                            assert!(row.blue_bad + row.blue_ok <= row.blue, "{row:?}");
                        }
                    }
                    if number < 40 {
                        number += 1;
                        counters.open(&cohort(number, 1_000), &thresholds());
                        opened.store(number, Ordering::Release);
                    }
                }
            });
            let done: Vec<_> = work.into_iter().map(|thread| thread.join()).collect();
            running.store(false, Ordering::Release);
            done.into_iter().for_each(|done| done.expect("it does not panic"));
        });
        let cells: Vec<Cells> = (0..=opened.load(Ordering::Acquire))
            .map(|number| counters.read(number).expect("in the ring"))
            .collect();
        let sum = cells.iter().fold(Cells::default(), |sum, more| sum.plus(more));
        assert!(cells.iter().all(Cells::is_complete));
        for row in sum.rows.iter().chain([&sum.absolute]) {
            assert_eq!(row.green + row.blue, 4 * EACH);
        }
        let errors = row(&sum, Metric::Errors);
        let named: u32 = sum.bad_by_endpoint[Metric::Errors.index()].iter().sum();
        assert_eq!(named, errors.green_bad);
        assert_eq!(counters.green_bad(), u64::from(errors.green_bad));
        assert_eq!(counters.drawn().total, u64::from(4 * EACH));
    }

    #[test]
    fn a_ring_that_comes_round_under_load_mixes_no_cohorts() {
        let counters = counters(2, false);
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let work: Vec<_> = (0..3)
                .map(|_| {
                    let counters = &counters;
                    scope.spawn(move || {
                        let mut counted = 0_u64;
                        for _ in 0..20_000 {
                            if let Some(ticket) = counters.arrive(Side::Green, weight(1_000), None)
                            {
                                counted += 1;
                                let settled = Settled { endpoint: Some(1), ..FAILED };
                                counters.settle(ticket, settled, at(0));
                            }
                        }
                        counted
                    })
                })
                .collect();
            let opener = scope.spawn(|| {
                let mut number = 0;
                while running.load(Ordering::Acquire) {
                    number += 1;
                    counters.open(&cohort(number, 1_000), &thresholds());
                    // What a thread is just taking back can be in the way.
                    let Some(cells) = counters.read(number) else { continue };
                    let errors = row(&cells, Metric::Errors);
                    assert!(errors.green_bad <= errors.green, "{errors:?}");
                    assert!(cells.bad_by_endpoint[0][1] <= errors.green_bad);
                }
            });
            let counted: Vec<_> = work.into_iter().map(|thread| thread.join()).collect();
            running.store(false, Ordering::Release);
            opener.join().expect("it does not panic");
            let counted: u64 = counted.into_iter().map(|count| count.expect("no panic")).sum();
            // Who was held up meanwhile is not in the comparison, but was drawn.
            assert!(counted <= 60_000, "{counted}");
            assert_eq!(counters.drawn().total, 60_000);
        });
    }
}
