//! What can go wrong with a store, as facts that a caller can act upon.

use std::path::PathBuf;

use super::{Expect, Key};

/// Why a store did not do what it was asked. Nothing was changed, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record was not as expected.
    #[error("{key} was expected to be {expected}, found {}", Expect::from_found(*.found))]
    Conflict {
        /// Which record.
        key: Key,
        /// What was expected of it.
        expected: Expect,
        /// Its version; `None` if there is no such record.
        found: Option<u64>,
    },
    /// A transaction asks for more than a store takes at once.
    #[error("a transaction has at most {limit} {what}, this one has {found}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
        /// How much there is.
        found: usize,
    },
    /// Another process has the store open.
    #[error("store {} is held by another process", path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// A newer release has written the store; it was left as it is.
    #[error(
        "store {} has schema {found}, this release knows up to {supported}; it was left as it is",
        path.display()
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its schema number.
        found: u32,
        /// The highest number that this release can read.
        supported: u32,
    },
    /// The store's file is damaged, or is not a store; it was left as it is.
    #[error("store {} cannot be trusted: {what}", path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no space left; it works again by itself once there is.
    #[error("no space is left for the store")]
    Full,
    /// Reading or writing failed. A commit that ends so may yet turn out to have been made: read
    /// the store again before deciding anything.
    #[error("store {}: {what}", path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// The store does not answer. What was asked may or may not have been done.
    #[error("the store is unavailable")]
    Unavailable,
}
