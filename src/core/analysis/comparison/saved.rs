//! What of a comparison has to survive a restart of the process.

use serde::{Deserialize, Serialize};

use super::cells::ENDPOINTS;
use super::cohort::Cohort;
use super::folded::Folded;
use super::latch::Latch;

/// A comparison as it is written down.
///
/// It is written *before* a rollback is acted on and every few seconds otherwise (D9). All numbers
/// are finite, so that any format can hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) folded: Folded,
    pub(super) latch: Latch,
    pub(super) absolute_from: [u64; 2],
}

impl Saved {
    /// The last cohort in it; a resumed [`super::Calendar`] goes on after it. `None` if there was
    /// none.
    #[must_use]
    pub fn last(&self) -> Option<Cohort> {
        self.folded.cohort
    }

    /// Whether a comparison can go on from it: what was read from elsewhere may be anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let epoch = self.folded.cohort.map(|last| last.epoch);
        self.folded.standing.epoch() == epoch && self.folded.without.len() == ENDPOINTS
    }
}
