//! Green's requests that nobody has answered, and that are slow already.
//!
//! A request of green whose answer may still come counts as good: the pessimistic side of what is
//! not known (section 5). But whether it is slow is known as soon as it has been open for longer
//! than is slow, so it is moved then and not when it ends (section 5: "for latency also when the
//! age passes the threshold"). A request of blue needs no move: not known is bad on blue, from the
//! start. So where both sides hang alike both are bad, and nothing speaks against green.
//!
//! **Invariant: what is moved stays as it is, whatever the request comes to.** Its latency runs
//! from where it was written to where its header was read, so it is longer than that when it is
//! answered. If it fails, is cut off by a timeout, or its client goes away, it is slow as an error
//! is (B6); if the cluster guard spares that failure it is slow by the time that it took
//! ([`Counters::settle`](super::Counters::settle)), and so it is if its target is given up sooner
//! than blue's would be ([`Counters::cut_short`](super::Counters::cut_short)). If it is never
//! settled, too late for the ring, or of a life of the process that is over, it stays moved, and is
//! slow in truth. Nothing takes a request out of the comparison after its flip, and whether it is a
//! datum in latency is fixed before. So what is imputed is either what it will be, or the
//! pessimistic value: each prefix is at any time worth at most what it is in truth, without any
//! guard, and the bound on false rollbacks holds as ever (C1), under its condition (B7). It does
//! not matter when a request is moved, as long as it is not too early:
//!
//! - The clock of a target's requests in a cohort starts with the first look at which none was
//!   written since the look before: then all of them had been, however late they were read.
//! - From the answer's header to its count there is a moment, in which a request that was quick is
//!   still open. So it is [`MARGIN`] longer until anything is moved. That is no part of the
//!   invariant but of its measurement: a thread would have to be held up there for so long.
//! - What is written later, when others wait already, has a later clock, and does not stop theirs.
//!
//! **Each target by itself**, so that leave-one-out can take back what waits for one of them (B4):
//! what is moved is bad through its target, as it will be. One host that hangs is named and is no
//! bad version.
//!
//! **What it costs.** The guard has no say in what hung: many requests that one target leaves
//! hanging, and that fail together afterwards, are as many slow ones, as they are where they are
//! answered in the end. Such a cause is local to one target, which the bound does not cover (B7);
//! where green has few of them, nothing lowers its effect.

use crate::core::analysis::thresholds::Thresholds;
use crate::core::model::{MonoTime, Span};

use super::cells::{Cells, ENDPOINTS};
use super::cohort::Calendar;
use super::metric::Metric;

/// Which of green's requests of one cohort are overdue: never fewer, as time goes by, but for those
/// whose latency is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overdue {
    /// By latency metric what is slow on green, in microseconds; [`NOTHING`] without a threshold.
    slow_us: [u64; LATENCIES],
    clocks: [TargetClock; ENDPOINTS],
    /// Whether anything was at any look.
    was_any: bool,
}

/// The clock of what was written to one target.
#[derive(Clone, Copy, Debug, Default)]
struct TargetClock {
    /// How many there were when it was last looked at.
    written: u32,
    /// By latency metric: how many of the first of them were open for longer than is slow, or
    /// answered.
    past: [u32; LATENCIES],
    /// By when all of them had been written; `None` while there are more at each look.
    since: Option<MonoTime>,
}

impl Overdue {
    /// Nothing is, in a cohort with these thresholds.
    pub(super) fn new(thresholds: &Thresholds) -> Self {
        let slow_us = thresholds.each.map(|slow| slow.map_or(NOTHING, |slow| slow.green_us));
        Self { slow_us, clocks: Default::default(), was_any: false }
    }

    /// Looks at what is open now; whether more of it is overdue than before.
    pub(super) fn look(&mut self, now: MonoTime, cells: &Cells) -> bool {
        if cells.green_written == cells.green_timed {
            return false;
        }
        let mut has_more = false;
        let targets = cells.green_written.iter().zip(&cells.green_timed);
        for (clock, (written, timed)) in self.clocks.iter_mut().zip(targets) {
            if timed < written {
                has_more |= clock.look(now, *written, &self.slow_us);
            }
        }
        self.was_any |= has_more;
        has_more
    }

    /// The cells with what is overdue counted as slow; `None` if nothing ever was.
    pub(super) fn counted(&self, cells: &Cells) -> Option<Cells> {
        if !self.was_any {
            return None;
        }
        let mut counted = *cells;
        for (latency, metric) in Metric::LATENCIES.into_iter().enumerate() {
            let row = &mut counted.rows[metric.index()];
            // Nothing is in flight where the metric is dormant.
            let mut open = u32::try_from(row.in_flight().0).unwrap_or(u32::MAX);
            let targets = self.clocks.iter().zip(&cells.green_timed);
            let named = counted.bad_by_endpoint[metric.index()].iter_mut();
            for ((clock, timed), named) in targets.zip(named) {
                let slow = clock.past[latency].saturating_sub(*timed).min(open);
                open -= slow;
                row.green_bad += slow;
                *named = named.saturating_add(slow);
            }
        }
        Some(counted)
    }
}

