//! The atomics of one cohort: one place of the ring, used by one cohort after the other.
//!
//! Who counts may be held up for as long as it takes the ring to come round, so every word also
//! says which turn of the ring its counts are of, and a step that finds another turn does nothing.
//! What is late is dropped, never counted for another cohort (C5).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::core::analysis::thresholds::{Threshold, Thresholds};
use crate::core::model::{Side, Weight};

use super::cells::{Cells, ENDPOINTS, Row};
use super::cohort::Cohort;
use super::metric::{Metric, MetricSet, PerMetric};

/// The counters of one cohort.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The cohort's number and one more; 0 for a place that was never used.
    number: AtomicU64,
    /// The weight's basis points, and above them the dormant metrics.
    terms: AtomicU64,
    /// How often the weight had changed before it.
    run: AtomicU64,
    /// Blue's and green's threshold of each latency metric; `UNKNOWN` for none.
    thresholds: [[AtomicU64; 2]; 3],
    /// Every request, green's and blue's.
    arrivals: Pair,
    /// In a sticky service: those that are a datum, in the order of [`Class`].
    data: [Pair; 3],
    /// Bad and ok ones, of green and of blue, for the absolute process.
    absolute: [Pair; 2],
    /// The same per metric.
    outcomes: PerMetric<[Pair; 2]>,
    bad_by_endpoint: PerMetric<[Count; ENDPOINTS]>,
}

/// The metrics that have their data in common in a sticky service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The units without an error so far.
    Errors,
    /// The units without a client error so far.
    Client4xx,
    /// The units that were never met before.
    Met,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Errors, Self::Client4xx, Self::Met];

    /// The class of a metric.
    pub(super) fn of(metric: Metric) -> Self {
        match metric {
            Metric::Errors => Self::Errors,
            Metric::Client4xx => Self::Client4xx,
            Metric::LatencyP50 | Metric::LatencyP90 | Metric::LatencyP99 => Self::Met,
        }
    }
}

/// One turn of the ring, as the words remember it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn(u64);

impl Turn {
    /// The turn of a number in a ring of so many places.
    pub(super) fn of(number: u64, ring: u64) -> Self {
        Self(number / ring)
    }

    fn of_pair(self) -> u64 {
        self.0 & (u64::MAX >> PAIR_TURN)
    }

    fn of_count(self) -> u32 {
        (self.0 & 0xff) as u32
    }
}

