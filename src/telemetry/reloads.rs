//! Reloads of the configuration: how many were applied and how many refused, and when one was last
//! applied.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::{MetricFamily, MetricType};

use crate::core::model::WallTime;

use super::family::{counter, family, gauge};

/// What the reloads of the configuration came to since the process started.
#[derive(Debug, Default)]
pub struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    /// In milliseconds since the epoch; 0 before the first one.
    last_applied_ms: AtomicU64,
}

impl Reloads {
    /// Counts one after which another configuration is in force.
    pub fn applied(&self, now: WallTime) {
        self.last_applied_ms.store(now.ms(), Ordering::Relaxed);
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that changed nothing.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The families.
    pub(super) fn families(&self) -> [MetricFamily; 2] {
        let results = [("applied", &self.applied), ("refused", &self.refused)];
        let sample = |(result, count): (&str, &AtomicU64)| {
            counter(&[("result", result)], count.load(Ordering::Relaxed))
        };
        let last_ms = self.last_applied_ms.load(Ordering::Relaxed);
        [
            family(
                "tidegate_reloads_total",
                "Reloads of the configuration by what became of them.",
                MetricType::COUNTER,
                results.map(sample).into(),
            ),
            family(
                "tidegate_last_reload_applied_timestamp_seconds",
                "When a reload was last applied, in seconds since the epoch; 0 before the first.",
                MetricType::GAUGE,
                vec![gauge(&[], last_ms as f64 / 1e3)],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Gauges, Recorder, render};

    #[test]
    fn both_results_have_a_series_from_the_start_and_the_last_one_that_counts_its_time() {
        let recorder = Recorder::default();
        let check = |applied: u64, refused: u64, last: &str| {
            let text = render(&recorder, &Gauges::default());
            for line in [
                format!("tidegate_reloads_total{{result=\"applied\"}} {applied}"),
                format!("tidegate_reloads_total{{result=\"refused\"}} {refused}"),
                format!("tidegate_last_reload_applied_timestamp_seconds {last}"),
            ] {
                assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
            }
        };
        check(0, 0, "0");
        recorder.reloads().refused();
        check(0, 1, "0");
        recorder.reloads().applied(WallTime::from_ms(1_250));
        check(1, 1, "1.25");
        recorder.reloads().refused();
        check(1, 2, "1.25");
    }
}
