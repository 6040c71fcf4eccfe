//! The store: what must survive a restart.
//!
//! A store holds versioned records and the ledger. A [`Transaction`] compares several records with
//! what its author last saw, changes several, and appends to the ledger: all of it or nothing, and
//! durable once acknowledged. Every commit that writes records takes the next *revision*, which
//! becomes the version of each record that it wrote and never comes twice: a record that was
//! removed and made anew is not mistaken for the old one.
//!
//! The contract is one suite of tests (`contract.rs`) that runs over every engine. A store never
//! blocks the thread that calls it, decides nothing, and reads no clock.

mod error;
mod evidence_folder;
mod evidence_log;
mod faulty;
mod feed;
mod key;
mod memory;
mod replacement;
mod sqlite;
mod table_file;
mod transaction;

#[cfg(test)]
mod contract;

use std::fmt;

use async_trait::async_trait;

use crate::core::ledger::Entry;

pub use crate::core::ledger::LedgerQuery;
pub use error::StoreError;
pub use evidence_folder::EvidenceFolder;
pub use evidence_log::EvidenceLog;
pub use faulty::Faulty;
pub use feed::{Change, Watch, WatchError};
pub use key::{Key, KeyError};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub use table_file::{ServiceImage, TableFile, TableFileError, TableImage};
pub use transaction::{Committed, Expect, Transaction};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is found by.
    pub key: Key,
    /// Its contents, JSON text.
    pub value: String,
    /// The revision of its last write.
    pub version: u64,
}

/// All records as they were at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision; where to watch from.
    pub revision: u64,
    /// The records, ordered by key.
    pub records: Vec<Record>,
}

/// Versioned records with compare-and-set on several keys, a ledger, and an ordered watch.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads all records.
    ///
    /// # Errors
    /// The store cannot be read or trusted.
    async fn load(&self) -> Result<Snapshot, StoreError>;

    /// Makes a change whole or not at all; durable when this returns. A caller that stops waiting
    /// does not undo it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if an expectation does not hold; else what kept it from being made.
    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError>;

    /// Reads a page of the ledger.
    ///
    /// # Errors
    /// The store cannot be read or trusted.
    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<Entry>, StoreError>;

    /// Follows every change of a record after a revision, in order, from the snapshot that was
    /// loaded.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn watch(&self, after_revision: u64) -> Result<Watch, StoreError>;
}
