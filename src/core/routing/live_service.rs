//! What a service keeps while tables come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::core::model::RetryPolicy;

use super::{BlueLatencies, RetryBudget};

/// The state of one service, shared by every table that has it.
#[derive(Debug)]
pub struct LiveService {
    /// What its requests put in for second attempts.
    pub retries: RetryBudget,
    mirrored: AtomicU32,
    /// How long blue takes, whether there is a rollout or not.
    pub latencies: BlueLatencies,
}

impl LiveService {
    /// The state of a service that is new.
    #[must_use]
    pub fn new(min_per_second: u32) -> Self {
        Self {
            retries: RetryBudget::new(min_per_second),
            mirrored: AtomicU32::new(0),
            latencies: BlueLatencies::default(),
        }
    }

    /// A place for a mirrored request; `None` if so many are under way.
    #[must_use]
    pub fn mirror(self: &Arc<Self>, most: u32) -> Option<MirrorPlace> {
        // Taken before the look: of two that come at once, both may be refused, never both let in.
        let place = MirrorPlace(Arc::clone(self));
        let before = self.mirrored.fetch_add(1, Ordering::AcqRel);
        (before < most).then_some(place)
    }
}

impl Default for LiveService {
    fn default() -> Self {
        Self::new(RetryPolicy::default().min_per_second)
    }
}

/// A mirrored request under way, counted until this is dropped.
#[derive(Debug)]
pub struct MirrorPlace(Arc<LiveService>);

impl Drop for MirrorPlace {
    fn drop(&mut self) {
        self.0.mirrored.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_mirrored_requests_are_under_way() {
        let service = Arc::new(LiveService::default());
        let (first, second) = (service.mirror(2), service.mirror(2));
        assert!(first.is_some() && second.is_some());
        assert!(service.mirror(2).is_none());
        drop(first);
        assert!(service.mirror(2).is_some(), "the refused one holds no place");
        drop(second);
        assert!(service.mirror(0).is_none());
    }
}
