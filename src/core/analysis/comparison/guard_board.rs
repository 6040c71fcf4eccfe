//! What the cluster guard knows of each target of green, kept by many threads at once.
//!
//! Targets that share a place (see [`ENDPOINTS`]) share what is known. Then a failure of one may be
//! spared for an answer of the other, which, as all that the guard does, only lowers the evidence.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::model::MonoTime;

use super::cells::ENDPOINTS;
use super::guard::ClusterGuard;

/// The guard of every target, on cache lines of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct GuardBoard {
    guard: ClusterGuard,
    places: [Place; ENDPOINTS],
}

/// Two moments in milliseconds and one more; 0 is never.
#[derive(Debug, Default)]
struct Place {
    counted: AtomicU64,
    good: AtomicU64,
}

impl GuardBoard {
    pub(super) fn new(guard: ClusterGuard) -> Self {
        Self { guard, places: Default::default() }
    }

    /// Takes what a target made of a request; whether that is a failure which the guard spares. Of
    /// several failures at the same moment one is counted and the others are spared.
    pub(super) fn spares(&self, endpoint: usize, failed: bool, now: MonoTime) -> bool {
        let place = &self.places[endpoint % ENDPOINTS];
        let stamp = now.ms() + 1;
        if !failed {
            // Written once a millisecond at most.
            if place.good.load(Ordering::Relaxed) < stamp {
                place.good.fetch_max(stamp, Ordering::AcqRel);
            }
            return false;
        }
        let good = moment(place.good.load(Ordering::Acquire));
        let spares = |counted| self.guard.spares(now, moment(counted), good);
        // Of several at once the first one finds what was there before it, and the others find it.
        spares(place.counted.load(Ordering::Acquire))
            || spares(place.counted.fetch_max(stamp, Ordering::AcqRel))
    }
}

fn moment(stamp: u64) -> Option<MonoTime> {
    stamp.checked_sub(1).map(MonoTime::from_ms)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::core::model::Span;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    #[test]
    fn b7_a_target_that_answered_well_counts_one_failure_per_guard() {
        let board = GuardBoard::new(ClusterGuard::default());
        assert!(!board.spares(3, true, at(0)), "it never answered well");
        assert!(!board.spares(3, true, at(1)));
        assert!(!board.spares(3, false, at(10)));
        assert!(board.spares(3, true, at(11)));
        assert!(!board.spares(4, true, at(11)), "another target");
        assert!(!board.spares(3, false, at(1_000)));
        assert!(board.spares(3, true, at(1_000)));
        assert!(!board.spares(3, true, at(1_001)), "one a second counts");
        assert!(board.spares(3 + ENDPOINTS, true, at(1_500)), "they share a place");
        assert!(!board.spares(3, true, at(2_001)), "it died a while ago");
        let off = GuardBoard::new(ClusterGuard::new(Span::ZERO));
        assert!(!off.spares(0, false, at(5)) && !off.spares(0, true, at(5)));
        assert!(!off.spares(0, true, at(5)));
    }

    #[test]
    fn b7_of_failures_at_the_same_moment_one_counts() {
        let board = GuardBoard::new(ClusterGuard::default());
        board.spares(0, false, at(500));
        let counted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if !board.spares(0, true, at(600)) {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counted.into_inner(), 1);
    }
}
