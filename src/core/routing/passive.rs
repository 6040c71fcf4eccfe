//! What requests make of a target: counted by the proxy, judged by the writer.
//!
//! The proxy adds to counters; the writer looks at them several times a second and sets what
//! requests go by. Neither waits for the other.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::core::model::{TargetHealth, Weight};

use super::LiveTarget;

/// The passive part of a target's live state.
#[derive(Debug)]
pub(super) struct Passive {
    successes: AtomicU64,
    failures: AtomicU64,
    consecutive: AtomicU32,
    ejected: AtomicBool,
    share_bp: AtomicU16,
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            consecutive: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            share_bp: AtomicU16::new(Weight::FULL.bp()),
        }
    }
}

impl LiveTarget {
    /// Counts a request that the target answered well.
    pub fn count_success(&self) {
        self.passive.successes.fetch_add(1, Ordering::Relaxed);
        self.passive.consecutive.store(0, Ordering::Relaxed);
    }

    /// Counts a request that the target failed: answered 5xx, late, in part, or not at all.
    pub fn count_failure(&self) {
        self.passive.failures.fetch_add(1, Ordering::Relaxed);
        self.passive.consecutive.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that it answered well since it was registered.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.passive.successes.load(Ordering::Relaxed)
    }

    /// Requests that it failed since it was registered.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.passive.failures.load(Ordering::Relaxed)
    }

    /// Failures since the last success, or since it came back from an ejection.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.passive.consecutive.load(Ordering::Relaxed)
    }

    /// Whether it is ejected for what it made of its requests.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.passive.ejected.load(Ordering::Relaxed)
    }

    /// Takes it out of its group; the next request sees it.
    pub fn eject(&self) {
        self.passive.ejected.store(true, Ordering::Relaxed);
    }

    /// Takes it back; its failures in a row are counted from 0 again.
    pub fn readmit(&self) {
        self.passive.consecutive.store(0, Ordering::Relaxed);
        self.passive.ejected.store(false, Ordering::Relaxed);
    }

    /// Whether it may be given requests: healthy by its checks, and not ejected.
    #[must_use]
    pub fn is_able(&self) -> bool {
        self.health() == TargetHealth::Healthy && !self.is_ejected()
    }

    /// Whether its checks have not decided yet, and nothing else speaks against it.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.health() == TargetHealth::Unknown && !self.is_ejected()
    }

    /// Whether it may be given requests as far as anybody knows: it is able, or unchecked.
    pub(super) fn may_serve(&self) -> bool {
        self.is_able() || self.is_unchecked()
    }

    /// How much of its part of the traffic it takes, in basis points; less than the whole while it
    /// starts slowly.
    #[must_use]
    pub fn share_bp(&self) -> u16 {
        self.passive.share_bp.load(Ordering::Relaxed)
    }

    /// Whether it may be given requests and has not grown into its share yet.
    #[must_use]
    pub fn is_warming(&self) -> bool {
        self.may_serve() && self.share_bp() < Weight::FULL.bp()
    }

    /// Sets how much of its part of the traffic it takes.
    pub fn set_share(&self, share: Weight) {
        self.passive.share_bp.store(share.bp(), Ordering::Relaxed);
    }
}
