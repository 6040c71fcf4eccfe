//! Latency thresholds: what counts as slow, fixed before an epoch begins.
//!
//! Slow is, for blue, more than blue's own quantile of the previous epochs; for green, more than
//! that and a tolerance, by default 10 % and 2 ms (section 6.1). If the threshold is not exactly
//! blue's quantile only power suffers: validity needs no more than that it is known before the
//! request's coin is flipped. A request keeps the thresholds of its arrival.

use std::collections::VecDeque;

use crate::core::model::{Side, Span};

use super::comparison::{Metric, MetricSet};
use super::sketch::LatencySketch;

/// What is slow in one metric, in microseconds; more than that is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// On blue.
    pub blue_us: u64,
    /// On green.
    pub green_us: u64,
}

/// The thresholds of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Of the three latency metrics, in the order of [`Metric::LATENCIES`]; `None`: too few
    /// latencies were known, and the metric is dormant.
    pub each: [Option<Threshold>; 3],
}

impl Thresholds {
    /// Whether an answer without an error is slow, in the order of [`Metric::LATENCIES`]; an error
    /// is slow in any case. `latency_us` is the time from writing the request to an established
    /// connection to the answer's headers (D5). Without a threshold nothing is.
    #[must_use]
    pub fn slow(&self, side: Side, latency_us: u64) -> [bool; 3] {
        self.each.map(|threshold| {
            threshold.is_some_and(|threshold| match side {
                Side::Blue => latency_us > threshold.blue_us,
                Side::Green => latency_us > threshold.green_us,
            })
        })
    }

    /// How many of the thresholds an answer without an error exceeds: those that are lower before
    /// those that are higher.
    #[must_use]
    pub fn exceeded(&self, side: Side, latency_us: u64) -> usize {
        self.slow(side, latency_us).iter().filter(|slow| **slow).count()
    }

    /// The metrics without a threshold.
    #[must_use]
    pub fn dormant(&self) -> MetricSet {
        let metrics = Metric::LATENCIES.iter().zip(self.each);
        metrics.fold(MetricSet::NONE, |set, (metric, threshold)| match threshold {
            None => set.with(*metric),
            Some(_) => set,
        })
    }
}

/// How much slower green may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyTolerance {
    /// By this part of blue's quantile, in basis points.
    pub relative_bp: u32,
    /// And by this much.
    pub absolute: Span,
}

impl Default for LatencyTolerance {
    fn default() -> Self {
        Self { relative_bp: 1_000, absolute: Span::from_ms(2) }
    }
}

/// Blue's latencies of the last epochs.
///
/// It runs before the rollout as well, so that there are thresholds from its first epoch on (D4).
#[derive(Clone, Debug)]
pub struct ThresholdBook {
    tolerance: LatencyTolerance,
    /// Closed epochs, youngest first.
    past: VecDeque<LatencySketch>,
    present: LatencySketch,
}

impl ThresholdBook {
    /// How many epochs back latencies are used.
    pub const EPOCHS: usize = 10;
    const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
    /// How many latencies each quantile takes.
    const FEWEST: [u64; 3] = [200, 200, 1_000];

    /// A book without latencies.
    #[must_use]
    pub fn new(tolerance: LatencyTolerance) -> Self {
        Self { tolerance, past: VecDeque::new(), present: LatencySketch::new() }
    }

    /// Takes another tolerance for the thresholds that are yet to come.
    pub fn tolerate(&mut self, tolerance: LatencyTolerance) {
        self.tolerance = tolerance;
    }

    /// The present epoch's latencies of answers of blue without an error: record or merge here.
    pub fn present(&mut self) -> &mut LatencySketch {
        &mut self.present
    }

    /// Closes the present epoch; the thresholds of the next.
    pub fn next_epoch(&mut self) -> Thresholds {
        self.past.truncate(Self::EPOCHS - 1);
        self.past.push_front(std::mem::take(&mut self.present));
        let mut each = [None; 3];
        let mut together = LatencySketch::new();
        for sketch in &self.past {
            together.merge(sketch);
            for (place, threshold) in each.iter_mut().enumerate() {
                if threshold.is_none() && together.total() >= Self::FEWEST[place] {
                    *threshold = self.threshold(&together, Self::QUANTILES[place]);
                }
            }
        }
        Thresholds { each }
    }

    fn threshold(&self, latencies: &LatencySketch, q: f64) -> Option<Threshold> {
        let blue_us = latencies.quantile_us(q)?;
        let LatencyTolerance { relative_bp, absolute } = self.tolerance;
        let more = blue_us * u64::from(relative_bp) / 10_000 + absolute.ms() * 1_000;
        Some(Threshold { blue_us, green_us: blue_us + more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: u64, wanted: f64) -> bool {
        (found as f64 / wanted - 1.0).abs() < 0.02
    }

    #[test]
    fn a_threshold_takes_enough_latencies_of_the_last_epochs() {
        let mut book = ThresholdBook::new(LatencyTolerance::default());
        (0..199).for_each(|_| book.present().record(50_000));
        let few = book.next_epoch();
        assert_eq!(few.each, [None; 3]);
        assert_eq!(few.dormant(), MetricSet::LATENCIES);
        book.present().record(50_000);
        let enough = book.next_epoch();
        assert!(enough.each[0].is_some() && enough.each[1].is_some());
        assert_eq!(enough.dormant(), MetricSet::NONE.with(Metric::LatencyP99));
        for _ in 0..8 {
            assert!(book.next_epoch().each[0].is_some(), "found again up to ten epochs back");
        }
        assert_eq!(book.next_epoch().each, [None; 3], "too old");
    }

    #[test]
    fn the_youngest_latencies_decide() {
        let mut book = ThresholdBook::new(LatencyTolerance::default());
        (0..5_000).for_each(|_| book.present().record(10_000));
        book.next_epoch();
        (0..200).for_each(|_| book.present().record(100_000));
        let found = book.next_epoch();
        let [p50, p90, p99] = found.each.map(Option::unwrap);
        assert!(near(p50.blue_us, 100_000.0) && near(p90.blue_us, 100_000.0), "{found:?}");
        assert!(near(p99.blue_us, 100_000.0), "the slowest of both epochs: {found:?}");
        assert!(near(p50.green_us, 112_000.0), "10 % and 2 ms: {found:?}");
    }

    #[test]
    fn green_is_slow_later_than_blue() {
        let threshold = Threshold { blue_us: 100, green_us: 110 };
        let thresholds = Thresholds { each: [Some(threshold), None, Some(threshold)] };
        assert_eq!(thresholds.slow(Side::Blue, 100), [false, false, false], "strictly more");
        assert_eq!(thresholds.slow(Side::Blue, 101), [true, false, true]);
        assert_eq!(thresholds.slow(Side::Green, 110), [false, false, false]);
        assert_eq!(thresholds.slow(Side::Green, 111), [true, false, true]);
        assert_eq!([100, 101].map(|us| thresholds.exceeded(Side::Blue, us)), [0, 2]);
    }
}
