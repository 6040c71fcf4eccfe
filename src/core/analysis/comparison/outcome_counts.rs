//! The outcomes of one cohort on one side, in as few steps as can be: one that says what a request
//! came to in both metrics of events and for the absolute process, and one for all three latencies.
//!
//! There is a count for each combination, by the place of the target for latencies and for those
//! that are bad in anything. So nothing that was counted of a request can be read without the rest
//! of it, and rows and targets come out by adding up.
//!
//! The three latency metrics take one count because a latency exceeds the lowest thresholds first:
//! how many it exceeds says which.

use super::count::{Count, Turn};
use super::metric::{METRICS, Metric, PerMetric};

/// What was counted of one side; of a target, whose place is below `PLACES`, what is bad, and all
/// latencies.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct OutcomeCounts<const PLACES: usize> {
    /// Bad in no metric of events, by [`Events::good`].
    good: [Count; 8],
    places: [OfTarget; PLACES],
}

/// What is counted of a target's answers.
#[derive(Debug, Default)]
struct OfTarget {
    /// By [`BadEvent::kind`].
    bad: [Count; 4],
    /// By how many thresholds were exceeded.
    timed: [Count; 4],
}

/// What a request came to in the metrics of events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events {
    /// Whether it failed, as the absolute process sees it.
    pub(super) failed: bool,
    /// Whether it is a datum in errors.
    pub(super) in_errors: bool,
    /// Whether it is a datum in client errors.
    pub(super) in_client4xx: bool,
    /// What it is bad in; `None` for nothing.
    pub(super) bad: Option<BadEvent>,
}

/// The metric of events in which a request is bad: only one, for what failed has no status 4xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadEvent {
    Errors,
    Client4xx,
}

/// What is known of one side.
#[derive(Debug)]
pub(super) struct Known<const PLACES: usize> {
    /// Bad and ok ones per metric.
    pub(super) rows: PerMetric<(u32, u32)>,
    /// Failed and other ones.
    pub(super) absolute: (u32, u32),
    /// The bad ones by the place of the target.
    pub(super) bad_by_place: PerMetric<[u32; PLACES]>,
    /// Those that are a datum in latency, by the place of the target.
    pub(super) timed_by_place: [u32; PLACES],
}

impl<const PLACES: usize> OutcomeCounts<PLACES> {
    /// Begins a turn with nothing counted.
    pub(super) fn begin(&self, turn: Turn) {
        let places = self.places.iter().flat_map(|place| place.bad.iter().chain(&place.timed));
        self.good.iter().chain(places).for_each(|count| count.begin(turn));
    }

    /// Counts an outcome. `exceeded`: how many thresholds its latency exceeds, 3 for an error;
    /// `None` if it is no datum there. `false` if it is too late.
    pub(super) fn settle(
        &self,
        events: Events,
        exceeded: Option<usize>,
        place: usize,
        turn: Turn,
    ) -> bool {
        let place = &self.places[place];
        let event = match events.bad {
            None => &self.good[events.good()],
            Some(bad) => &place.bad[bad.kind(events)],
        };
        let latency = exceeded.map(|exceeded| &place.timed[exceeded.min(3)]);
        event.add(turn) && latency.is_none_or(|latency| latency.add(turn))
    }

    /// Counts a latency that comes without an outcome.
    pub(super) fn time(&self, exceeded: usize, place: usize, turn: Turn) {
        // One that is too late is taken back.
        let _ = self.places[place].timed[exceeded.min(3)].add(turn);
    }

    /// What was counted so far, given the thresholds of the side in the order of
    /// [`Metric::LATENCIES`]; `None` if the turn is over.
    pub(super) fn read(&self, thresholds: [u64; 3], turn: Turn) -> Option<Known<PLACES>> {
        let mut known = Known {
            rows: Default::default(),
            absolute: (0, 0),
            bad_by_place: [[0; PLACES]; METRICS],
            timed_by_place: [0; PLACES],
        };
        for (kind, count) in self.good.iter().enumerate() {
            known.add_good(kind, count.read(turn)?);
        }
        // A latency exceeds one of the thresholds only if it exceeds all that are lower.
        let lower = thresholds.map(|of| thresholds.iter().filter(|other| **other < of).count());
        for (place, target) in self.places.iter().enumerate() {
            for (kind, count) in target.bad.iter().enumerate() {
                known.add_bad(kind, place, count.read(turn)?);
            }
            for (exceeded, count) in target.timed.iter().enumerate() {
                known.add_latency(exceeded, lower, place, count.read(turn)?);
            }
        }
        Some(known)
    }
}

impl<const PLACES: usize> Default for OutcomeCounts<PLACES> {
    fn default() -> Self {
        Self { good: Default::default(), places: std::array::from_fn(|_| OfTarget::default()) }
    }
}

impl Events {
    /// The place among those that are bad in nothing.
    fn good(self) -> usize {
        usize::from(self.failed) * FAILED
            + usize::from(self.in_errors) * IN_ERRORS
            + usize::from(self.in_client4xx) * IN_CLIENT4XX
    }
}

