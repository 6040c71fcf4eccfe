//! Mirroring: requests that blue answers and green sees, before green has any weight.

use serde::{Deserialize, Serialize};

use super::{Span, Weight};

/// Which requests are sent to green a second time, and what that may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorPolicy {
    /// The share of the requests without effect and body.
    pub share: Weight,
    /// Until green's answer is there as a whole.
    pub timeout: Span,
    /// The most mirrored requests under way at once.
    pub concurrency: u32,
}
