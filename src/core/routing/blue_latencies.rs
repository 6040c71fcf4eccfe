//! How long blue takes to answer, counted by all threads at once.
//!
//! What is slow is decided by blue's own latencies of the minutes before, also of those before the
//! rollout. So they are counted all the time; who makes thresholds of them takes them away.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::analysis::{LatencySketch, SKETCH_BUCKETS};

/// The latencies of blue's answers without an error since they were taken last.
#[derive(Debug)]
pub struct BlueLatencies {
    counts: Box<[AtomicU64]>,
}

impl BlueLatencies {
    /// Counts an answer's time to headers in microseconds; lock-free, allocates nothing.
    pub fn record(&self, latency_us: u64) {
        self.counts[LatencySketch::bucket_of(latency_us)].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what was counted; every answer is taken once.
    #[must_use]
    pub fn take(&self) -> LatencySketch {
        let mut taken = LatencySketch::new();
        for (bucket, count) in self.counts.iter().enumerate() {
            if count.load(Ordering::Relaxed) > 0 {
                taken.add(bucket, count.swap(0, Ordering::Relaxed));
            }
        }
        taken
    }
}

impl Default for BlueLatencies {
    fn default() -> Self {
        let counts = std::iter::repeat_with(|| AtomicU64::new(0)).take(SKETCH_BUCKETS).collect();
        Self { counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_taken_once() {
        let latencies = BlueLatencies::default();
        let mut taken = LatencySketch::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let latencies = &latencies;
                scope.spawn(move || (0..1_000).for_each(|i| latencies.record(thread * i)));
            }
            (0..10).for_each(|_| taken.merge(&latencies.take()));
        });
        taken.merge(&latencies.take());
        let mut expected = LatencySketch::new();
        (0..4_u64).for_each(|thread| (0..1_000).for_each(|i| expected.record(thread * i)));
        assert_eq!(taken, expected);
        assert_eq!(latencies.take(), LatencySketch::new());
    }
}
