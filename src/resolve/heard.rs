//! Lists that files gave, numbered in the order in which they were heard.
//!
//! Whoever reads the files too, as a reload does, cannot tell by a list alone which of two is the
//! younger one. It notes the number of the last list before it reads: what has a higher number was
//! heard since then, and what has not is older than what it read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::model::Target;

/// The number of a list; the first list has 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListNumber(u64);

/// A list that a file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardList {
    /// Its number among the lists of all files.
    pub number: ListNumber,
    /// The targets.
    pub targets: Vec<Target>,
}

/// How many lists were heard so far; cheap to clone, and all clones count the same.
#[derive(Clone, Debug, Default)]
pub struct ListCount(Arc<AtomicU64>);

impl ListCount {
    /// The number of the last list; less than any list's if none was heard.
    #[must_use]
    pub fn last(&self) -> ListNumber {
        ListNumber(self.0.load(Ordering::SeqCst))
    }

    /// Counts one more, and gives its number.
    pub(crate) fn count(&self) -> ListNumber {
        ListNumber(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}
