//! Upgrading without losing a request: a new process takes over from the one that runs.
//!
//! ```text
//! new                                      old
//!  │ reads its configuration, loads gates   │ serves
//!  ├─ take ────────────────────────────────►│
//!  │◄──────────── sockets, one by one ──────┤
//!  │ binds what it has not got              │
//!  ├─ pause ───────────────────────────────►│ ends its control side: the store is closed;
//!  │◄────── what is known of targets ───────┤ the proxy goes on with its last table
//!  │ opens the store, recovers, accepts     │
//!  ├─ ready ───────────────────────────────►│
//!  │◄──────────────────────────── yours ────┤ stops accepting, drains, ends
//! ```
//!
//! Whatever fails before `yours`, the old process has its control side back and carries on, and the
//! new one is gone: it ends when it is told `no` or loses the connection, and is killed if it does
//! neither. After `ready` a connection that is lost without a `no` means that the old process died,
//! and the new one carries on. Sockets are shared all the while, so that no connection is refused:
//! what neither has accepted waits in the system's queue.
//!
//! They talk over a Unix socket beside the store, which only the user of the process can reach:
//! a length and a message in JSON, each within [`wire`]'s bounds and with a deadline.

mod ask;
mod door;
mod error;
mod give;
mod health;
mod holder;
mod launch;
mod message;
mod take;
mod wire;

use std::path::PathBuf;

use crate::config::StoreSpec;

pub use error::UpgradeError;
pub use launch::{UpgradeOptions, Upgraded, upgrade};

pub(super) use door::{Door, Offer};
pub(super) use error::TakeoverError;
pub(super) use give::{dismiss, give};
pub(super) use health::{KnownTarget, known_targets, remember};
pub(super) use holder::{Holder, holder};
pub(super) use message::SocketOf;
pub(super) use take::{Inherited, Takeover};

/// The socket beside the database on which a process hears of its successor; `None` for a store in
/// memory, which nobody could take over.
pub(super) fn door_path(store: &StoreSpec) -> Option<PathBuf> {
    match store {
        StoreSpec::Path(path) => Some(path.with_extension("upgrade.sock")),
        StoreSpec::Memory => None,
    }
}
