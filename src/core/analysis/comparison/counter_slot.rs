//! The atomics of one cohort: one place of the ring, used by one cohort after the other.
//!
//! What is late is dropped, never counted for another cohort (C5): a place takes nothing any more
//! long before it is used again, and each count knows of which turn it is ([`Count`]).
//!
//! It is thirteen cache lines. What requests read is on one, what they count on others, blue's and
//! green's apart.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::core::analysis::thresholds::{Threshold, Thresholds};
use crate::core::model::{Side, Weight};

use super::cells::{Cells, ENDPOINTS, Row};
use super::cohort::Cohort;
use super::count::{Count, Turn};
use super::metric::{Metric, MetricSet};
use super::outcome_counts::{Events, OutcomeCounts};

/// The counters of one cohort.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The cohort's number and one more; 0 for a place that takes no outcomes.
    number: AtomicU64,
    /// The weight's basis points, above them the dormant metrics, and above them how often the
    /// weight had changed before it and one more, which is 0 for a place that was never used.
    terms: AtomicU64,
    /// Blue's and green's threshold of each latency metric; `UNKNOWN` for none.
    thresholds: [[AtomicU64; 2]; 3],
    entry: Entry,
    blue: OutcomeCounts<1>,
    /// The last place is that of no target.
    green: OutcomeCounts<GREEN_PLACES>,
    written: Written,
}

/// Green's requests that are a datum in latency and were written, by the place of the target.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Written([Count; ENDPOINTS]);

/// Who arrived.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Entry {
    /// In a sticky service, of green and of blue: those that are a datum in something, by the set
    /// of what they are one in, less one.
    data: [[Count; DATA_SETS]; 2],
    /// Green's and blue's arrivals, once the cohort is closed; before that, less those that were
    /// taken back too late for its final counts.
    arrived: [AtomicU32; 2],
}

