//! What of a comparison has to survive a restart of the process.

use serde::{Deserialize, Serialize};

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
}
