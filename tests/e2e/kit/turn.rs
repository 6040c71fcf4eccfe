//! A turn: tests that need the machine for themselves wait for each other.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The right to use the machine; the next one has it when this is dropped.
///
/// A lock of the system, since a test runner may give each test a process of its own.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for it.
    pub(crate) async fn wait() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e.turn");
        let file = File::create(path).expect("a lock file");
        let deadline = Instant::now() + LONGEST;
        loop {
            match file.try_lock() {
                Ok(()) => return Self { _lock: file },
                Err(TryLockError::WouldBlock) => {
                    assert!(Instant::now() < deadline, "another test has not ended");
                }
                Err(TryLockError::Error(error)) => panic!("cannot take the lock: {error}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// All the tests of a binary may have their turn before the last one.
const LONGEST: Duration = Duration::from_secs(900);