impl Slot {
    /// Whether outcomes of the cohort of this number are taken here.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number.load(Ordering::Acquire) == number + 1
    }

    /// Takes no more outcomes of a cohort, if it is its place.
    pub(super) fn retire(&self, number: u64) {
        if self.is(number) {
            self.number.store(0, Ordering::Release);
        }
    }

    /// Takes the place for a cohort. The turn changes first: who still counts for the last cohort
    /// finds it out before anything else of the new one.
    pub(super) fn begin(&self, cohort: &Cohort, run: u64, thresholds: &Thresholds, turn: Turn) {
        self.number.store(0, Ordering::Release);
        self.blue.begin(turn);
        self.green.begin(turn);
        self.written.0.iter().for_each(|count| count.begin(turn));
        self.entry.data.iter().flatten().for_each(|count| count.begin(turn));
        self.entry.arrived.iter().for_each(|count| count.store(0, Ordering::Release));
        for (slot, threshold) in self.thresholds.iter().zip(thresholds.each) {
            let known = threshold.map(|known| [known.blue_us, known.green_us]);
            for (word, us) in slot.iter().zip(known.unwrap_or([UNKNOWN; 2])) {
                word.store(us, Ordering::Release);
            }
        }
        // Without a threshold nothing can be said, on neither side.
        let dormant = cohort.dormant.union(thresholds.dormant());
        let terms = u64::from(cohort.weight.bp()) | u64::from(dormant.bits()) << DORMANT;
        self.terms.store(terms | (run + 1) << RUN, Ordering::Release);
        self.number.store(cohort.number + 1, Ordering::Release);
    }

    /// The weight, and the metrics that are dormant.
    pub(super) fn terms(&self) -> (Weight, MetricSet) {
        let terms = self.terms.load(Ordering::Acquire);
        let bp = (terms & u64::from(u16::MAX)) as u16;
        let weight = Weight::from_bp(bp).expect("it was a weight");
        (weight, MetricSet::from_bits((terms >> DORMANT) as u8))
    }

    pub(super) fn thresholds(&self) -> Thresholds {
        let each = self.thresholds.each_ref().map(|slot| {
            let [blue_us, green_us] = slot.each_ref().map(|word| word.load(Ordering::Acquire));
            (blue_us != UNKNOWN).then_some(Threshold { blue_us, green_us })
        });
        Thresholds { each }
    }

    /// Counts what an arrival in a sticky service is a datum in; `false` if it is too late.
    pub(super) fn arrive_in(&self, data: MetricSet, side: Side, turn: Turn) -> bool {
        let set = classes(data);
        set == 0 || self.entry.data[place(side)][set - 1].add(turn)
    }

    /// Keeps green's and blue's arrivals of a cohort that was closed; once.
    pub(super) fn close(&self, arrived: (u32, u32)) {
        self.entry.arrived[place(Side::Green)].fetch_add(arrived.0, Ordering::AcqRel);
        self.entry.arrived[place(Side::Blue)].fetch_add(arrived.1, Ordering::AcqRel);
    }

    /// Takes an arrival back that is among the final counts, or will be in a moment.
    pub(super) fn take_back(&self, side: Side) {
        self.entry.arrived[place(side)].fetch_sub(1, Ordering::AcqRel);
    }

    /// Green's and blue's arrivals of a cohort that was closed.
    pub(super) fn arrived(&self) -> (u32, u32) {
        let of = |side: Side| self.entry.arrived[place(side)].load(Ordering::Acquire);
        (of(Side::Green), of(Side::Blue))
    }

    /// Counts that a request of green, which is a datum in latency, was written to a target; before
    /// its outcome is counted.
    pub(super) fn write(&self, endpoint: usize, turn: Turn) {
        // One that is too late is taken back, as its outcome will be.
        let _ = self.written.0[endpoint % ENDPOINTS].add(turn);
    }

    /// Counts an outcome. `exceeded`: how many thresholds its latency exceeds, 3 for an error;
    /// `None` if it is no datum there. `false` if it is too late.
    pub(super) fn settle(
        &self,
        side: Side,
        events: Events,
        exceeded: Option<usize>,
        endpoint: Option<usize>,
        turn: Turn,
    ) -> bool {
        let nowhere = ENDPOINTS;
        let place = endpoint.map_or(nowhere, |endpoint| endpoint % ENDPOINTS);
        match side {
            Side::Green => self.green.settle(events, exceeded, place, turn),
            Side::Blue => self.blue.settle(events, exceeded, 0, turn),
        }
    }

    /// Counts the latency alone of a request of green that was written to a target.
    pub(super) fn time(&self, exceeded: usize, endpoint: usize, turn: Turn) {
        self.green.time(exceeded, endpoint % ENDPOINTS, turn);
    }

    /// What was counted so far. Outcomes are read first, then what was written, and then the
    /// arrivals (D6), which in a service that is not sticky are `arrived`, and are every metric's.
    /// `None` if the place has another turn, or if something is there without what comes before it:
    /// then something is there that is about to be taken back.
    pub(super) fn read(
        &self,
        sticky: bool,
        turn: Turn,
        arrived: impl FnOnce() -> (u32, u32),
    ) -> Option<Cells> {
        let (_, dormant) = self.terms();
        let thresholds = self.thresholds.each_ref();
        let of = |side: usize| thresholds.map(|slot| slot[side].load(Ordering::Acquire));
        let blue = self.blue.read(of(BLUE_THRESHOLD), turn)?;
        let green = self.green.read(of(GREEN_THRESHOLD), turn)?;
        let mut cells = Cells::default();
        for metric in Metric::ALL.into_iter().filter(|metric| !dormant.contains(*metric)) {
            let place = metric.index();
            cells.rows[place] = row(green.rows[place], blue.rows[place]);
            let counts = &mut cells.bad_by_endpoint[place];
            counts.copy_from_slice(&green.bad_by_place[place][..ENDPOINTS]);
        }
        cells.absolute = row(green.absolute, blue.absolute);
        cells.green_timed.copy_from_slice(&green.timed_by_place[..ENDPOINTS]);
        for (written, count) in cells.green_written.iter_mut().zip(&self.written.0) {
            *written = count.read(turn)?;
        }
        (cells.absolute.green, cells.absolute.blue) = arrived();
        for metric in Metric::ALL.into_iter().filter(|metric| !dormant.contains(*metric)) {
            let row = &mut cells.rows[metric.index()];
            (row.green, row.blue) = (cells.absolute.green, cells.absolute.blue);
            if sticky {
                row.green = self.data(metric, Side::Green, turn)?;
                row.blue = self.data(metric, Side::Blue, turn)?;
            }
        }
        let sound = |row: &Row| {
            row.green_bad + row.green_ok <= row.green && row.blue_bad + row.blue_ok <= row.blue
        };
        let rows_are = cells.rows.iter().chain([&cells.absolute]).all(sound);
        let mut targets = cells.green_timed.iter().zip(&cells.green_written);
        let targets_are = targets.all(|(timed, written)| timed <= written)
            && cells.green_written.iter().sum::<u32>() <= cells.absolute.green;
        (rows_are && targets_are).then_some(cells)
    }

    /// How many were drawn, but for requests of a cohort that is not closed: requests, or in a
    /// sticky service units that were never met before; green's and blue's. None if the weight had
    /// not changed as often before.
    pub(super) fn drawn(&self, run: u64, sticky: bool) -> (u64, u64) {
        if self.terms.load(Ordering::Acquire) >> RUN != run + 1 {
            return (0, 0);
        }
        if !sticky {
            let (green, blue) = self.arrived();
            return (green.into(), blue.into());
        }
        let of = |side: Side| -> u64 {
            let sets = (1_usize..).zip(&self.entry.data[place(side)]);
            sets.filter(|(set, _)| set & MET != 0)
                .map(|(_, count)| u64::from(count.present()))
                .sum()
        };
        (of(Side::Green), of(Side::Blue))
    }

    /// The arrivals of a sticky service that are a datum in a metric.
    fn data(&self, metric: Metric, side: Side, turn: Turn) -> Option<u32> {
        let sets = (1_usize..).zip(&self.entry.data[place(side)]);
        let counted = sets.filter(|(set, _)| set & class(metric) != 0);
        counted.map(|(_, count)| count.read(turn)).sum()
    }
}

