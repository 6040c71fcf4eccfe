//! The work of the store's thread: one connection at a time, opened anew after an error that makes
//! it worthless.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use super::content::{self, Summary};
use super::fault::Fault;
use super::file::DatabaseFile;
use super::schema::Steps;
use crate::core::ledger::Entry;
use crate::store::feed::Feed;
use crate::store::{Committed, LedgerQuery, Snapshot, StoreError, Transaction};

/// The file, the connection to it, and what was last acknowledged.
#[derive(Debug)]
pub(super) struct Engine {
    /// `None` after an error that a connection does not outlive, until the next call. Closed before
    /// the file is released: the next process must not meet it.
    connection: Option<Connection>,
    file: DatabaseFile,
    /// What the file must at least be at.
    acknowledged: Summary,
    feed: Arc<Feed>,
}

impl Engine {
    /// Claims, checks and opens a file.
    pub(super) fn open(path: PathBuf, steps: Steps) -> Result<Self, StoreError> {
        let shown = path.clone();
        let open = || {
            let file = DatabaseFile::claim(path, steps)?;
            let connection = file.open()?;
            let acknowledged = Summary::read(&connection)?;
            let feed = Arc::new(Feed::new(acknowledged.revision));
            Ok(Self { file, connection: Some(connection), acknowledged, feed })
        };
        open().map_err(|fault: Fault| fault.at(&shown))
    }

    /// Where its changes are published.
    pub(super) fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Reads all records.
    pub(super) fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.run(|connection| content::load(connection))
    }

    /// Reads a page of the ledger.
    pub(super) fn ledger(&mut self, query: &LedgerQuery) -> Result<Vec<Entry>, StoreError> {
        self.run(|connection| content::ledger(connection, query))
    }

    /// Makes a change and publishes it.
    pub(super) fn commit(&mut self, transaction: Transaction) -> Result<Committed, StoreError> {
        let (summary, changes) = self.run(|connection| content::commit(connection, transaction))?;
        self.acknowledged = summary;
        self.feed.publish(changes);
        Ok(summary.into())
    }

    /// Does something with the connection, and gives the connection up if it is worthless after.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let path = self.file.path().to_owned();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reopen().map_err(|fault| fault.at(&path))?,
        };
        let result = work(&mut connection).map_err(|fault| fault.at(&path));
        if result.as_ref().err().is_none_or(outlived) {
            self.connection = Some(connection);
        }
        result
    }

    /// Opens the file again; everything acknowledged must still be there.
    fn reopen(&mut self) -> Result<Connection, Fault> {
        let connection = self.file.open()?;
        let found = Summary::read(&connection)?;
        let acknowledged = self.acknowledged;
        if found.revision < acknowledged.revision || found.head.seq < acknowledged.head.seq {
            let what = format!(
                "revision {} was acknowledged, the file is back at {}",
                acknowledged.revision, found.revision
            );
            return Err(Fault::Content(what));
        }
        self.acknowledged = found;
        self.feed.resync(found.revision);
        Ok(connection)
    }
}

/// Whether a connection is still good after this error.
fn outlived(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict { .. }
        | StoreError::TooLarge { .. }
        | StoreError::Locked { .. }
        | StoreError::Full => true,
        StoreError::Newer { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Io { .. }
        | StoreError::Unavailable => false,
    }
}