impl Slot {
    /// Whether the present cohort of this place has this number.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number.load(Ordering::Acquire) == number + 1
    }

    /// Takes the place for a cohort. The turn changes first: who still counts for the last cohort
    /// finds it out before anything else of the new one.
    pub(super) fn begin(&self, cohort: &Cohort, run: u64, thresholds: &Thresholds, turn: Turn) {
        self.arrivals.begin(turn);
        let pairs = self.data.iter().chain(&self.absolute).chain(self.outcomes.iter().flatten());
        pairs.for_each(|pair| pair.begin(turn));
        self.bad_by_endpoint.iter().flatten().for_each(|count| count.begin(turn));
        for (slot, threshold) in self.thresholds.iter().zip(thresholds.each) {
            let known = threshold.map(|known| [known.blue_us, known.green_us]);
            for (word, us) in slot.iter().zip(known.unwrap_or([UNKNOWN; 2])) {
                word.store(us, Ordering::Release);
            }
        }
        // Without a threshold nothing can be said, on neither side.
        let dormant = cohort.dormant.union(thresholds.dormant());
        let terms = u64::from(cohort.weight.bp()) | u64::from(dormant.bits()) << DORMANT;
        self.terms.store(terms, Ordering::Release);
        self.run.store(run, Ordering::Release);
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

    /// Counts an arrival; `false` if it is too late, or there are too many.
    pub(super) fn arrive(&self, side: Side, turn: Turn) -> bool {
        self.arrivals.add(of_side(side), turn)
    }

    /// Counts an arrival that is a datum in the metrics of a class.
    pub(super) fn arrive_in(&self, class: Class, side: Side, turn: Turn) {
        self.data[class as usize].add(of_side(side), turn);
    }

    /// Counts an outcome for the absolute process; `false` if it is too late.
    pub(super) fn settle_absolute(&self, side: Side, bad: bool, turn: Turn) -> bool {
        self.absolute[place(side)].add(of_outcome(bad), turn)
    }

    /// Counts an outcome in a metric.
    pub(super) fn settle(
        &self,
        metric: Metric,
        side: Side,
        bad: bool,
        endpoint: Option<usize>,
        turn: Turn,
    ) {
        if let (Side::Green, true, Some(endpoint)) = (side, bad, endpoint) {
            // Before the outcome: no outcome is ever read without its target.
            self.bad_by_endpoint[metric.index()][endpoint % ENDPOINTS].add(turn);
        }
        self.outcomes[metric.index()][place(side)].add(of_outcome(bad), turn);
    }

    /// What was counted so far; outcomes are read before arrivals (D6), and targets after outcomes.
    /// `None` if the place has another turn.
    pub(super) fn read(&self, sticky: bool, turn: Turn) -> Option<Cells> {
        let mut cells = Cells::default();
        let (_, dormant) = self.terms();
        let awake = || Metric::ALL.into_iter().filter(|metric| !dormant.contains(*metric));
        for metric in awake() {
            let row = &mut cells.rows[metric.index()];
            read_outcomes(&self.outcomes[metric.index()], row, turn)?;
            let counts = self.bad_by_endpoint[metric.index()].each_ref();
            // A target may already be named whose outcome was not there yet.
            let bad = row.green_bad;
            cells.bad_by_endpoint[metric.index()] = counts.map(|count| count.read(turn).min(bad));
        }
        read_outcomes(&self.absolute, &mut cells.absolute, turn)?;
        for metric in awake() {
            let data = if sticky { &self.data[Class::of(metric) as usize] } else { &self.arrivals };
            let row = &mut cells.rows[metric.index()];
            (row.green, row.blue) = data.read(turn)?;
        }
        (cells.absolute.green, cells.absolute.blue) = self.arrivals.read(turn)?;
        Some(cells)
    }

    /// How many were drawn: requests, or in a sticky service units that were never met before;
    /// green's and blue's. None if the weight had not changed as often before.
    pub(super) fn drawn(&self, run: u64, sticky: bool) -> (u64, u64) {
        if self.number.load(Ordering::Acquire) == 0 || self.run.load(Ordering::Acquire) != run {
            return (0, 0);
        }
        let pair = if sticky { &self.data[Class::Met as usize] } else { &self.arrivals };
        let (green, blue) = pair.counts();
        (green.into(), blue.into())
    }
}

/// Bad and ok ones of both sides.
fn read_outcomes(pairs: &[Pair; 2], row: &mut Row, turn: Turn) -> Option<()> {
    (row.green_bad, row.green_ok) = pairs[place(Side::Green)].read(turn)?;
    (row.blue_bad, row.blue_ok) = pairs[place(Side::Blue)].read(turn)?;
    Some(())
}

/// Two counts in one word, of which each may reach 2^24 - 1, and the turn that they are of.
#[derive(Debug, Default)]
struct Pair(AtomicU64);

/// Which of two counts.
#[derive(Clone, Copy, Debug)]
enum Part {
    First,
    Second,
}

impl Pair {
    fn begin(&self, turn: Turn) {
        self.0.store(turn.of_pair() << PAIR_TURN, Ordering::Release);
    }

