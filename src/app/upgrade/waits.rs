//! How long the two processes wait for each other.

use std::time::Duration;

/// What each side waits for, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For the new process to open the addresses that it was not given.
    pub(super) bind: Duration,
    /// For it to get from the store to its first accepted connection.
    pub(super) ready: Duration,
    /// For the old process' answer to that.
    pub(super) answer: Duration,
    /// For the new one's word that it has heard the answer. There is nothing left to do for it
    /// then, so that one which takes this long stands still.
    pub(super) taken: Duration,
    /// For it to end once it was told to.
    pub(super) end: Duration,
}

impl Waits {
    /// Those of a running process.
    pub(super) const USUAL: Self = Self {
        bind: Duration::from_secs(10),
        ready: Duration::from_secs(30),
        answer: Duration::from_secs(15),
        taken: Duration::from_secs(15),
        end: Duration::from_secs(5),
    };
}
