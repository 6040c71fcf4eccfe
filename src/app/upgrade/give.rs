//! The side of the process that runs: gives everything away, or keeps it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, kill_process};

use super::Offer;
use super::health::KnownTarget;
use super::message::{FromNew, FromOld, SocketOf};
use super::wire::{Wire, WireError};

/// Hands sockets and store to the process that wants them; when this succeeds, it serves. `pause`
/// ends the control side and gives what is known of targets; it is called at most once. Blocks.
///
/// # Errors
/// A sentence that says why the other process does not take over.
pub(in crate::app) fn give(
    offer: &Offer,
    sockets: &[(SocketOf, BorrowedFd<'_>)],
    pause: impl FnOnce() -> Vec<KnownTarget>,
) -> Result<(), String> {
    let (wire, waits) = (&offer.wire, &offer.waits);
    let broken = |error: WireError| error.to_string();
    for (of, socket) in sockets {
        wire.say_with(&FromOld::Socket(of.clone()), Some(*socket)).map_err(broken)?;
    }
    wire.say(&FromOld::AllSockets).map_err(broken)?;
    match wire.hear(waits.bind).map_err(broken)? {
        FromNew::Pause => {}
        FromNew::Failed { why } => return Err(why),
        other @ (FromNew::Ask | FromNew::Take { .. } | FromNew::Ready | FromNew::Taken) => {
            return Err(out_of_place(&other));
        }
    }
    for some in pause().chunks(TARGETS_AT_ONCE) {
        wire.say(&FromOld::Targets(some.to_vec())).map_err(broken)?;
    }
    wire.say(&FromOld::Paused).map_err(broken)?;
    conclude(offer)
}

/// The last step: waits until the new process serves, and gives it everything.
pub(super) fn conclude(offer: &Offer) -> Result<(), String> {
    let (wire, waits) = (&offer.wire, &offer.waits);
    match wire.hear(waits.ready).map_err(|error| error.to_string())? {
        FromNew::Ready => {}
        FromNew::Failed { why } => return Err(why),
        other @ (FromNew::Ask | FromNew::Take { .. } | FromNew::Pause | FromNew::Taken) => {
            return Err(out_of_place(&other));
        }
    }
    match wire.say(&FromOld::Yours) {
        Ok(()) => taken(offer),
        Err(WireError::Closed) => Err(last_word(wire, waits.end)),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits until the new process says that it has taken over. One that does not say so gets nothing:
/// it has ended, or is killed, since it could say so at any time.
pub(super) fn taken(offer: &Offer) -> Result<(), String> {
    let why = match offer.wire.hear(offer.waits.taken) {
        Ok(FromNew::Taken) => return Ok(()),
        Ok(FromNew::Failed { why }) => return Err(why),
        Err(WireError::Closed) => return Err("it ended before it had taken over".to_owned()),
        Ok(other @ (FromNew::Ask | FromNew::Take { .. } | FromNew::Pause | FromNew::Ready)) => {
            out_of_place(&other)
        }
        Err(
            error @ (WireError::Silent(_)
            | WireError::TooLong(_)
            | WireError::Unknown(_)
            | WireError::Io(_)),
        ) => error.to_string(),
    };
    if kill(offer) {
        return Err(format!("{why}; it was killed before it had taken over"));
    }
    // It has the word, and nothing can keep it from going on with that.
    tracing::error!(pid = offer.pid(), why, "the new process has everything, and does not say so");
    Ok(())
}

/// Why a process has given up that hears nothing any more.
fn last_word(wire: &Wire, patience: Duration) -> String {
    match wire.hear(patience) {
        Ok(FromNew::Failed { why }) => why,
        Ok(_) | Err(_) => WireError::Closed.to_string(),
    }
}

/// Tells a process that it does not take over, and sees to it that it ends: it would serve beside
/// this one, and may hold the store. Blocks.
pub(in crate::app) fn dismiss(offer: &Offer, why: &str) {
    tracing::error!(pid = offer.pid(), why, "no upgrade: this process carries on");
    offer.note_failure(why);
    // One that has gone cannot be told.
    let _ = offer.wire.say(&FromOld::No { why: why.to_owned() });
    if !closes(&offer.wire, offer.waits.end) {
        let pid = offer.pid();
        tracing::warn!(pid, "the process that did not take over does not end: it is killed");
        kill(offer);
    }
}

/// Kills the new process; gives whether it is dead, or about to be.
fn kill(offer: &Offer) -> bool {
    match kill_process(offer.pid, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => true,
        Err(error) => {
            tracing::error!(pid = offer.pid(), %error, "the new process cannot be killed");
            false
        }
    }
}

/// Whether the other end closes soon; what it says until then is too late.
fn closes(wire: &Wire, patience: Duration) -> bool {
    for _ in 0..LAST_WORDS {
        match wire.hear::<FromNew>(patience) {
            Ok(_) | Err(WireError::Unknown(_)) => {}
            Err(WireError::Closed | WireError::Io(_)) => return true,
            Err(WireError::Silent(_) | WireError::TooLong(_)) => return false,
        }
    }
    false
}

fn out_of_place(message: &FromNew) -> String {
    format!("it said {}, which has no place here", message.kind())
}

const LAST_WORDS: usize = 16;
const TARGETS_AT_ONCE: usize = 200;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;
    use std::path::Path;
    use std::thread;

    use super::super::{Door, Takeover};
    use super::*;
    use crate::core::model::ListenerName;

    /// What the new process does once it has the sockets.
    fn between(
        new: impl FnOnce(Takeover) -> bool + Send + 'static,
        old: impl FnOnce(&Offer, &[(SocketOf, BorrowedFd<'_>)]),
    ) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.upgrade.sock");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut door = Door::make(&path, &runtime, Vec::new()).expect("made");
        door.show().expect("shown");
        let begun = thread::spawn(move || begin(&path).is_some_and(new));
        let offer = runtime.block_on(door.next()).expect("an offer");
        let name: ListenerName = "public".parse().expect("valid");
        let (public, admin) = (socket(), socket());
        let sockets =
            [(SocketOf::Listener(name), public.as_fd()), (SocketOf::Admin, admin.as_fd())];
        old(&offer, &sockets);
        drop(offer);
        begun.join().expect("no panic")
    }

    fn begin(path: &Path) -> Option<Takeover> {
        let mut takeover = Takeover::begin(path).expect("let in")?;
        let sockets = takeover.sockets();
        assert_eq!(sockets.listeners.len(), 1);
        assert!(sockets.api.is_some() && sockets.metrics.is_none());
        Some(takeover)
    }

    fn socket() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("bound")
    }

    #[test]
    fn a_process_that_is_ready_takes_over() {
        let alone = between(
            |takeover| takeover.pause().is_ok() && takeover.ready().is_ok(),
            |offer, sockets| assert_eq!(give(offer, sockets, Vec::new), Ok(())),
        );
        assert!(alone);
    }

    #[test]
    fn a_process_that_gives_up_is_told_apart_from_one_that_breaks_off() {
        between(
            |takeover| {
                takeover.fail("port 80 is taken");
                false
            },
            |offer, sockets| {
                let kept = give(offer, sockets, || panic!("nothing has to be paused"));
                assert_eq!(kept, Err("port 80 is taken".to_owned()));
                dismiss(offer, "too late");
            },
        );
        between(
            |takeover| takeover.pause().is_err(),
            |offer, sockets| {
                let kept = give(offer, sockets, Vec::new);
                assert!(kept.is_err_and(|why| why.contains("closed")));
            },
        );
    }

    #[test]
    fn a_process_that_is_ready_too_late_is_told_so() {
        let carried_on = between(
            |takeover| takeover.pause().is_ok() && takeover.ready().is_ok(),
            |offer, sockets| {
                for (of, socket) in sockets {
                    let said = offer.wire.say_with(&FromOld::Socket(of.clone()), Some(*socket));
                    said.expect("said");
                }
                offer.wire.say(&FromOld::AllSockets).expect("said");
                let heard = offer.wire.hear::<FromNew>(offer.waits.end).expect("heard");
                assert_eq!(heard, FromNew::Pause);
                offer.wire.say(&FromOld::Paused).expect("said");
                dismiss(offer, "too late");
            },
        );
        assert!(!carried_on);
    }
}
