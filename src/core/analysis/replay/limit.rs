//! How large a log may become.

use crate::core::model::Span;

/// The sizes of one rollout's log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Up to here every evaluation is kept; from here on one a second, which is approximate.
    pub exact: u64,
    /// Up to here anything is kept.
    pub most: u64,
}

impl Limit {
    /// The distance of evaluations beyond the exact part.
    pub const THINNED: Span = Span::from_secs(1);
    /// The most bytes of any log: 64 MiB.
    pub const MOST: u64 = 64 << 20;
}

impl Default for Limit {
    /// 48 MiB exactly, and 16 MiB of what comes after.
    fn default() -> Self {
        Self { exact: 48 << 20, most: Self::MOST }
    }
}
