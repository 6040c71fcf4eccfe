//! Opening the store and the table file, and deciding what their troubles mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::config::StoreSpec;
use crate::control::{EvidenceWriter, Outbox, TableWriter};
use crate::store::{
    EvidenceFolder, MemoryStore, Snapshot, SqliteStore, Store, StoreError, TableFile, TableImage,
};

use super::AppError;

/// What a start finds of an earlier life.
#[derive(Debug)]
pub(super) struct Storage {
    /// What the store has, or why it cannot be read.
    pub(super) stored: Result<Snapshot, String>,
    /// `None` when it cannot be read: it is left untouched.
    pub(super) store: Option<Arc<dyn Store>>,
    /// What was served last; `None` without a good table file.
    pub(super) served: Option<TableImage>,
    /// `None` for a store in memory.
    file: Option<TableFile>,
    /// `None` for a store in memory, and where the store cannot be read.
    evidence: Option<EvidenceFolder>,
}

/// The file beside the database that holds the last table.
fn table_path(store: &Path) -> PathBuf {
    store.with_extension("table")
}

/// The folder beside the database that holds the evidence of rollouts.
fn evidence_path(store: &Path) -> PathBuf {
    store.with_extension("evidence")
}

/// The folder beside the database that holds compiled gates.
pub(super) fn cache_path(store: &StoreSpec) -> Option<PathBuf> {
    match store {
        StoreSpec::Path(path) => Some(path.with_extension("gates")),
        StoreSpec::Memory => None,
    }
}

/// The folder beside the database that holds uploaded gates.
pub(super) fn uploads_path(store: &StoreSpec) -> Option<PathBuf> {
    match store {
        StoreSpec::Path(path) => Some(path.with_extension("uploads")),
        StoreSpec::Memory => None,
    }
}

impl Storage {
    /// The same, with patience for a process that is just letting go of the store. Blocks.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_soon(spec: &StoreSpec, runtime: &Runtime) -> Result<Self, AppError> {
        for _ in 0..LOCK_TRIES {
            match runtime.block_on(Self::open(spec)) {
                Err(AppError::Locked(_)) => std::thread::sleep(LOCK_AGAIN),
                opened => return opened,
            }
        }
        runtime.block_on(Self::open(spec))
    }

    /// Opens what the configuration names.
    ///
    /// # Errors
    /// Another process has the store; or it cannot be read, and no table file can stand in.
    pub(super) async fn open(spec: &StoreSpec) -> Result<Self, AppError> {
        let StoreSpec::Path(path) = spec else {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let stored = store.load().await.map_err(|error| error.to_string());
            return Ok(Self {
                stored,
                store: Some(store),
                served: None,
                file: None,
                evidence: None,
            });
        };
        let file = TableFile::new(table_path(path));
        let served = file.read();
        match open_sqlite(path).await {
            Ok((store, snapshot)) => {
                let served = match served {
                    Ok(served) => served,
                    // The store is the better witness; without records in it there is none.
                    Err(error) if snapshot.records.is_empty() => return Err(error.into()),
                    Err(error) => {
                        tracing::warn!(%error, "the table file does not count: the store is read");
                        None
                    }
                };
                let (stored, store) = (Ok(snapshot), Some(store));
                let evidence = Some(EvidenceFolder::new(evidence_path(path)));
                Ok(Self { stored, store, served, file: Some(file), evidence })
            }
            Err(error @ StoreError::Locked { .. }) => Err(AppError::Locked(error)),
            Err(store) => match served {
                Ok(Some(image)) => {
                    tracing::error!(error = %store, "the store is unreadable: traffic flows from the table file, nothing can be changed");
                    let stored = Err(store.to_string());
                    let served = Some(image);
                    Ok(Self { stored, store: None, served, file: None, evidence: None })
                }
                Ok(None) => {
                    let table = format!("{} is not there", file.path().display());
                    Err(AppError::Unreadable { store, table })
                }
                Err(error) => Err(AppError::Unreadable { store, table: error.to_string() }),
            },
        }
    }

    /// The queue to the store.
    pub(super) fn outbox(&self) -> Outbox {
        if self.store.is_some() { Outbox::new() } else { Outbox::closed() }
    }

    /// The writer of the table file, and its task; without a file nobody writes.
    pub(super) fn table_writer(&self, runtime: &Runtime) -> (TableWriter, Option<JoinHandle<()>>) {
        let (writer, images) = TableWriter::new();
        let file = self.file.clone();
        (writer, file.map(|file| runtime.spawn(TableWriter::run(file, images))))
    }
}

impl Storage {
    /// The writer of evidence, and its task; without a folder nobody writes.
    pub(super) fn evidence_writer(
        &self,
        runtime: &Runtime,
    ) -> (EvidenceWriter, Option<JoinHandle<()>>) {
        let Some(folder) = self.evidence.clone() else {
            return (EvidenceWriter::none(), None);
        };
        let (writer, orders) = EvidenceWriter::new(folder.clone());
        (writer, Some(runtime.spawn(EvidenceWriter::run(folder, orders))))
    }
}

const LOCK_TRIES: u32 = 250;
const LOCK_AGAIN: Duration = Duration::from_millis(20);

async fn open_sqlite(path: &Path) -> Result<(Arc<dyn Store>, Snapshot), StoreError> {
    let store = SqliteStore::open(path).await?;
    let snapshot = store.load().await?;
    Ok((Arc::new(store), snapshot))
}
