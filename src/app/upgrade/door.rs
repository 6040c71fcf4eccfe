//! The socket on which a running process hears of its successor.
//!
//! Whoever has the store has the door: it is opened after the store and removed before it. One
//! successor at a time is let in; everybody may ask who serves.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, geteuid};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::message::{FailedSuccessor, FromNew, FromOld, PROTOCOL, Serving};
use super::waits::Waits;
use super::wire::{Wire, WireError};

/// The open door of a process that serves.
#[derive(Debug)]
pub(in crate::app) struct Door {
    path: PathBuf,
    /// The socket under another name, as long as it is not shown.
    hidden: Option<PathBuf>,
    accepting: JoinHandle<()>,
    offers: mpsc::Receiver<Offer>,
}

/// A process that wants to take over; no other one is let in while this exists.
#[derive(Debug)]
pub(in crate::app) struct Offer {
    pub(super) wire: Wire,
    pub(super) pid: Pid,
    version: String,
    state: Arc<State>,
    pub(super) waits: Waits,
}

#[derive(Debug)]
struct State {
    offers: mpsc::Sender<Offer>,
    busy: AtomicBool,
    failed: Mutex<Option<FailedSuccessor>>,
    /// Where the process listens.
    holds: Vec<SocketAddr>,
}

impl Door {
    /// Makes it where nobody looks for it yet, for a process that listens on these addresses.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::app) fn make(
        path: &Path,
        runtime: &Runtime,
        holds: Vec<SocketAddr>,
    ) -> io::Result<Self> {
        let hidden = path.with_extension("sock.new");
        match std::fs::remove_file(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let _inside = runtime.enter();
        let listener = UnixListener::bind(&hidden)?;
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(OWNER_ONLY))?;
        let (sender, offers) = mpsc::channel(1);
        let (busy, failed) = (AtomicBool::new(false), Mutex::default());
        let state = Arc::new(State { offers: sender, busy, failed, holds });
        let accepting = runtime.spawn(accept(listener, state));
        Ok(Self { path: path.to_owned(), hidden: Some(hidden), accepting, offers })
    }

    /// Puts it into its place; what an earlier process has there is replaced. The caller holds the
    /// store.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::app) fn show(&mut self) -> io::Result<()> {
        if let Some(hidden) = &self.hidden {
            std::fs::rename(hidden, &self.path)?;
        }
        self.hidden = None;
        Ok(())
    }

    /// The next process that wants to take over.
    pub(in crate::app) async fn next(&mut self) -> Option<Offer> {
        self.offers.recv().await
    }

    /// Takes its name away, and closes it. The caller holds the store still.
    pub(in crate::app) fn remove(self) {
        if self.hidden.is_none()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the upgrade socket");
        }
    }
}

impl Drop for Door {
    /// Closes it. Its name may belong to a successor by now; one that was never shown is removed.
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(hidden) = &self.hidden {
            // The next one to be made removes it otherwise.
            let _ = std::fs::remove_file(hidden);
        }
    }
}

impl Offer {
    /// The process that wants to take over.
    pub(in crate::app) fn pid(&self) -> u32 {
        number(self.pid)
    }

    /// Its release.
    pub(in crate::app) fn version(&self) -> &str {
        &self.version
    }

    /// That of a process at the other end of a connection.
    #[cfg(test)]
    pub(super) fn over(wire: Wire, pid: Pid, waits: Waits) -> Self {
        let (offers, _) = mpsc::channel(1);
        let (busy, failed) = (AtomicBool::new(true), Mutex::default());
        let state = Arc::new(State { offers, busy, failed, holds: Vec::new() });
        Self { wire, pid, version: "9.9.9".to_owned(), state, waits }
    }

    /// Notes why it does not take over, for whoever asks.
    pub(super) fn note_failure(&self, why: &str) {
        self.state.note_failure(self.pid, why);
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.state.busy.store(false, Ordering::Release);
    }
}

impl State {
    fn note_failure(&self, pid: Pid, why: &str) {
        let failed = FailedSuccessor { pid: number(pid), why: why.to_owned() };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
    }

