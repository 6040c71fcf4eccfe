//! What a reload did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The routing table's generation afterwards.
    pub generation: u64,
    /// What of the file does not count, and why.
    pub ignored: Vec<String>,
}
