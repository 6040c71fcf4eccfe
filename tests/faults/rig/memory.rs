//! What a process takes of the machine: resident memory, and descriptors it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio::time::interval;

/// By how much the memory of a warm process may grow under an attack.
pub(crate) const LEEWAY_KIB: u64 = 16 * 1_024;

/// Watches the memory of a process until it is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    id: Pid,
    before_kib: u64,
    most_kib: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl Memory {
    /// Begins to watch; what is resident now is what later growth is measured from.
    pub(crate) fn watch(id: Pid) -> Self {
        let before_kib = resident_kib(id).expect("it runs");
        let most_kib = Arc::new(AtomicU64::new(before_kib));
        let most = Arc::clone(&most_kib);
        let looking = tokio::spawn(async move {
            let mut looks = interval(LOOK);
            loop {
                looks.tick().await;
                most.fetch_max(resident_kib(id).unwrap_or(0), Ordering::SeqCst);
            }
        });
        Self { id, before_kib, most_kib, looking }
    }

    /// The most that it grew by so far.
    pub(crate) fn grown_kib(&self) -> u64 {
        let now = resident_kib(self.id).unwrap_or(0);
        self.most_kib.fetch_max(now, Ordering::SeqCst).max(now).saturating_sub(self.before_kib)
    }

    /// What it had at the beginning.
    pub(crate) fn before_kib(&self) -> u64 {
        self.before_kib
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Lets this process, and those that it starts from now on, open as many files as the system
/// allows it.
pub(crate) fn raise_own_limit() {
    limit_own(getrlimit(Resource::Nofile).maximum);
}

/// Lets this process, and those that it starts from now on, open so many files.
pub(crate) fn lower_own_limit(files: u64) {
    limit_own(Some(files));
}

fn limit_own(current: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limited = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    limited.expect("up to the maximum every process may choose its limit");
}

fn resident_kib(id: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", id.as_raw_pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

const LOOK: Duration = Duration::from_millis(50);
