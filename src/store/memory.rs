//! The store in memory, for tests and simulation: the same contract, and nothing survives it.
//!
//! It keeps every record and the whole ledger; it is not for a process that runs for long.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use super::feed::Feed;
use super::transaction::writes;
use super::{
    Change, Committed, Key, LedgerQuery, Record, Snapshot, Store, StoreError, Transaction, Watch,
};
use crate::core::ledger::{Entry, Head};

/// A store that lives as long as its process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    feed: Feed,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), feed: Feed::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        let state = self.lock();
        let record = |(key, kept): (&Key, &Kept)| Record {
            key: key.clone(),
            value: kept.value.clone(),
            version: kept.version,
        };
        Ok(Snapshot {
            revision: state.revision,
            records: state.records.iter().map(record).collect(),
        })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        transaction.check_size()?;
        let mut state = self.lock();
        let (committed, changes) = state.commit(transaction)?;
        // Still under the lock, so that changes are published in the order of the commits.
        self.feed.publish(changes);
        Ok(committed)
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<Entry>, StoreError> {
        let state = self.lock();
        let wanted = |entry: &&Entry| {
            query.service.as_ref().is_none_or(|service| entry.service.as_ref() == Some(service))
                && query
                    .rollout
                    .as_ref()
                    .is_none_or(|rollout| entry.rollout.as_ref() == Some(rollout))
        };
        let (after, length) = (query.after_seq, query.page_length());
        let entries = state.entries.iter();
        Ok(if query.newest_first {
            let older = entries.rev().filter(|entry| after == 0 || entry.seq < after);
            older.filter(wanted).take(length).cloned().collect()
        } else {
            entries.filter(|entry| entry.seq > after).filter(wanted).take(length).cloned().collect()
        })
    }

    async fn watch(&self, after_revision: u64) -> Result<Watch, StoreError> {
        Ok(self.feed.watch(after_revision))
    }
}

#[derive(Debug)]
struct Kept {
    value: String,
    version: u64,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    records: BTreeMap<Key, Kept>,
    entries: Vec<Entry>,
}

impl State {
    fn commit(&mut self, transaction: Transaction) -> Result<(Committed, Vec<Change>), StoreError> {
        let Transaction { expect, puts, deletes, entries } = transaction;
        for (key, expected) in expect {
            let found = self.records.get(&key).map(|kept| kept.version);
            if !expected.holds(found) {
                return Err(StoreError::Conflict { key, expected, found });
            }
        }
        let writes = writes(puts, deletes);
        self.revision += u64::from(!writes.is_empty());
        let changes = writes.into_iter().map(|(key, value)| self.write(key, value)).collect();
        for draft in entries {
            let entry = draft.seal(self.head());
            self.entries.push(entry);
        }
        Ok((Committed { revision: self.revision, last_seq: self.head().seq }, changes))
    }

    fn write(&mut self, key: Key, value: Option<String>) -> Change {
        match &value {
            Some(text) => {
                let kept = Kept { value: text.clone(), version: self.revision };
                self.records.insert(key.clone(), kept);
            }
            None => {
                self.records.remove(&key);
            }
        }
        Change { revision: self.revision, key, value }
    }

    fn head(&self) -> Head {
        self.entries.last().map_or(Head::GENESIS, Entry::head)
    }
}