    fn serving(&self) -> Serving {
        Serving {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            busy: self.busy.load(Ordering::Acquire),
            failed: self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            holds: Some(self.holds.clone()),
        }
    }
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = visits.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a visit at the upgrade socket ended badly");
                }
            }
            accepted = listener.accept(), if visits.len() < MOST_VISITS => match accepted {
                Ok((stream, _)) => match stream.into_std() {
                    Ok(stream) => {
                        let state = Arc::clone(&state);
                        visits.spawn_blocking(move || visit(stream, &state));
                    }
                    Err(error) => tracing::warn!(%error, "a visit at the upgrade socket failed"),
                },
                Err(error) => {
                    // Out of descriptors, or a visitor who is gone again: neither is the end.
                    tracing::warn!(%error, "the upgrade socket cannot accept");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
}

/// Hears what a visitor wants, and answers or lets it in. Blocks.
fn visit(stream: UnixStream, state: &Arc<State>) {
    let from = match socket_peercred(&stream) {
        Ok(from) if from.uid == geteuid() => from,
        Ok(from) => {
            tracing::warn!(uid = ?from.uid, "another user is not let in for an upgrade");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a visitor that cannot be known is not let in for an upgrade");
            return;
        }
    };
    if let Err(error) = attend(stream, from.pid, state) {
        tracing::debug!(%error, "a visit at the upgrade socket broke off");
    }
}

fn attend(stream: UnixStream, pid: Pid, state: &Arc<State>) -> Result<(), WireError> {
    let wire = Wire::over(stream)?;
    let why = match wire.hear(FIRST_WORD)? {
        FromNew::Ask => {
            let log = io::stderr();
            return wire.say_with(&FromOld::Serving(state.serving()), Some(log.as_fd()));
        }
        FromNew::Take { protocol: PROTOCOL, version } => {
            if !state.busy.swap(true, Ordering::AcqRel) {
                let (shared, waits) = (Arc::clone(state), Waits::USUAL);
                let offer = Offer { wire, pid, version, state: shared, waits };
                // Dropped if nobody wants it any more: the process is about to end.
                let _ = state.offers.try_send(offer);
                return Ok(());
            }
            "another upgrade is under way".to_owned()
        }
        FromNew::Take { protocol, version } => format!(
            "release {version} asks in protocol {protocol}, release {} answers in {PROTOCOL}: \
             restart instead",
            env!("CARGO_PKG_VERSION")
        ),
        FromNew::Pause | FromNew::Ready | FromNew::Failed { .. } | FromNew::Taken => return Ok(()),
    };
    tracing::warn!(pid = number(pid), why, "an upgrade is refused");
    state.note_failure(pid, &why);
    wire.say(&FromOld::No { why })
}

/// A process id as it is shown and written.
fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

const OWNER_ONLY: u32 = 0o600;
/// Visitors at the same time; others wait.
const MOST_VISITS: usize = 8;
/// How long a visitor may take to say what it wants.
const FIRST_WORD: Duration = Duration::from_secs(5);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::super::ask::ask;
    use super::*;

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    }

    fn take(path: &Path, protocol: u32) -> Wire {
        let wire = Wire::over(UnixStream::connect(path).expect("open")).expect("set up");
        wire.say(&FromNew::Take { protocol, version: "9.9.9".to_owned() }).expect("said");
        wire
    }

    #[test]
    fn one_successor_is_let_in_at_a_time_and_everybody_may_ask() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.upgrade.sock");
        std::fs::write(&path, "left by a crash").expect("written");
        let runtime = runtime();
        let mut door = Door::make(&path, &runtime, Vec::new()).expect("made");
        assert!(ask(&path).is_err());
        door.show().expect("shown");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        let (serving, log) = ask(&path).expect("answered");
        assert_eq!((serving.pid, serving.busy), (std::process::id(), false));
        assert!(log.is_some());

        let _first = take(&path, PROTOCOL);
        let offer = runtime.block_on(door.next()).expect("an offer");
        assert_eq!((number(offer.pid), offer.version.as_str()), (std::process::id(), "9.9.9"));
        assert!(ask(&path).expect("answered").0.busy);
        let refused = take(&path, PROTOCOL).hear::<FromOld>(FIRST_WORD).expect("answered");
        let why = "another upgrade is under way".to_owned();
        assert_eq!(refused, FromOld::No { why });

        drop(offer);
        let (serving, _) = ask(&path).expect("answered");
        assert!(!serving.busy && serving.failed.is_some_and(|failed| failed.why.contains("way")));
        let refused = take(&path, PROTOCOL + 1).hear::<FromOld>(FIRST_WORD).expect("answered");
        assert!(matches!(refused, FromOld::No { why } if why.contains("protocol")));
        door.remove();
        assert!(ask(&path).is_err());
    }
}
