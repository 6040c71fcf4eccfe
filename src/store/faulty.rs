//! A store that fails or blocks when it is told to, for the tests and the simulation of whatever
//! stands on a store.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Committed, LedgerQuery, Snapshot, Store, StoreError, Transaction, Watch};
use crate::core::ledger::Entry;

/// What becomes of a call.
#[derive(Clone, Debug)]
enum Mode {
    /// It is made.
    Pass,
    /// It waits until the mode is another.
    Block,
    /// It is not made, and ends so.
    Fail(StoreError),
    /// It is made, and its answer is lost: it ends so.
    LoseAnswers(StoreError),
}

/// A store with a fault that can be switched on and off; begins without.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    mode: watch::Sender<Mode>,
    waiting: AtomicUsize,
}

impl<S: Store> Faulty<S> {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, mode: watch::Sender::new(Mode::Pass), waiting: AtomicUsize::new(0) }
    }

    /// The store inside, which has no fault.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// From now on calls are made; those that were blocked, too.
    pub fn release(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// From now on calls wait.
    pub fn block(&self) {
        self.mode.send_replace(Mode::Block);
    }

    /// From now on calls are not made and end with this error; those that were blocked, too.
    pub fn fail(&self, error: StoreError) {
        self.mode.send_replace(Mode::Fail(error));
    }

    /// From now on calls are made and yet end with this error, as when a process dies or a
    /// connection breaks between the deed and the answer.
    pub fn lose_answers(&self, error: StoreError) {
        self.mode.send_replace(Mode::LoseAnswers(error));
    }

    /// How many calls are blocked now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    async fn through<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut modes = self.mode.subscribe();
        loop {
            let mode = modes.borrow_and_update().clone();
            match mode {
                Mode::Pass => return call.await,
                Mode::Fail(error) => return Err(error),
                Mode::LoseAnswers(error) => return call.await.and(Err(error)),
                Mode::Block => {
                    let _waiting = Waiting::begin(&self.waiting);
                    modes.changed().await.expect("the sender is a field of self");
                }
            }
        }
    }
}

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.through(self.inner.load()).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        self.through(self.inner.commit(transaction)).await
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<Entry>, StoreError> {
        self.through(self.inner.ledger(query)).await
    }

    async fn watch(&self, after_revision: u64) -> Result<Watch, StoreError> {
        self.through(self.inner.watch(after_revision)).await
    }
}

/// Counts a call for as long as it waits, also if it is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::store::{Key, MemoryStore};

    fn put() -> Transaction {
        let key = Key::new("service", "shop").expect("valid");
        Transaction { puts: vec![(key, "{}".to_owned())], ..Transaction::default() }
    }

    #[tokio::test]
    async fn a_failing_store_changes_nothing() {
        let store = Faulty::new(MemoryStore::new());
        store.fail(StoreError::Full);
        assert_eq!(store.commit(put()).await, Err(StoreError::Full));
        store.release();
        assert_eq!(store.load().await.expect("released").revision, 0);
    }

    #[tokio::test]
    async fn a_lost_answer_is_an_error_after_the_deed() {
        let store = Faulty::new(MemoryStore::new());
        store.lose_answers(StoreError::Unavailable);
        assert_eq!(store.commit(put()).await, Err(StoreError::Unavailable));
        assert_eq!(store.inner().load().await.expect("no fault").revision, 1);
    }

    #[tokio::test]
    async fn a_blocked_call_is_made_when_released() {
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        store.block();
        let call = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.commit(put()).await }
        });
        let blocked = async {
            while store.waiting() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), blocked).await.expect("it waits");
        assert_eq!(store.inner().load().await.expect("no fault").revision, 0);
        store.release();
        assert_eq!(call.await.expect("no panic").expect("made").revision, 1);
        assert_eq!(store.waiting(), 0);
    }
}
