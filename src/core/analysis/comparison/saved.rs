//! What of a comparison has to survive a restart of the process.

use serde::{Deserialize, Serialize};

use super::cells::ENDPOINTS;
use super::cohort::Cohort;
use super::folded::Folded;
use super::latch::Latch;
use super::saved_units::SavedUnits;

/// A comparison as it is written down.
///
/// It is written *before* a rollback is acted on and every few seconds otherwise (D9). All numbers
/// are finite, so that any format can hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) folded: Folded,
    pub(super) latch: Latch,
    pub(super) absolute_from: [u64; 2],
    /// The sticky units that were counted; `None` if there are none, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) units: Option<SavedUnits>,
}

impl Saved {
    /// The last cohort in it; a resumed [`super::Calendar`] goes on after it. `None` if there was
    /// none.
    #[must_use]
    pub fn last(&self) -> Option<Cohort> {
        self.folded.cohort
    }

    /// The same with the sticky units that were counted up to now.
    #[must_use]
    pub fn with_units(self, units: Option<SavedUnits>) -> Self {
        Self { units, ..self }
    }

    /// The sticky units that were counted; `None` if there are none, or nobody knows.
    #[must_use]
    pub fn units(&self) -> Option<&SavedUnits> {
        self.units.as_ref()
    }

    /// Whether a comparison can go on from it: what was read from elsewhere may be anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let epoch = self.folded.cohort.map(|last| last.epoch);
        self.folded.standing.epoch() == epoch && self.folded.without.len() == ENDPOINTS
    }
}
