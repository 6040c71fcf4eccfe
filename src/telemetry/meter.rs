//! One meter: the atomics behind a side of a service.
//!
//! A request costs an increment of how it ended, and two more for its latency; on green one when it
//! begins, too. What is derived from two of them is never more than it was: a rescue is counted
//! before the failure that it belongs to, and whoever sees an end sees the beginning.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::analysis::{BUCKETS, Counts, bucket_of};

use super::copies::CopyCounts;
use super::{Outcome, OutcomeKind};

/// Counts requests; on cache lines of its own, so that blue and green do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Meter {
    by_class: [AtomicU64; 5],
    connect_errors: AtomicU64,
    timeouts: AtomicU64,
    broken: AtomicU64,
    client_gone: AtomicU64,
    rescued: AtomicU64,
    latency_sum_us: AtomicU64,
    latency: [AtomicU64; BUCKETS],
    pub(super) copies: CopyCounts,
    late_failures: AtomicU64,
    begun: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            by_class: [const { AtomicU64::new(0) }; 5],
            connect_errors: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            client_gone: AtomicU64::new(0),
            rescued: AtomicU64::new(0),
            latency_sum_us: AtomicU64::new(0),
            latency: [const { AtomicU64::new(0) }; BUCKETS],
            copies: CopyCounts::default(),
            late_failures: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// Counts a request that begins.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, outcome: Outcome) {
        let (ended, timed) = match outcome.kind {
            OutcomeKind::Status(status) => (&self.by_class[class_of(status)], true),
            OutcomeKind::Timeout => (&self.timeouts, true),
            OutcomeKind::ConnectError => (&self.connect_errors, false),
            OutcomeKind::BrokenAnswer => (&self.broken, false),
            OutcomeKind::ClientGone => (&self.client_gone, false),
        };
        if outcome.rescued {
            self.rescued.fetch_add(1, Ordering::Relaxed);
        }
        ended.fetch_add(1, Ordering::Release);
        if timed {
            self.latency_sum_us.fetch_add(outcome.latency_us, Ordering::Relaxed);
            self.latency[bucket_of(outcome.latency_us)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a failure after the headers of an answer; the request is counted as well.
    pub(super) fn count_late_failure(&self) {
        self.late_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn late_failures(&self) -> u64 {
        read(&self.late_failures)
    }

    /// All requests, without reading the histogram.
    pub(super) fn requests(&self) -> u64 {
        let others = [&self.connect_errors, &self.timeouts, &self.broken, &self.client_gone];
        self.by_class.iter().chain(others).map(read).sum()
    }

    pub(super) fn snapshot(&self) -> Counts {
        // How requests ended is read first, what was counted before that after it.
        let ended = Counts {
            by_class: std::array::from_fn(|i| read_end(&self.by_class[i])),
            connect_errors: read_end(&self.connect_errors),
            timeouts: read_end(&self.timeouts),
            broken: read_end(&self.broken),
            client_gone: read_end(&self.client_gone),
            ..Counts::default()
        };
        Counts {
            rescued: read(&self.rescued),
            latency_sum_us: read(&self.latency_sum_us),
            latency: std::array::from_fn(|i| read(&self.latency[i])),
            begun: read(&self.begun).max(ended.requests()),
            ..ended
        }
    }
}

/// A count of ends; with it comes what was counted before each of them.
fn read_end(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The index of a status' class; what is no status counts as 5xx (RFC 9110, section 15).
pub(super) fn class_of(status: u16) -> usize {
    match status {
        100..=199 => 0,
        200..=299 => 1,
        300..=399 => 2,
        400..=499 => 3,
        _ => 4,
    }
}
