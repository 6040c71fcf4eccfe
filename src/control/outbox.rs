//! What waits to be saved: a bounded queue that one task works off, in order.
//!
//! The writer only ever pushes. While the store fails, saves of one rollout are folded into one,
//! so that an outage of any length takes bounded memory; nothing is dropped of the ledger before
//! the bound of a transaction is reached.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::core::model::RolloutId;
use crate::store::{Key, Store, StoreError, Transaction};

use super::Message;

/// What the store said.
#[derive(Debug)]
pub enum Stored {
    /// A rollout's save of this number, and all before it, is durable.
    Rollout {
        /// The rollout.
        id: RolloutId,
        /// The number of the save.
        seq: u64,
    },
    /// A change is durable.
    Change {
        /// Its number.
        id: u64,
    },
    /// A change was not made, and will not be.
    ChangeFailed {
        /// Its number.
        id: u64,
        /// Why.
        error: StoreError,
    },
    /// A rollout's save failed; it is tried again.
    Failing {
        /// The rollout; `None` for an entry of the ledger alone.
        id: Option<RolloutId>,
        /// Why.
        error: StoreError,
    },
}

/// What a queued transaction is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Saves a rollout; must not be lost.
    Rollout { id: RolloutId, seq: u64 },
    /// A change whose author waits; fails with the first error.
    Change { id: u64 },
    /// Entries of the ledger that nobody waits for; must not be lost.
    Note,
}

#[derive(Debug)]
struct Job {
    purpose: Purpose,
    transaction: Transaction,
}

/// The queue; cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Arc<Mutex<VecDeque<Job>>>,
    wake: Arc<Notify>,
    /// Closed when there is no store to save to.
    open: bool,
}

/// The most transactions that wait.
const LIMIT: usize = 1_024;
/// The most ledger entries that one transaction collects.
const ENTRIES: usize = Transaction::ITEM_LIMIT;
/// The wait after a failure, doubled with each up to the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

impl Outbox {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self { queue: Arc::default(), wake: Arc::default(), open: true }
    }

    /// A queue that takes nothing: the store cannot be read, and is left untouched.
    #[must_use]
    pub fn closed() -> Self {
        Self { open: false, ..Self::new() }
    }

    /// Queues a transaction; gives whether there was room.
    pub(super) fn push(&self, purpose: Purpose, transaction: Transaction) -> bool {
        if !self.open {
            return false;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // The first may be under way: only what waits behind it can be folded into.
        let waiting = queue.len() > 1;
        if let Some(last) = queue.back_mut().filter(|_| waiting)
            && last.takes(&purpose, &transaction)
        {
            last.fold(purpose, transaction);
        } else if queue.len() < LIMIT {
            queue.push_back(Job { purpose, transaction });
        } else {
            tracing::error!(?purpose, "the queue to the store is full: dropped");
            return false;
        }
        drop(queue);
        self.wake.notify_one();
        true
    }

    /// Works the queue off until the writer is gone.
    pub async fn run(self, store: Arc<dyn Store>, answers: mpsc::Sender<Message>) {
        let mut wait = BACKOFF.0;
        loop {
            let Some((purpose, transaction)) = self.first() else {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = answers.closed() => return,
                }
                continue;
            };
            let stored = match (store.commit(transaction).await, purpose) {
                (Ok(_), purpose) => {
                    self.remove_first();
                    wait = BACKOFF.0;
                    match purpose {
                        Purpose::Rollout { id, seq } => Stored::Rollout { id, seq },
                        Purpose::Change { id } => Stored::Change { id },
                        Purpose::Note => continue,
                    }
                }
                (Err(error), Purpose::Change { id }) => {
                    self.remove_first();
                    Stored::ChangeFailed { id, error }
                }
                (Err(error), Purpose::Rollout { id, .. }) => {
                    Stored::Failing { id: Some(id), error }
                }
                (Err(error), Purpose::Note) => Stored::Failing { id: None, error },
            };
            let failing = matches!(stored, Stored::Failing { .. });
            if answers.send(Message::Stored(stored)).await.is_err() {
                return;
            }
            if failing {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn first(&self) -> Option<(Purpose, Transaction)> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.front().map(|job| (job.purpose.clone(), job.transaction.clone()))
    }

    fn remove_first(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Job {
    fn takes(&self, purpose: &Purpose, transaction: &Transaction) -> bool {
        let room = self.transaction.entries.len() + transaction.entries.len() <= ENTRIES;
        let same = match (&self.purpose, purpose) {
            (Purpose::Rollout { id: a, .. }, Purpose::Rollout { id: b, .. }) => a == b,
            (Purpose::Note, Purpose::Note) => true,
            (Purpose::Rollout { .. } | Purpose::Change { .. } | Purpose::Note, _) => false,
        };
        same && room
    }

    fn fold(&mut self, purpose: Purpose, transaction: Transaction) {
        let newer: Vec<Key> = transaction.puts.iter().map(|(key, _)| key.clone()).collect();
        self.purpose = purpose;
        self.transaction.puts.retain(|(key, _)| !newer.contains(key));
        self.transaction.puts.extend(transaction.puts);
        self.transaction.deletes.extend(transaction.deletes);
        self.transaction.entries.extend(transaction.entries);
    }
}
