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
//!  │ gives up if its file has changed: a    │
//!  │ reload of the old one is not undone    │
//!  │ opens the store, recovers, accepts     │
//!  ├─ ready ───────────────────────────────►│
//!  │◄──────────────────────────── yours ────┤
//!  ├─ taken ───────────────────────────────►│ stops accepting, drains, ends
//! ```
//!
//! Whatever fails before `taken`, the old process has its control side back and carries on, and the
//! new one is gone: it ends when it is told `no` or loses the connection, and is killed if it does
//! neither. After `ready` a connection that is lost without a `no` means that the old process died,
//! and the new one carries on. Sockets are shared all the while, so that no connection is refused:
//! what neither has accepted waits in the system's queue.
//!
//! # Why exactly one of them has everything afterwards
//!
//! Either may stand still at any place (stopped, swapped out) for longer than the other waits. Two
//! machines could not agree then; two processes of one machine can, because its kernel knows things
//! for certain: a word that was written to a Unix socket is there to be read, even after the death
//! of its writer; what is written to an end that hears no more fails; the end of a connection comes
//! behind everything that was said on it; and whoever was sent SIGKILL does nothing any more.
//!
//! - *The new process* owns from the moment it has written `taken`, and never goes back on that. It
//!   writes it only on reading `yours`. When it gives up waiting for that it first stops hearing:
//!   a `yours` was then written before, and is found by a last look, or is never written. So an old
//!   process that wakes up late cannot give anything to one that has given up.
//! - *The old process* owns until it has read `taken`. It carries on only when that cannot come any
//!   more: `yours` could not be written; the connection ended without a `taken` in it; or no `taken`
//!   came in time, and it has killed the new process. It waits for the latter's end, and if that is
//!   late all the same, the lock of the store lets it back in no sooner.
//! - *A dead one* is told apart from a slow one by the end of the connection: the old process never
//!   ends it alive without a `no`, which is read before that end, and the new one never ends it
//!   alive after `yours` without `taken`. Whoever finds the other dead has everything.
//!
//! What is left is what no protocol mends: an owner that dies owns nothing.
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
mod reading;
#[cfg(test)]
mod stalls;
mod take;
mod waits;
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
pub(super) use reading::read_again;
pub(super) use take::{Inherited, Takeover};

/// The socket beside the database on which a process hears of its successor; `None` for a store in
/// memory, which nobody could take over.
pub(super) fn door_path(store: &StoreSpec) -> Option<PathBuf> {
    match store {
        StoreSpec::Path(path) => Some(path.with_extension("upgrade.sock")),
        StoreSpec::Memory => None,
    }
}