impl TargetClock {
    /// Looks at a target for which somebody waits now; whether more of what was written to it is
    /// overdue than before.
    fn look(&mut self, now: MonoTime, written: u32, slow_us: &[u64; LATENCIES]) -> bool {
        if written != self.written {
            (self.written, self.since) = (written, None);
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let waited_us = now.since(since).ms().saturating_sub(MARGIN.ms()).saturating_mul(1_000);
        let mut has_more = false;
        for (past, slow_us) in self.past.iter_mut().zip(slow_us) {
            if waited_us > *slow_us && *past < written {
                (*past, has_more) = (written, true);
            }
        }
        has_more
    }
}

const LATENCIES: usize = Metric::LATENCIES.len();
/// Nothing takes as long.
const NOTHING: u64 = u64::MAX;
/// For how much longer than is slow a request is open before it is moved: as long as a cohort.
const MARGIN: Span = Calendar::COHORT;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::analysis::comparison::MetricSet;
    use crate::core::analysis::thresholds::Threshold;
    use crate::core::model::Side;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    fn thresholds() -> Thresholds {
        let slow = |ms: u64| Some(Threshold { blue_us: 900 * ms, green_us: 1_000 * ms });
        Thresholds { each: [slow(200), None, slow(500)] }
    }

    fn written(targets: &[usize]) -> Cells {
        let mut cells = Cells::default();
        for target in targets {
            cells.arrive(Side::Green, MetricSet::ALL);
            cells.write(*target);
        }
        cells
    }

    fn answer(cells: &mut Cells, target: usize) {
        Metric::ALL.into_iter().for_each(|m| cells.settle(m, Side::Green, false, Some(target)));
        cells.time(target);
    }

    fn look(overdue: &mut Overdue, cells: &Cells, times: [u64; 3]) {
        for ms in times {
            overdue.look(at(ms), cells);
        }
    }

    /// The bad ones of green by metric, and those of target 3 in the metric of the median.
    fn bad(overdue: &Overdue, cells: &Cells) -> ([u32; 5], u32) {
        let counted = overdue.counted(cells).unwrap_or(*cells);
        let named = counted.bad_by_endpoint[Metric::LatencyP50.index()][3];
        (counted.rows.map(|row| row.green_bad), named)
    }

    #[test]
    fn what_is_open_for_longer_than_is_slow_is_slow() {
        let (mut overdue, mut cells) = (Overdue::new(&thresholds()), written(&[3, 3, 5]));
        for (ms, has_more, wanted) in
            [(0, false, 0), (100, false, 0), (400, false, 0), (401, true, 3), (700, false, 3)]
        {
            assert_eq!(overdue.look(at(ms), &cells), has_more, "{ms}");
            assert_eq!(bad(&overdue, &cells).0, [0, 0, wanted, 0, 0], "{ms}");
        }
        assert!(overdue.look(at(701), &cells));
        assert_eq!(bad(&overdue, &cells), ([0, 0, 3, 0, 3], 2), "one has no threshold");
        // What it comes to is what it was.
        answer(&mut cells, 5);
        for metric in [Metric::LatencyP50, Metric::LatencyP99] {
            let row = &mut cells.rows[metric.index()];
            (row.green_ok, row.green_bad) = (0, 1);
        }
        assert!(!overdue.look(at(800), &cells));
        assert_eq!(bad(&overdue, &cells), ([0, 0, 3, 0, 3], 2));
    }

    #[test]
    fn what_is_written_later_has_a_later_clock_and_stops_no_other() {
        let (mut overdue, mut cells) = (Overdue::new(&thresholds()), written(&[3]));
        look(&mut overdue, &cells, [0, 100, 500]);
        assert_eq!(bad(&overdue, &cells).1, 1);
        cells.arrive(Side::Green, MetricSet::ALL);
        cells.write(3);
        look(&mut overdue, &cells, [600, 700, 1_000]);
        assert_eq!(bad(&overdue, &cells).1, 1);
        assert!(overdue.look(at(1_001), &cells));
        assert_eq!(bad(&overdue, &cells).1, 2);
    }

    #[test]
    fn no_more_is_moved_than_is_in_flight_whatever_a_log_says() {
        let mut overdue = Overdue::new(&thresholds());
        let mut cells = written(&[3]);
        cells.green_written = [u32::MAX; ENDPOINTS];
        look(&mut overdue, &cells, [0, 1, 9_000]);
        assert_eq!(bad(&overdue, &cells).0, [0, 0, 1, 0, 1]);
        assert!(overdue.counted(&Cells::default()).is_some_and(|none| none == Cells::default()));
    }

    proptest! {
        /// Requests that are written at any time and take any time, looked at each 100 ms: what is
        /// moved at a look is open, for longer than is slow, and through its target.
        #[test]
        fn nothing_is_moved_that_is_not_slow(
            requests in prop::collection::vec((0_u64..900, 1_u64..2_500, 0_usize..3), 0..20),
        ) {
            let mut overdue = Overdue::new(&thresholds());
            for now in (0..4_000).step_by(100) {
                let mut cells = Cells::default();
                let mut slow = [[0; 3]; LATENCIES];
                for (start, took, target) in requests.iter().filter(|(start, ..)| *start <= now) {
                    cells.arrive(Side::Green, MetricSet::ALL);
                    cells.write(*target);
                    if start + took <= now {
                        answer(&mut cells, *target);
                        continue;
                    }
                    for (latency, ms) in [(0, 200), (2, 500)] {
                        slow[latency][*target] += u32::from(now - start > ms);
                    }
                }
                overdue.look(at(now), &cells);
                let counted = overdue.counted(&cells).unwrap_or(cells);
                for (latency, metric) in Metric::LATENCIES.into_iter().enumerate() {
                    let row = counted.rows[metric.index()];
                    let named = counted.bad_by_endpoint[metric.index()];
                    prop_assert_eq!(named.iter().sum::<u32>(), row.green_bad);
                    for (target, slow) in slow[latency].iter().enumerate() {
                        prop_assert!(named[target] <= *slow, "{} at {}", metric.as_str(), now);
                        // Two looks, the margin, and what was written late later.
                        let all = now >= 900 + 700 + 100;
                        prop_assert!(!all || named[target] == *slow, "{}", now);
                    }
                }
            }
        }
    }
}
