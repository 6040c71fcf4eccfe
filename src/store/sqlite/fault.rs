//! What goes wrong below the store's contract, and what it means above.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// A failure inside of this engine.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Sqlite(rusqlite::Error),
    /// The system said no.
    Io(io::Error),
    /// What is in the file is not what was written.
    Content(String),
    /// The contract says no.
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    /// What it means for the store in this file.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Store(error) => error,
            Self::Content(what) => StoreError::Corrupt { path, what },
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => StoreError::Full,
            Self::Io(error) => StoreError::Io { path, what: error.to_string() },
            Self::Sqlite(error) => {
                let what = error.to_string();
                match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => StoreError::Full,
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                        StoreError::Locked { path }
                    }
                    Some(code) if FROM_THE_SYSTEM.contains(&code) => StoreError::Io { path, what },
                    // The statements are fixed, so one that fails, or a value of another type than
                    // was written, means that the file is not what it was.
                    Some(_) | None => StoreError::Corrupt { path, what },
                }
            }
        }
    }
}

const FROM_THE_SYSTEM: [ErrorCode; 8] = [
    ErrorCode::SystemIoFailure,
    ErrorCode::CannotOpen,
    ErrorCode::PermissionDenied,
    ErrorCode::ReadOnly,
    ErrorCode::OutOfMemory,
    ErrorCode::FileLockingProtocolFailed,
    ErrorCode::NoLargeFileSupport,
    ErrorCode::OperationInterrupted,
];
