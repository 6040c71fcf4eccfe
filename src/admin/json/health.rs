//! Whether the process lives, and is ready.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether it takes traffic with knowledge of its targets.
    pub status: Readiness,
    /// How the store is.
    pub store: StoreHealth,
}

/// Whether every target was probed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// Yes.
    Ready,
    /// It was, but nothing is decided any more: restart the process. Traffic flows.
    Stuck,
}

/// How the store is. Traffic flows in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreHealth {
    /// It saves.
    Good,
    /// It does not save at present.
    Failing,
    /// It could not be read at the start: nothing can be changed.
    Unreadable,
}
