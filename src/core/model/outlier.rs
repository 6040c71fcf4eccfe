//! Outlier ejection as it is configured.

use serde::{Deserialize, Serialize};

use super::{Span, Weight};

/// When a target's answers take it out of its group, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlierSpec {
    /// How many failures in a row eject a target.
    pub consecutive_failures: u32,
    /// How often success rates are compared, and how long a target stays in before one of its
    /// ejections is forgotten.
    pub interval: Span,
    /// How long the first ejection lasts; the second lasts twice as long, and so on.
    pub base: Span,
    /// The longest ejection.
    pub max: Span,
    /// The largest share of a group's targets that is out at a time.
    pub max_ejected: Weight,
    /// Whether a success rate far below that of the others ejects, too.
    pub success_rate: bool,
}

impl Default for OutlierSpec {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            interval: Span::from_secs(10),
            base: Span::from_secs(30),
            max: Span::from_mins(5),
            max_ejected: Weight::from_bp(5_000).expect("5000 basis points are a weight"),
            success_rate: false,
        }
    }
}
