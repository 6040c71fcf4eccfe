//! The ledger: the append-only, hash-chained record of everything that was decided or done, by
//! whom, and why.
//!
//! Each entry holds the hash of the one before it, so that nobody can change, drop, swap or insert
//! an entry without every later hash giving it away. What a chain alone cannot show is that its end
//! was cut off, or that all of it was written anew: for that, compare its [`Head`] with one that
//! was kept elsewhere.

mod chain;
mod entry;
mod query;

pub use chain::{Chain, ChainBreak, ChainFault};
pub use entry::{Draft, Entry, Head};
pub use query::LedgerQuery;