impl BadEvent {
    /// What a request is bad in.
    pub(super) fn of(failed: bool, client4xx: bool) -> Option<Self> {
        match (failed, client4xx) {
            (true, _) => Some(Self::Errors),
            (false, true) => Some(Self::Client4xx),
            (false, false) => None,
        }
    }

    /// The metric.
    pub(super) fn metric(self) -> Metric {
        match self {
            Self::Errors => Metric::Errors,
            Self::Client4xx => Metric::Client4xx,
        }
    }

    /// The place among those that are bad: two for each metric, the second if it is a datum in the
    /// other one, too.
    fn kind(self, events: Events) -> usize {
        match self {
            Self::Errors => usize::from(events.in_client4xx),
            Self::Client4xx => 2 + usize::from(events.in_errors),
        }
    }
}

impl<const PLACES: usize> Known<PLACES> {
    fn add_good(&mut self, kind: usize, count: u32) {
        self.add_absolute(kind & FAILED != 0, count);
        if kind & IN_ERRORS != 0 {
            self.rows[Metric::Errors.index()].1 += count;
        }
        if kind & IN_CLIENT4XX != 0 {
            self.rows[Metric::Client4xx.index()].1 += count;
        }
    }

    fn add_bad(&mut self, kind: usize, place: usize, count: u32) {
        let (bad, other) = match kind {
            0 | 1 => (Metric::Errors, Metric::Client4xx),
            _ => (Metric::Client4xx, Metric::Errors),
        };
        self.add_absolute(bad == Metric::Errors, count);
        self.rows[bad.index()].0 += count;
        self.bad_by_place[bad.index()][place] += count;
        if kind % 2 == 1 {
            self.rows[other.index()].1 += count;
        }
    }

    fn add_latency(&mut self, exceeded: usize, lower: [usize; 3], place: usize, count: u32) {
        self.timed_by_place[place] += count;
        for (metric, lower) in Metric::LATENCIES.iter().zip(lower) {
            let row = &mut self.rows[metric.index()];
            if exceeded <= lower {
                row.1 += count;
                continue;
            }
            row.0 += count;
            self.bad_by_place[metric.index()][place] += count;
        }
    }

    fn add_absolute(&mut self, failed: bool, count: u32) {
        let part = if failed { &mut self.absolute.0 } else { &mut self.absolute.1 };
        *part += count;
    }
}

const FAILED: usize = 4;
const IN_ERRORS: usize = 2;
const IN_CLIENT4XX: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every outcome that there is, each counted another number of times, against rows that are
    /// added up one by one.
    #[test]
    fn every_combination_comes_back_in_its_rows() {
        let turn = Turn::of(1, 1);
        let counts = OutcomeCounts::<3>::default();
        counts.begin(turn);
        // Not in order, and two alike: what they are made of is another span of time each.
        let thresholds = [300, 100, 300];
        let mut rows = PerMetric::<(u32, u32)>::default();
        let mut by_place = [[0_u32; 3]; METRICS];
        let mut timed = [0_u32; 3];
        let mut absolute = (0, 0);
        let mut times = 0;
        let bads = [None, Some(BadEvent::Errors), Some(BadEvent::Client4xx)];
        for (bits, bad) in (0..8).flat_map(|bits| bads.map(|bad| (bits, bad))) {
            let [failed, in_errors, in_client4xx] = [4, 2, 1].map(|bit| bits & bit != 0);
            let fits = match bad {
                None => true,
                Some(BadEvent::Errors) => failed && in_errors,
                Some(BadEvent::Client4xx) => !failed && in_client4xx,
            };
            for (latency, place) in
                [None, Some(50), Some(200), Some(900)].into_iter().zip([0, 1, 2, 0])
            {
                if !fits {
                    continue;
                }
                times += 1;
                let events = Events { failed, in_errors, in_client4xx, bad };
                let slow = latency.map(|latency| thresholds.map(|most| latency > most));
                let exceeded = slow.map(|slow| slow.iter().filter(|slow| **slow).count());
                (0..times).for_each(|_| assert!(counts.settle(events, exceeded, place, turn)));
                let mut add = |metric: usize, is_bad: bool| {
                    let row = &mut rows[metric];
                    *(if is_bad { &mut row.0 } else { &mut row.1 }) += times;
                    by_place[metric][place] += if is_bad { times } else { 0 };
                };
                if in_errors {
                    add(0, bad == Some(BadEvent::Errors));
                }
                if in_client4xx {
                    add(1, bad == Some(BadEvent::Client4xx));
                }
                for (metric, slow) in slow.into_iter().flat_map(|slow| (2..).zip(slow)) {
                    add(metric, slow);
                }
                *(if failed { &mut absolute.0 } else { &mut absolute.1 }) += times;
                timed[place] += if slow.is_some() { times } else { 0 };
            }
        }
        let known = counts.read(thresholds, turn).expect("it is its turn");
        assert_eq!((known.rows, known.absolute), (rows, absolute));
        assert_eq!((known.bad_by_place, known.timed_by_place), (by_place, timed));
        assert!(counts.read(thresholds, Turn::of(2, 1)).is_none());
    }
}
