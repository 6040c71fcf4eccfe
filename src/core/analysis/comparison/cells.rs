//! The counters of one arrival cohort, in the shape in which several proxies' add up (B2).
//!
//! Per metric two counts of arrivals and four of known outcomes, all of which only grow. What is in
//! flight is arrivals less known outcomes and is never counted by itself, so that the later of two
//! readings is the larger one in every field, and the readings of several proxies are added.
//!
//! **Reading**: whoever counts adds the arrival before it sends the request. Whoever reads reads
//! the outcomes *before* the arrivals: then every outcome that was read has its arrival, and a
//! request that falls between the two readings is in flight, which is never wrong (D6).
//!
//! **The imputation rule** (B): between the coin flip and the evidence nothing is left out because
//! of what happened after the flip. What is in flight, too old or lost is counted by the side that
//! it arrived on: against a rollback green is ok and blue bad, against a certificate the reverse,
//! and for the absolute process both are ok.
//!
//! **By target** there are also two counts of green's requests that are a datum in latency: those
//! that were written to a target, and those of them whose latency is known. Their difference is who
//! waits for which target: enough to tell, as time goes by, who is slow already and through whom
//! ([`Overdue`](super::overdue::Overdue)). Nobody else has to be counted so: what waits for blue is
//! bad from the start, and what was written to no target waits for none.

use crate::core::model::Side;

use super::metric::{METRICS, Metric, MetricSet, PerMetric};
use super::tally::Tally;

/// How many of green's targets are told apart; further ones share a place by their number modulo
/// this. Sharing makes leave-one-out leave out more, so it can only prevent rollbacks.
pub const ENDPOINTS: usize = 16;

/// The counters of one metric in one cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Requests assigned to green.
    pub green: u32,
    /// Requests assigned to blue.
    pub blue: u32,
    /// Green requests known to be bad.
    pub green_bad: u32,
    /// Green requests known to be ok.
    pub green_ok: u32,
    /// Blue requests known to be bad.
    pub blue_bad: u32,
    /// Blue requests known to be ok.
    pub blue_ok: u32,
}

impl Row {
    /// Counts an arrival.
    pub fn arrive(&mut self, side: Side) {
        match side {
            Side::Green => self.green += 1,
            Side::Blue => self.blue += 1,
        }
    }

    /// Counts an outcome of a request whose arrival was counted.
    pub fn settle(&mut self, side: Side, bad: bool) {
        let count = match (side, bad) {
            (Side::Green, true) => &mut self.green_bad,
            (Side::Green, false) => &mut self.green_ok,
            (Side::Blue, true) => &mut self.blue_bad,
            (Side::Blue, false) => &mut self.blue_ok,
        };
        *count += 1;
    }

    /// What is known.
    #[must_use]
    pub fn known(self) -> Tally {
        Tally {
            green_bad: self.green_bad.into(),
            green_ok: self.green_ok.into(),
            blue_bad: self.blue_bad.into(),
            blue_ok: self.blue_ok.into(),
        }
    }

    /// Green and blue requests whose outcome is not known.
    #[must_use]
    pub fn in_flight(self) -> (u64, u64) {
        let known = self.known();
        let of = |arrived: u32, known: u64| u64::from(arrived).saturating_sub(known);
        (of(self.green, known.green()), of(self.blue, known.blue()))
    }

    /// With what is in flight counted against a rollback.
    #[must_use]
    pub fn against_rollback(self) -> Tally {
        let (green, blue) = self.in_flight();
        self.known() + Tally { green_ok: green, blue_bad: blue, ..Tally::default() }
    }

    /// With what is in flight counted against a certificate.
    #[must_use]
    pub fn against_pass(self) -> Tally {
        let (green, blue) = self.in_flight();
        self.known() + Tally { green_bad: green, blue_ok: blue, ..Tally::default() }
    }

    /// With what is in flight counted as ok on both sides: for the absolute process (B10).
    #[must_use]
    pub fn against_alarm(self) -> Tally {
        let (green, blue) = self.in_flight();
        self.known() + Tally { green_ok: green, blue_ok: blue, ..Tally::default() }
    }

    fn zip(self, other: Self, with: fn(u32, u32) -> u32) -> Self {
        Self {
            green: with(self.green, other.green),
            blue: with(self.blue, other.blue),
            green_bad: with(self.green_bad, other.green_bad),
            green_ok: with(self.green_ok, other.green_ok),
            blue_bad: with(self.blue_bad, other.blue_bad),
            blue_ok: with(self.blue_ok, other.blue_ok),
        }
    }
}

/// The counters of one cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Per metric of the comparison.
    pub rows: PerMetric<Row>,
    /// For the absolute process: every randomised request by failed or not, as it was, without
    /// guard, and in a sticky service every request and not one of each unit.
    pub absolute: Row,
    /// Per metric: those of the bad green requests that a target gave, by the target's place.
    pub bad_by_endpoint: PerMetric<[u32; ENDPOINTS]>,
    /// Green requests that are a datum in latency and were written to a target, by its place.
    pub green_written: [u32; ENDPOINTS],
    /// Those of them whose latency is known.
    pub green_timed: [u32; ENDPOINTS],
}

