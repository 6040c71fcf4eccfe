//! What a rollout's requests came to on green, added up over restarts.

use serde::{Deserialize, Serialize};

use crate::core::analysis::Counts;

/// Counters of one rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that were given to green.
    pub green_requests: u64,
    /// Those that failed there.
    pub green_failed: u64,
    /// Those of them that no user saw: a second attempt was answered.
    #[serde(default)]
    pub rescued: u64,
}

impl Tally {
    /// Requests that failed on green and were seen by a user.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        self.green_failed.saturating_sub(self.rescued)
    }
}

/// A tally that goes on, with the last snapshot of green's meter.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) tally: Tally,
    last: Counts,
}

impl Running {
    /// Goes on from a tally; what the meter counted before is not the rollout's.
    pub(super) fn resume(tally: Tally, meter: Counts) -> Self {
        Self { tally, last: meter }
    }

    /// What the meter had counted at the last look.
    pub(super) fn counted(&self) -> &Counts {
        &self.last
    }

    /// Adds what happened since the last look.
    pub(super) fn add(&mut self, meter: Counts) {
        if meter.continues(&self.last) {
            self.tally.green_requests += meter.scored().saturating_sub(self.last.scored());
            self.tally.green_failed += meter.failed().saturating_sub(self.last.failed());
            self.tally.rescued += meter.rescued.saturating_sub(self.last.rescued);
        }
        self.last = meter;
    }
}
