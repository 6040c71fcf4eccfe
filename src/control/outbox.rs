//! What waits to be saved: a bounded queue that one task works off, in order.
//!
//! The writer only ever pushes. Two kinds of things wait. A *change* has an author who waits for it:
//! it fails with the first error, also with one of what stands before it, so that nobody is left
//! hanging in an outage. What was done or decided already *must not be lost*: it is tried again
//! until the store takes it, and while it waits it is collected into batches, so that an outage of
//! any length takes bounded memory. Only when every batch is full are entries of the ledger left
//! out, and then an entry says how many; records never are, because the newest of each replaces
//! the one before.
//!
//! A batch whose answer was lost is saved again: its records are the same, its entries appear twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::core::model::{RolloutId, WallTime};
use crate::core::rollout::Actor;
use crate::store::{Store, StoreError, Transaction};

use super::Message;
use super::draft::{About, EntryKind, entry};

/// What the store said.
#[derive(Debug)]
pub enum Stored {
    /// What must not be lost is durable.
    Kept {
        /// The rollouts in it, each with the number of its last save.
        rollouts: BTreeMap<RolloutId, u64>,
    },
    /// A change is durable.
    Change {
        /// Its number.
        id: u64,
    },
    /// A change was tried and failed.
    ChangeFailed {
        /// Its number.
        id: u64,
        /// Why.
        error: StoreError,
    },
    /// A change was not tried, because the store failed with what stood before it.
    ChangeSkipped {
        /// Its number.
        id: u64,
        /// Why.
        error: StoreError,
    },
    /// What must not be lost was not saved; it is tried again.
    Failing {
        /// The rollouts in it.
        rollouts: Vec<RolloutId>,
        /// Why.
        error: StoreError,
    },
}

/// The queue; cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Arc<Mutex<VecDeque<Job>>>,
    wake: Arc<Notify>,
    /// Closed when there is no store to save to.
    open: bool,
}

#[derive(Clone, Debug)]
enum Job {
    /// What must not be lost.
    Batch(Batch),
    /// A change whose author waits.
    Change { id: u64, transaction: Transaction },
}

/// Several savings as one transaction.
#[derive(Clone, Debug, Default)]
struct Batch {
    rollouts: BTreeMap<RolloutId, u64>,
    transaction: Transaction,
    /// How many entries were left out, and when the last of them happened; `None` if none was.
    lost: Option<(usize, WallTime)>,
}