fn row(green: (u32, u32), blue: (u32, u32)) -> Row {
    let ((green_bad, green_ok), (blue_bad, blue_ok)) = (green, blue);
    Row { green_bad, green_ok, blue_bad, blue_ok, ..Row::default() }
}

/// The classes of metrics in which something is a datum.
fn classes(data: MetricSet) -> usize {
    let held = Metric::ALL.into_iter().filter(|metric| data.contains(*metric));
    held.fold(0, |set, metric| set | class(metric))
}

/// The metrics that have their data in common in a sticky service.
fn class(metric: Metric) -> usize {
    match metric {
        Metric::Errors => NO_ERROR,
        Metric::Client4xx => NO_CLIENT_ERROR,
        Metric::LatencyP50 | Metric::LatencyP90 | Metric::LatencyP99 => MET,
    }
}

fn place(side: Side) -> usize {
    match side {
        Side::Green => 0,
        Side::Blue => 1,
    }
}

/// The units without an error so far.
const NO_ERROR: usize = 1;
/// The units without a client error so far.
const NO_CLIENT_ERROR: usize = 2;
/// The units that were never met before.
const MET: usize = 4;
/// How many sets of the three there are, without the empty one.
const DATA_SETS: usize = 7;
/// Green's targets that are told apart, and none.
const GREEN_PLACES: usize = ENDPOINTS + 1;
const BLUE_THRESHOLD: usize = 0;
const GREEN_THRESHOLD: usize = 1;
/// Where the dormant metrics begin.
const DORMANT: u32 = 16;
/// Where the number of changes begins.
const RUN: u32 = 24;
/// No latency is above it.
const UNKNOWN: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Turn = Turn::FIRST;

    fn cohort(number: u64) -> Cohort {
        let weight = Weight::from_bp(9_999).unwrap();
        let dormant = MetricSet::NONE.with(Metric::Client4xx);
        Cohort { number, epoch: 1, step: 2, weight, dormant }
    }

    #[test]
    fn terms_and_thresholds_come_back_as_they_were_given() {
        let slot = Slot::default();
        assert!(!slot.is(0));
        assert_eq!(slot.drawn(0, false), (0, 0));
        let known = Threshold { blue_us: 5, green_us: 6 };
        let thresholds = Thresholds { each: [Some(known), None, Some(known)] };
        let cohort = cohort(7);
        slot.begin(&cohort, 3, &thresholds, TURN);
        assert!(slot.is(7) && !slot.is(3));
        assert_eq!(slot.thresholds(), thresholds);
        assert_eq!(slot.terms(), (cohort.weight, cohort.dormant.with(Metric::LatencyP90)));
        slot.close((4, 5));
        assert_eq!((slot.drawn(3, false), slot.drawn(2, false)), ((4, 5), (0, 0)));
        slot.begin(&cohort, 3, &thresholds, TURN);
        slot.take_back(Side::Green);
        slot.close((5, 5));
        assert_eq!(slot.arrived(), (4, 5), "in either order");
        slot.retire(3);
        assert!(slot.is(7));
        slot.retire(7);
        assert!(!slot.is(7));
        assert_eq!(slot.drawn(3, false), (4, 5), "what was drawn is known until it is used again");
    }

    #[test]
    fn an_outcome_without_its_arrival_is_not_read() {
        let slot = Slot::default();
        slot.begin(&cohort(0), 0, &Thresholds::default(), TURN);
        let events = Events { failed: true, in_errors: true, in_client4xx: false, bad: None };
        assert!(slot.settle(Side::Blue, events, None, None, TURN));
        assert_eq!(slot.read(false, TURN, || (1, 0)), None);
        let cells = slot.read(false, TURN, || (1, 1)).expect("now it is there");
        assert_eq!(cells.rows[0], Row { green: 1, blue: 1, blue_ok: 1, ..Row::default() });
        assert_eq!(cells.absolute.blue_bad, 1);
    }

    #[test]
    fn a_place_is_as_large_as_it_is_said_to_be_and_begins_a_cache_line() {
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (832, 64));
        assert_eq!(size_of::<OutcomeCounts<1>>(), 64);
    }
}