    /// Counts one more; `false` if the turn is over or the count is full.
    fn add(&self, part: Part, turn: Turn) -> bool {
        let shift = match part {
            Part::First => COUNT,
            Part::Second => 0,
        };
        let next = |word: u64| {
            let may = word >> PAIR_TURN == turn.of_pair() && (word >> shift) & MOST < MOST;
            may.then(|| word + (1 << shift))
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    fn read(&self, turn: Turn) -> Option<(u32, u32)> {
        let word = self.0.load(Ordering::Acquire);
        (word >> PAIR_TURN == turn.of_pair()).then_some(split(word))
    }

    fn counts(&self) -> (u32, u32) {
        split(self.0.load(Ordering::Acquire))
    }
}

fn split(word: u64) -> (u32, u32) {
    (((word >> COUNT) & MOST) as u32, (word & MOST) as u32)
}

/// One count that may reach 2^24 - 1, and the turn that it is of.
#[derive(Debug, Default)]
struct Count(AtomicU32);

impl Count {
    fn begin(&self, turn: Turn) {
        self.0.store(turn.of_count() << COUNT, Ordering::Release);
    }

    fn add(&self, turn: Turn) {
        let next = |word: u32| {
            let may = word >> COUNT == turn.of_count() && u64::from(word) & MOST < MOST;
            may.then(|| word + 1)
        };
        // What is late or too much is not counted.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    fn read(&self, turn: Turn) -> u32 {
        let word = self.0.load(Ordering::Acquire);
        if word >> COUNT == turn.of_count() { (u64::from(word) & MOST) as u32 } else { 0 }
    }
}

fn of_side(side: Side) -> Part {
    match side {
        Side::Green => Part::First,
        Side::Blue => Part::Second,
    }
}

fn of_outcome(bad: bool) -> Part {
    if bad { Part::First } else { Part::Second }
}

fn place(side: Side) -> usize {
    match side {
        Side::Green => 0,
        Side::Blue => 1,
    }
}

/// Bits of a count.
const COUNT: u32 = 24;
const MOST: u64 = (1 << COUNT) - 1;
/// Where the turn of a pair begins.
const PAIR_TURN: u32 = 2 * COUNT;
/// Where the dormant metrics begin.
const DORMANT: u32 = 16;
/// No latency is above it.
const UNKNOWN: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_another_turn_are_left_alone_and_full_ones_stay_full() {
        let pair = Pair::default();
        let (first, second) = (Turn::of(5, 4), Turn::of(9, 4));
        pair.begin(first);
        assert!(pair.add(Part::First, first) && pair.add(Part::Second, first));
        assert!(!pair.add(Part::First, second));
        assert_eq!((pair.read(first), pair.read(second)), (Some((1, 1)), None));
        pair.begin(second);
        assert!(!pair.add(Part::First, first), "late");
        assert_eq!(pair.read(second), Some((0, 0)));
        pair.0.store(second.of_pair() << PAIR_TURN | MOST, Ordering::Release);
        assert!(!pair.add(Part::Second, second), "full");
        assert!(pair.add(Part::First, second));
        assert_eq!(pair.read(second), Some((1, MOST as u32)));
        let count = Count::default();
        count.begin(second);
        count.add(first);
        count.add(second);
        assert_eq!((count.read(first), count.read(second)), (0, 1));
    }

    #[test]
    fn terms_and_thresholds_come_back_as_they_were_given() {
        let slot = Slot::default();
        assert!(!slot.is(0));
        let known = Threshold { blue_us: 5, green_us: 6 };
        let thresholds = Thresholds { each: [Some(known), None, Some(known)] };
        let weight = Weight::from_bp(9_999).unwrap();
        let dormant = MetricSet::NONE.with(Metric::Client4xx);
        let cohort = Cohort { number: 7, epoch: 1, step: 2, weight, dormant };
        slot.begin(&cohort, 3, &thresholds, Turn::of(7, 4));
        assert!(slot.is(7) && !slot.is(3));
        assert_eq!(slot.thresholds(), thresholds);
        assert_eq!(slot.terms(), (weight, dormant.with(Metric::LatencyP90)));
    }
}
