//! Asking for a page of the ledger.

use crate::core::model::{RolloutId, ServiceName};

/// Which entries of the ledger are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerQuery {
    /// The last entry of the page before, whichever way the pages go; 0 for the first page.
    pub after_seq: u64,
    /// The most entries to give; [`Self::LIMIT`] at most.
    pub limit: usize,
    /// Only what is about this service; `None` for all.
    pub service: Option<ServiceName>,
    /// Only what is about this rollout; `None` for all.
    pub rollout: Option<RolloutId>,
    /// Whether the pages go from the newest entry to the oldest.
    pub newest_first: bool,
}

impl LedgerQuery {
    /// The longest page.
    pub const LIMIT: usize = 1_000;

    /// How many entries a page has at most.
    #[must_use]
    pub fn page_length(&self) -> usize {
        self.limit.min(Self::LIMIT)
    }
}

impl Default for LedgerQuery {
    /// The first page of everything, oldest first.
    fn default() -> Self {
        Self { after_seq: 0, limit: Self::LIMIT, service: None, rollout: None, newest_first: false }
    }
}
