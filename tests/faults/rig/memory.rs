//! What a process takes of the machine: resident memory, and descriptors it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use super::{Row, ms};

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

/// What is resident of a process now, in KiB.
pub(crate) fn present_kib(id: Pid) -> u64 {
    resident_kib(id).expect("it runs")
}

/// Waits until a process has at most 10 MB more than before; the row requires it.
pub(crate) async fn require_given_back(row: &mut Row, id: Pid, before_kib: u64) {
    let (began, bar_kib) = (Instant::now(), before_kib + LEFT_KIB);
    let mut kib = present_kib(id);
    while kib > bar_kib && began.elapsed() < SETTLING {
        sleep(LOOK).await;
        kib = present_kib(id);
    }
    row.measure("memory_before_kib", before_kib);
    row.measure("memory_after_kib", kib);
    row.measure("settled_after_ms", ms(began.elapsed()));
    row.require("the memory is given back", kib <= bar_kib);
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

/// So many of what needs so many files each, in the proxy as in this process, or as many as the
/// limit of this process has room for. A quarter of it is what the proxy keeps from its clients.
pub(crate) fn room_for(wanted: usize, files_of_each: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES);
    wanted.min(free / files_of_each)
}

/// Requires that a watched process never had more than 200 MB, and so much more for each of these.
pub(crate) fn require_bounded(row: &mut Row, memory: &Memory, of_each_kib: u64, count: usize) {
    let kib = memory.before_kib() + memory.grown_kib();
    row.measure("memory_kib", kib);
    row.measure("memory_allowed_for_each_kib", of_each_kib);
    row.require("memory is bounded", kib <= BASE_KIB + of_each_kib * count as u64);
}

fn limit_own(current: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limited = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    limited.expect("up to the maximum every process may choose its limit");
}

/// Lets a process that runs, and that was started by this one, open so many files, however many it
/// has; gives what it might before.
pub(crate) fn lower_limit_of(id: Pid, files: u64) -> Rlimit {
    let maximum = getrlimit(Resource::Nofile).maximum;
    limit_of(id, Rlimit { current: Some(files), maximum })
}

/// Gives a process back what it might before.
pub(crate) fn restore_limit_of(id: Pid, before: Rlimit) {
    limit_of(id, before);
}

fn limit_of(id: Pid, limit: Rlimit) -> Rlimit {
    prlimit(Some(id), Resource::Nofile, limit).expect("it runs, and the maximum stays as it is")
}

fn resident_kib(id: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", id.as_raw_pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

const LOOK: Duration = Duration::from_millis(50);
/// What a process may have whatever its clients do: 200 MB.
const BASE_KIB: u64 = 200 * 1_024;
/// What is open besides what a row counts: the store, logs, listeners, other clients.
const OTHER_FILES: usize = 500;
/// What may be left, in KiB: 10 MB.
const LEFT_KIB: u64 = 10_000_000 / 1_024;
/// How long the allocator may take to give back what it does not need.
const SETTLING: Duration = Duration::from_secs(30);
