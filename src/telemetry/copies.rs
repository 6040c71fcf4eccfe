//! Requests that were sent more than once: second attempts, and copies that were mirrored to green.
//!
//! They are counted apart from outcomes: a request has one outcome, however often it was sent, and
//! what green made of a mirrored copy no user has seen.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::{MetricFamily, MetricType};

use super::Recorder;
use super::family::{counter, family};
use super::meter::class_of;

/// What a failed first attempt was followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryKind {
    /// A second attempt on the same side.
    Retry,
    /// A second attempt on blue, after one on green.
    Rescue,
    /// None, although there was a place for one: the budget was used up.
    BudgetExhausted,
}

/// What a mirrored request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// Green answered with this status, whole or as far as it is read.
    Status(u16),
    /// Green could not be connected to, or broke off.
    Failed,
    /// Green's answer was not there in time.
    TimedOut,
    /// Not sent: so many were under way already, or green had no target.
    Dropped,
}

/// The copies of requests that a meter counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Second attempts in the order of [`RetryKind`].
    pub retries: [u64; 3],
    /// Mirrored requests: by the class of their status from 1xx to 5xx, then failed, timed out and
    /// dropped ones.
    pub mirrored: [u64; 8],
}

impl Copies {
    pub(super) fn add(&mut self, other: &Self) {
        let retries = self.retries.iter_mut().zip(other.retries);
        let mirrored = self.mirrored.iter_mut().zip(other.mirrored);
        retries.chain(mirrored).for_each(|(sum, count)| *sum += count);
    }
}

/// The atomics behind [`Copies`].
#[derive(Debug, Default)]
pub(super) struct CopyCounts {
    retries: [AtomicU64; 3],
    mirrored: [AtomicU64; 8],
}

impl CopyCounts {
    pub(super) fn retried(&self, kind: RetryKind) {
        let place = match kind {
            RetryKind::Retry => 0,
            RetryKind::Rescue => 1,
            RetryKind::BudgetExhausted => 2,
        };
        self.retries[place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn mirrored(&self, outcome: MirrorOutcome) {
        let place = match outcome {
            MirrorOutcome::Status(status) => class_of(status),
            MirrorOutcome::Failed => 5,
            MirrorOutcome::TimedOut => 6,
            MirrorOutcome::Dropped => 7,
        };
        self.mirrored[place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Copies {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Copies {
            retries: std::array::from_fn(|i| read(&self.retries[i])),
            mirrored: std::array::from_fn(|i| read(&self.mirrored[i])),
        }
    }
}

/// The copies of every service's requests as families of the exposition.
pub(super) fn families(recorder: &Recorder) -> [MetricFamily; 2] {
    let services = recorder.copies_by_service();
    let (mut retries, mut mirrored) = (Vec::new(), Vec::new());
    for (service, copies) in &services {
        let service = ("service", service.as_str());
        for (kind, count) in RETRY_KINDS.into_iter().zip(copies.retries) {
            retries.push(counter(&[service, ("kind", kind)], count));
        }
        for (class, count) in MIRROR_CLASSES.into_iter().zip(copies.mirrored) {
            mirrored.push(counter(&[service, ("class", class)], count));
        }
    }
    [
        family(
            "tidegate_retries_total",
            "Second attempts; `budget_exhausted` of those that the retry budget did not allow.",
            MetricType::COUNTER,
            retries,
        ),
        family(
            "tidegate_mirrored_requests_total",
            "Requests that were also sent to a green without weight, by what it made of them.",
            MetricType::COUNTER,
            mirrored,
        ),
    ]
}

/// The words in the order of [`Copies`].
const RETRY_KINDS: [&str; 3] = ["retry", "rescue", "budget_exhausted"];
const MIRROR_CLASSES: [&str; 8] =
    ["1xx", "2xx", "3xx", "4xx", "5xx", "error", "timeout", "dropped"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Side;
    use crate::telemetry::{Gauges, MeterKey, render};

    #[test]
    fn both_sides_of_a_service_are_one_series_for_each_kind() {
        let recorder = Recorder::default();
        let meter = |side, group: &str| recorder.register(&MeterKey::of("shop", side, group));
        let (blue, green) = (meter(Side::Blue, "a"), meter(Side::Green, "b"));
        recorder.retried(blue, RetryKind::Retry);
        recorder.retried(green, RetryKind::Retry);
        recorder.retried(green, RetryKind::Rescue);
        recorder.retried(green, RetryKind::BudgetExhausted);
        for outcome in [
            MirrorOutcome::Status(204),
            MirrorOutcome::Status(503),
            MirrorOutcome::Status(500),
            MirrorOutcome::Failed,
            MirrorOutcome::TimedOut,
            MirrorOutcome::Dropped,
        ] {
            recorder.mirrored(green, outcome);
        }
        let text = render(&recorder, &Gauges::default());
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        check(r#"tidegate_retries_total{service="shop",kind="retry"} 2"#);
        check(r#"tidegate_retries_total{service="shop",kind="rescue"} 1"#);
        check(r#"tidegate_retries_total{service="shop",kind="budget_exhausted"} 1"#);
        for (class, count) in
            [("1xx", 0), ("2xx", 1), ("5xx", 2), ("error", 1), ("timeout", 1), ("dropped", 1)]
        {
            let name = "tidegate_mirrored_requests_total";
            check(&format!("{name}{{service=\"shop\",class=\"{class}\"}} {count}"));
        }
        assert_eq!(recorder.side(&"shop".parse().expect("valid"), Side::Green).requests(), 0);
    }
}
