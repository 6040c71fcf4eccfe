//! Certificates and keys: read from files, checked for belonging together, and made into what a
//! listener shakes hands with.
//!
//! Everything that can be wrong with the files is found when they are read, by `tidegate check`
//! and by every start and reload, and never in a handshake. A file that changes later is read
//! again without a restart; one that is bad then changes nothing.

mod client;
mod error;
mod identity;
mod names;
mod pem;
mod server;
#[cfg(test)]
pub(crate) mod testkit;

pub use client::ClientTls;
pub use error::TlsError;
pub use identity::{Identity, read_authorities};
pub use names::subject_of;
pub use server::ServerTls;
