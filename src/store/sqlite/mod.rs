//! The embedded store: one SQLite file, written by one process.
//!
//! - Write-ahead log with `synchronous=FULL`: an acknowledged commit survives a power cut.
//! - A lock file beside the database keeps a second process out, at once and by name.
//! - Nothing is trusted that was not checked: on opening, the file is read without write access
//!   first (identity, schema, structure, a checksum of every record, the whole ledger), so that a
//!   damaged or newer file is refused and left as it is.
//! - An I/O error is the end of the connection, not of the store: the next call opens the file anew
//!   and checks it again. A page that could not be flushed may be lost although it can still be
//!   read, so a connection that has seen such an error proves nothing.
//!
//! One owned thread does all the work, fed by a bounded queue, so that no caller's thread blocks.

mod content;
mod engine;
mod fault;
mod file;
mod schema;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use self::engine::Engine;
use self::fault::Fault;
use self::schema::{STEPS, Steps};
use super::feed::Feed;
use super::{Committed, LedgerQuery, Snapshot, Store, StoreError, Transaction, Watch};
use crate::core::ledger::Entry;

/// A store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    /// `None` only while it is being dropped: a closed queue ends the thread.
    jobs: Option<mpsc::Sender<Job>>,
    /// `None` only after it was joined.
    thread: Option<JoinHandle<()>>,
    feed: Arc<Feed>,
}

impl SqliteStore {
    /// Opens the store; makes it if there is none; brings one of an older release up to date, with
    /// a backup `<path>.backup-v<schema>` first. Checks all that is in it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Corrupt`], or what the system
    /// said.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path.into(), STEPS).await
    }

    async fn open_with(path: PathBuf, steps: Steps) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE_LENGTH);
        let (opened, answer) = oneshot::channel();
        let work = {
            let path = path.clone();
            move || match Engine::open(path, steps) {
                Ok(engine) => {
                    drop(opened.send(Ok(engine.feed())));
                    serve(engine, queue);
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("tidegate-store".to_owned()).spawn(work);
        let thread = Some(thread.map_err(|error| Fault::from(error).at(&path))?);
        let feed = answer.await.map_err(|_| StoreError::Unavailable)??;
        Ok(Self { jobs: Some(jobs), thread, feed })
    }

    /// Has the thread do something, and waits for its answer. Waits also while the queue is full.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        // A caller that no longer waits does not undo the work.
        let job: Job = Box::new(move |engine| drop(reply.send(work(engine))));
        let jobs = self.jobs.as_ref().ok_or(StoreError::Unavailable)?;
        jobs.send(job).await.map_err(|_| StoreError::Unavailable)?;
        answer.await.map_err(|_| StoreError::Unavailable)?
    }
}

impl Drop for SqliteStore {
    /// Finishes the work in hand and releases the file.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by its hook and answered as `Unavailable`.
            drop(thread.join());
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.ask(Engine::load).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        transaction.check_size()?;
        self.ask(move |engine| engine.commit(transaction)).await
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<Entry>, StoreError> {
        self.ask(move |engine| engine.ledger(&query)).await
    }

    async fn watch(&self, after_revision: u64) -> Result<Watch, StoreError> {
        Ok(self.feed.watch(after_revision))
    }
}

type Job = Box<dyn FnOnce(&mut Engine) + Send>;

fn serve(mut engine: Engine, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut engine);
    }
}

/// How many calls may wait for the thread before their callers wait to be queued.
const QUEUE_LENGTH: usize = 64;