impl Cells {
    /// Counts the arrival of a request in the metrics in which it is a datum: all of them, but for
    /// sticky users, who are one only once (B9). The absolute process takes every request.
    pub fn arrive(&mut self, side: Side, counted: MetricSet) {
        for metric in Metric::ALL.into_iter().filter(|metric| counted.contains(*metric)) {
            self.rows[metric.index()].arrive(side);
        }
        self.absolute.arrive(side);
    }

    /// Counts a request's outcome in one metric; `endpoint` is the place of the target of green
    /// that answered, `None` on blue and where no target is to blame.
    pub fn settle(&mut self, metric: Metric, side: Side, bad: bool, endpoint: Option<usize>) {
        self.rows[metric.index()].settle(side, bad);
        if let (Side::Green, true, Some(endpoint)) = (side, bad, endpoint) {
            self.bad_by_endpoint[metric.index()][endpoint % ENDPOINTS] += 1;
        }
    }

    /// Counts that a request of green, which is a datum in latency, was written to a target.
    pub fn write(&mut self, endpoint: usize) {
        self.green_written[endpoint % ENDPOINTS] += 1;
    }

    /// Counts that the latency of such a request is known.
    pub fn time(&mut self, endpoint: usize) {
        self.green_timed[endpoint % ENDPOINTS] += 1;
    }

    /// The later of two readings of the same proxy: the larger of each count.
    #[must_use]
    pub fn later(&self, other: &Self) -> Self {
        self.zip(other, u32::max)
    }

    /// The readings of two proxies together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u32::saturating_add)
    }

    /// Whether every outcome is known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.rows.iter().chain([&self.absolute]).all(|row| row.in_flight() == (0, 0))
    }

    /// The same without what was counted in metrics that are dormant.
    #[must_use]
    pub(super) fn awake(mut self, dormant: MetricSet) -> Self {
        for metric in Metric::ALL {
            if dormant.contains(metric) {
                self.rows[metric.index()] = Row::default();
                self.bad_by_endpoint[metric.index()] = [0; ENDPOINTS];
            }
        }
        self
    }

    fn zip(&self, other: &Self, with: fn(u32, u32) -> u32) -> Self {
        let bad = |metric: usize, place: usize| {
            with(self.bad_by_endpoint[metric][place], other.bad_by_endpoint[metric][place])
        };
        Self {
            rows: std::array::from_fn(|metric| self.rows[metric].zip(other.rows[metric], with)),
            absolute: self.absolute.zip(other.absolute, with),
            bad_by_endpoint: std::array::from_fn::<_, METRICS, _>(|metric| {
                std::array::from_fn(|place| bad(metric, place))
            }),
            green_written: std::array::from_fn(|place| {
                with(self.green_written[place], other.green_written[place])
            }),
            green_timed: std::array::from_fn(|place| {
                with(self.green_timed[place], other.green_timed[place])
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_speaks_against_whatever_is_to_be_shown() {
        let row = Row { green: 5, blue: 7, green_bad: 1, green_ok: 2, blue_bad: 1, blue_ok: 3 };
        assert_eq!(row.in_flight(), (2, 3));
        assert_eq!(row.against_rollback(), Tally::new(1, 4, 4, 3));
        assert_eq!(row.against_pass(), Tally::new(3, 2, 1, 6));
        assert_eq!(row.against_alarm(), Tally::new(1, 4, 1, 6));
    }

    #[test]
    fn readings_merge_in_any_order() {
        let mut early = Cells::default();
        early.arrive(Side::Green, MetricSet::ALL);
        early.arrive(Side::Blue, MetricSet::ALL);
        let mut late = early;
        late.settle(Metric::Errors, Side::Green, true, Some(3));
        late.settle(Metric::Errors, Side::Green, true, Some(3 + ENDPOINTS));
        assert_eq!(early.later(&late), late);
        assert_eq!(late.later(&early), late);
        assert_eq!(late.later(&late), late);
        late.write(3);
        late.write(3 + ENDPOINTS);
        late.time(3);
        assert_eq!(early.later(&late), late);
        let both = late.plus(&early);
        assert_eq!(both, early.plus(&late));
        assert_eq!((both.green_written[3], both.green_timed[3]), (2, 1));
        assert_eq!(both.rows[0].green, 2);
        assert_eq!(both.bad_by_endpoint[0][3], 2);
        assert!(!both.is_complete());
        assert!(Cells::default().is_complete());
        assert_eq!(both.awake(MetricSet::ALL).rows, [Row::default(); METRICS]);
        assert_eq!(both.awake(MetricSet::NONE), both);
    }
}
