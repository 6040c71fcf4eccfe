//! How late the writer comes round: a histogram that one thread counts into and anyone may read.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::{Bucket, Histogram, MetricFamily, MetricType};

use super::family::{family, labelled};

/// The upper bounds of the buckets, in microseconds; what was later has no bucket.
const BOUNDS_US: [u64; 11] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// How often the writer came round how late.
#[derive(Debug, Default)]
pub struct Lateness {
    /// By bucket, without those of the buckets before.
    times: [AtomicU64; BOUNDS_US.len()],
    count: AtomicU64,
    total_us: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatenessGauge {
    times: [u64; BOUNDS_US.len()],
    count: u64,
    total_us: u64,
}

impl Lateness {
    /// Counts one, which was so many microseconds late.
    pub fn add(&self, late_us: u64) {
        if let Some(bucket) = BOUNDS_US.iter().position(|bound| late_us <= *bound) {
            self.times[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(late_us, Ordering::Relaxed);
    }

    /// All so far.
    #[must_use]
    pub fn gauge(&self) -> LatenessGauge {
        LatenessGauge {
            times: std::array::from_fn(|bucket| self.times[bucket].load(Ordering::Relaxed)),
            count: self.count.load(Ordering::Relaxed),
            total_us: self.total_us.load(Ordering::Relaxed),
        }
    }
}

impl LatenessGauge {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The family.
    pub(super) fn family(&self) -> MetricFamily {
        let mut below = 0;
        let bucket = |(bound_us, times): (u64, u64)| {
            below += times;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound_us as f64 / 1e6);
            bucket.set_cumulative_count(below);
            bucket
        };
        let buckets = BOUNDS_US.into_iter().zip(self.times).map(bucket).collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.total_us as f64 / 1e6);
        let mut sample = labelled(&[]);
        sample.set_histogram(histogram);
        family(
            "tidegate_writer_tick_lateness_seconds",
            "How late the writer came round, which it means to do ten times a second.",
            MetricType::HISTOGRAM,
            vec![sample],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Gauges, Recorder, render};

    #[test]
    fn ticks_are_exposed_by_how_late_they_were() {
        let lateness = Lateness::default();
        for late_us in [0, 1_000, 1_001, 49_000, 9_000_000] {
            lateness.add(late_us);
        }
        let tick_lateness = lateness.gauge();
        let text = render(&Recorder::default(), &Gauges { tick_lateness, ..Gauges::default() });
        let name = "tidegate_writer_tick_lateness_seconds";
        let check = |line: &str| {
            let line = format!("{name}{line}");
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        };
        check(r#"_bucket{le="0.001"} 2"#);
        check(r#"_bucket{le="0.025"} 3"#);
        check(r#"_bucket{le="0.05"} 4"#);
        check(r#"_bucket{le="5"} 4"#);
        check(r#"_bucket{le="+Inf"} 5"#);
        check("_count 5");
        check("_sum 9.051001");
    }
}