/// The most jobs that wait; one batch more is let in.
const LIMIT: usize = 256;
/// The most ledger entries of a batch, as long as there is room for another batch.
const ENTRIES: usize = 1_024;
/// The most bytes of a batch of several.
const BYTES: usize = 1 << 20;
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

    /// Queues what must not be lost: a rollout's save with its number, or records and entries of
    /// something else.
    pub(super) fn keep(&self, save: Option<(RolloutId, u64)>, transaction: Transaction) {
        if !self.open {
            return;
        }
        let mut queue = self.lock();
        // The first may be under way: only what waits behind it can be added to.
        let (waiting, full) = (queue.len() > 1, queue.len() >= LIMIT);
        match queue.back_mut() {
            Some(Job::Batch(batch)) if waiting && (full || batch.has_room(&transaction)) => {
                batch.add(save, transaction);
            }
            Some(Job::Batch(_) | Job::Change { .. }) | None => {
                let mut batch = Batch::default();
                batch.add(save, transaction);
                queue.push_back(Job::Batch(batch));
            }
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Queues a change whose author waits; gives whether there was room.
    pub(super) fn ask(&self, id: u64, transaction: Transaction) -> bool {
        let mut queue = self.lock();
        if !self.open || queue.len() >= LIMIT {
            return false;
        }
        queue.push_back(Job::Change { id, transaction });
        drop(queue);
        self.wake.notify_one();
        true
    }

    /// Works the queue off until the writer is gone and nothing waits.
    pub async fn run(self, store: Arc<dyn Store>, answers: mpsc::Sender<Message>) {
        let mut wait = BACKOFF.0;
        loop {
            match self.first() {
                None if answers.is_closed() => return,
                None => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = answers.closed() => {}
                    }
                }
                Some(Job::Change { id, transaction }) => {
                    let stored = match store.commit(transaction).await {
                        Ok(_) => Stored::Change { id },
                        Err(error) => Stored::ChangeFailed { id, error },
                    };
                    self.remove_first();
                    tell(&answers, stored).await;
                }
                Some(Job::Batch(batch)) => match store.commit(batch.transaction()).await {
                    Ok(_) => {
                        self.remove_first();
                        wait = BACKOFF.0;
                        tell(&answers, Stored::Kept { rollouts: batch.rollouts }).await;
                    }
                    Err(error) => {
                        for id in self.take_changes() {
                            let error = error.clone();
                            tell(&answers, Stored::ChangeSkipped { id, error }).await;
                        }
                        let rollouts = batch.rollouts.into_keys().collect();
                        tell(&answers, Stored::Failing { rollouts, error }).await;
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(BACKOFF.1);
                    }
                },
            }
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn first(&self) -> Option<Job> {
        self.lock().front().cloned()
    }

    fn remove_first(&self) {
        self.lock().pop_front();
    }

    /// Takes every change out of the queue.
    fn take_changes(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        self.lock().retain(|job| match job {
            Job::Batch(_) => true,
            Job::Change { id, .. } => {
                ids.push(*id);
                false
            }
        });
        ids
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    fn has_room(&self, transaction: &Transaction) -> bool {
        let entries = self.transaction.entries.len() + transaction.entries.len();
        entries <= ENTRIES && bytes(&self.transaction) + bytes(transaction) <= BYTES
    }

    /// Adds a later saving: what it says of a record replaces what was said before.
    fn add(&mut self, save: Option<(RolloutId, u64)>, later: Transaction) {
        self.rollouts.extend(save);
        let all = &mut self.transaction;
        all.puts.retain(|(key, _)| !later.puts.iter().any(|(put, _)| put == key));
        all.deletes.retain(|key| !later.puts.iter().any(|(put, _)| put == key));
        all.puts.extend(later.puts);
        all.deletes.extend(later.deletes);
        let mut entries = later.entries;
        // One place is left for the entry that says how many are missing.
        let room = (Transaction::ITEM_LIMIT - 1).saturating_sub(all.entries.len());
        let lost = entries.split_off(room.min(entries.len()));
        all.entries.extend(entries);
        if let Some(last) = lost.last() {
            let before = self.lost.map_or(0, |(count, _)| count);
            if before == 0 {
                tracing::error!("the queue to the store is full: entries of the ledger are lost");
            }
            self.lost = Some((before + lost.len(), last.at));
        }
    }

    fn transaction(&self) -> Transaction {
        let mut transaction = self.transaction.clone();
        transaction.entries.extend(self.lost.map(|(count, at)| {
            let detail = serde_json::json!({ "count": count });
            let by = Actor::tidegate();
            entry(EntryKind::EntriesLost, About::default(), &detail, (&by, None), at)
        }));
        transaction
    }
}

fn bytes(transaction: &Transaction) -> usize {
    let puts = transaction.puts.iter().map(|(_, value)| value.len());
    puts.chain(transaction.entries.iter().map(|draft| draft.detail.len())).sum()
}

/// Tells the writer; one that is gone needs no answer.
async fn tell(answers: &mpsc::Sender<Message>, stored: Stored) {
    let _ = answers.send(Message::Stored(stored)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::record::key;
    use crate::core::ledger::Chain;
    use crate::store::{Faulty, LedgerQuery, MemoryStore};

    fn saving(text: &str) -> Transaction {
        let detail = serde_json::json!({ "text": text });
        let by = Actor::tidegate();
        let at = WallTime::from_ms(1);
        Transaction {
            puts: vec![(key("service", "shop"), text.to_owned())],
            entries: vec![entry(EntryKind::SplitSet, About::default(), &detail, (&by, None), at)],
            ..Transaction::default()
        }
    }

    fn rollout(draw: u64) -> RolloutId {
        RolloutId::from_draw(draw)
    }

    /// A running outbox over a store that fails from the beginning.
    struct Rig {
        store: Arc<Faulty<MemoryStore>>,
        outbox: Outbox,
        answers: mpsc::Receiver<Message>,
    }

    impl Rig {
        fn failing() -> Self {
            let store = Arc::new(Faulty::new(MemoryStore::new()));
            store.fail(StoreError::Full);
            let outbox = Outbox::new();
            let (inbox, answers) = mpsc::channel(4_096);
            tokio::spawn(outbox.clone().run(Arc::clone(&store) as Arc<dyn Store>, inbox));
            Self { store, outbox, answers }
        }

        async fn next(&mut self) -> Stored {
            let next = tokio::time::timeout(Duration::from_secs(10), self.answers.recv());
            match next.await.expect("in time").expect("it runs") {
                Message::Stored(stored) => stored,
                Message::Request { .. } | Message::Gate { .. } | Message::Shutdown(_) => {
                    panic!("the outbox tells what the store said")
                }
            }
        }

        async fn details(&self) -> Vec<String> {
            let query = LedgerQuery::default();
            let entries = self.store.inner().ledger(query).await.expect("read");
            let mut chain = Chain::new();
            entries.iter().for_each(|entry| chain.append(entry).expect("whole"));
            entries.into_iter().map(|entry| entry.detail).collect()
        }
    }

    #[tokio::test]
    async fn what_waits_through_an_outage_is_saved_whole_and_in_order() {
        let mut rig = Rig::failing();
        for number in 0..200 {
            let save = (rollout(number % 3), number);
            rig.outbox.keep(Some(save), saving(&number.to_string()));
        }
        let jobs = rig.outbox.lock().len();
        assert!(jobs <= 3, "{jobs} jobs for what fits one batch");
        assert!(matches!(rig.next().await, Stored::Failing { .. }));
        rig.store.release();
        let mut kept = BTreeMap::new();
        while kept.get(&rollout(199 % 3)) != Some(&199) {
            if let Stored::Kept { rollouts } = rig.next().await {
                kept.extend(rollouts);
            }
        }
        assert_eq!(
            kept.into_values().collect::<std::collections::BTreeSet<_>>(),
            [197, 198, 199].into()
        );
        let expected: Vec<String> = (0..200).map(|n| format!("{{\"text\":\"{n}\"}}")).collect();
        assert_eq!(rig.details().await, expected);
        let records = rig.store.inner().load().await.expect("read").records;
        assert_eq!((records.len(), records[0].value.as_str()), (1, "199"));
    }

    #[tokio::test]
    async fn a_change_fails_with_the_first_error_and_with_that_of_what_stands_before_it() {
        let mut rig = Rig::failing();
        assert!(rig.outbox.ask(1, saving("a")));
        assert!(matches!(rig.next().await, Stored::ChangeFailed { id: 1, .. }));
        rig.outbox.keep(None, saving("b"));
        assert!(rig.outbox.ask(2, saving("c")));
        while !matches!(rig.next().await, Stored::ChangeSkipped { id: 2, .. }) {}
        rig.store.release();
        while !matches!(rig.next().await, Stored::Kept { .. }) {}
        assert_eq!(rig.details().await, ["{\"text\":\"b\"}"]);
    }

    #[tokio::test]
    async fn what_waits_is_saved_after_the_writer_is_gone() {
        let rig = Rig::failing();
        for number in 0..3 {
            rig.outbox.keep(None, saving(&number.to_string()));
            assert!(rig.outbox.ask(number, saving("change")));
        }
        drop(rig.answers);
        rig.store.release();
        let saved = async {
            while !rig.outbox.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), saved).await.expect("in time");
        assert!(!rig.store.inner().load().await.expect("read").records.is_empty());
    }

    #[test]
    fn a_full_queue_refuses_changes_and_counts_the_entries_that_it_loses() {
        let outbox = Outbox::new();
        let asked = (0..=u64::try_from(LIMIT).unwrap())
            .filter(|id| outbox.ask(*id, Transaction::default()))
            .count();
        assert_eq!(asked, LIMIT);
        let many = Transaction::ITEM_LIMIT + 5;
        for number in 0..many {
            outbox.keep(Some((rollout(1), 1)), saving(&number.to_string()));
        }
        let queue = outbox.lock();
        assert_eq!(queue.len(), LIMIT + 1);
        let Some(Job::Batch(batch)) = queue.back() else { panic!("a batch stands last") };
        let transaction = batch.transaction();
        assert_eq!(transaction.entries.len(), Transaction::ITEM_LIMIT);
        assert_eq!(transaction.entries.last().unwrap().kind, "entries_lost");
        assert_eq!(transaction.entries.last().unwrap().detail, "{\"count\":6}");
        assert_eq!(transaction.puts, saving(&(many - 1).to_string()).puts);
    }

    #[test]
    fn a_record_that_is_removed_and_made_anew_is_there() {
        let mut batch = Batch::default();
        let deletes = vec![key("service", "shop")];
        batch.add(None, Transaction { deletes, ..Transaction::default() });
        batch.add(None, saving("new"));
        assert_eq!(batch.transaction().deletes, []);
        assert_eq!(batch.transaction().puts, saving("new").puts);
    }

    #[test]
    fn a_closed_queue_takes_nothing() {
        let outbox = Outbox::closed();
        outbox.keep(None, saving("a"));
        assert!(!outbox.ask(1, saving("b")));
        assert!(outbox.is_empty());
    }
}
