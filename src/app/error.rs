//! Why Tidegate does not start.

use std::io;
use std::path::PathBuf;

use crate::admin::{BindError, TokenError};
use crate::control::RecoverError;
use crate::proxy::ProxyError;
use crate::store::{StoreError, TableFileError};

use super::upgrade::TakeoverError;

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A thread pool could not be started.
    #[error("cannot start the {what} threads: {error}")]
    Runtime {
        /// Which.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// A listener could not be opened.
    #[error("{at}: {error}")]
    Proxy {
        /// The key path of what keeps it from that.
        at: String,
        /// Why.
        error: ProxyError,
    },
    /// Another process has the store.
    #[error("{0}; end the other process, or give this one a store of its own (store.path)")]
    Locked(StoreError),
    /// The store cannot be read, and there is no table to serve from.
    #[error(
        "{store}; there is no table file to serve from either ({table}): restore the database \
             from a backup, or move it away to begin anew"
    )]
    Unreadable {
        /// What is wrong with the store.
        store: StoreError,
        /// What is wrong with the table file.
        table: String,
    },
    /// The table file is needed and cannot be trusted.
    #[error("{0}; the store has no records either: move the file away to begin anew")]
    Table(#[from] TableFileError),
    /// A gate cannot be used.
    #[error("{0}")]
    Gates(String),
    /// What was stored does not fit the configuration.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The admin API could not be opened.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// The tokens could not be read or made.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The access log could not be opened.
    #[error("access_log.path: {} cannot be opened: {error}", .path.display())]
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The process that runs carries on.
    #[error("{0}")]
    Takeover(String),
    /// This process has a control side already.
    #[error("the control side of this process has not ended")]
    StillRuns,
}

impl From<TakeoverError> for AppError {
    fn from(error: TakeoverError) -> Self {
        Self::Takeover(error.to_string())
    }
}

impl AppError {
    /// Whether whoever started the process can mend it: an address, a file, the configuration.
    #[must_use]
    pub fn is_a_mistake(&self) -> bool {
        match self {
            Self::Proxy { .. }
            | Self::Locked(_)
            | Self::Gates(_)
            | Self::Recover(_)
            | Self::Admin(_)
            | Self::Tokens(_)
            | Self::AccessLog { .. } => true,
            Self::Runtime { .. }
            | Self::Unreadable { .. }
            | Self::Table(_)
            | Self::Takeover(_)
            | Self::StillRuns => false,
        }
    }
}
