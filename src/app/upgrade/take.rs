//! The new process' side: takes over from the one that runs.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::core::model::ListenerName;

use super::TakeoverError;
use super::health::KnownTarget;
use super::message::{FromNew, FromOld, PROTOCOL, SocketOf};
use super::waits::Waits;
use super::wire::{Wire, WireError};

/// A takeover under way; given up, the other process carries on.
#[derive(Debug)]
pub(in crate::app) struct Takeover {
    wire: Wire,
    sockets: Inherited,
    waits: Waits,
}

/// Listening sockets that another process has opened.
#[derive(Debug, Default)]
pub(in crate::app) struct Inherited {
    pub(in crate::app) listeners: Vec<(ListenerName, TcpListener)>,
    pub(in crate::app) api: Option<TcpListener>,
    pub(in crate::app) metrics: Option<TcpListener>,
}

impl Takeover {
    /// Asks the process behind a socket for its listening sockets; `None` if nobody is there.
    ///
    /// # Errors
    /// It refuses, or cannot be understood.
    pub(in crate::app) fn begin(path: &Path) -> Result<Option<Self>, TakeoverError> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => {
                return Err(TakeoverError::Unreachable { path: path.to_owned(), error });
            }
        };
        let wire = Wire::over(stream)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        wire.say(&FromNew::Take { protocol: PROTOCOL, version })?;
        let sockets = Inherited::hear(&wire)?;
        Ok(Some(Self { wire, sockets, waits: Waits::USUAL }))
    }

    /// One under way over a connection, with no sockets.
    #[cfg(test)]
    pub(super) fn over(wire: Wire, waits: Waits) -> Self {
        Self { wire, sockets: Inherited::default(), waits }
    }

    /// The sockets, once.
    pub(in crate::app) fn sockets(&mut self) -> Inherited {
        std::mem::take(&mut self.sockets)
    }

    /// Has the other process let go of the store; gives what it knows of targets.
    ///
    /// # Errors
    /// It does not; it carries on.
    pub(in crate::app) fn pause(&self) -> Result<Vec<KnownTarget>, TakeoverError> {
        self.wire.say(&FromNew::Pause)?;
        let mut known = Vec::new();
        for _ in 0..MOST_MESSAGES {
            match self.wire.hear(PAUSE_TIME)? {
                FromOld::Targets(targets) => known.extend(targets),
                FromOld::Paused => return Ok(known),
                FromOld::No { why } => return Err(TakeoverError::Refused(why)),
                other @ (FromOld::Serving(_)
                | FromOld::Socket(_)
                | FromOld::AllSockets
                | FromOld::Yours) => return Err(TakeoverError::OutOfPlace(other.kind())),
            }
        }
        Err(TakeoverError::OutOfPlace("too much"))
    }

    /// Says that this process serves, and waits for the other one's word that it is alone now. Once
    /// it is, there is no way back.
    ///
    /// # Errors
    /// The other one carries on: this one must give the store back and end.
    pub(in crate::app) fn ready(&self) -> Result<(), TakeoverError> {
        // Whether it was heard shows in the answer.
        let said = self.wire.say(&FromNew::Ready);
        match self.wire.hear(self.waits.answer) {
            Ok(FromOld::Yours) => self.take(),
            Ok(FromOld::No { why }) => Err(TakeoverError::Refused(why)),
            Ok(
                other @ (FromOld::Serving(_)
                | FromOld::Socket(_)
                | FromOld::AllSockets
                | FromOld::Targets(_)
                | FromOld::Paused),
            ) => self.give_up(TakeoverError::OutOfPlace(other.kind())),
            Err(WireError::Closed) => {
                tracing::warn!(?said, "the process before this one died while it handed over");
                Ok(())
            }
            Err(error) => self.give_up(error.into()),
        }
    }

    /// Says that it has taken over.
    fn take(&self) -> Result<(), TakeoverError> {
        match self.wire.say(&FromNew::Taken) {
            // One that has died since needs no word.
            Ok(()) | Err(WireError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hears nothing more from here on, so that a word of the other process that is not there now
    /// never comes, and looks once more: if it came in the meantime, it counts.
    pub(super) fn give_up(&self, why: TakeoverError) -> Result<(), TakeoverError> {
        self.wire.stop_hearing()?;
        for _ in 0..MOST_MESSAGES {
            match self.wire.hear(self.waits.answer) {
                Ok(FromOld::Yours) => return self.take(),
                Ok(FromOld::No { why }) => return Err(TakeoverError::Refused(why)),
                Ok(
                    FromOld::Serving(_)
                    | FromOld::Socket(_)
                    | FromOld::AllSockets
                    | FromOld::Targets(_)
                    | FromOld::Paused,
                )
                | Err(WireError::Unknown(_)) => {}
                Err(
                    WireError::Closed
                    | WireError::Silent(_)
                    | WireError::TooLong(_)
                    | WireError::Io(_),
                ) => break,
            }
        }
        match self.wire.say(&FromNew::Failed { why: why.to_string() }) {
            Err(WireError::Closed) => {
                tracing::warn!(%why, "the process before this one died while it handed over");
                Ok(())
            }
            Ok(()) | Err(_) => Err(why),
        }
    }

    /// Tells the other process why this one gives up.
    pub(in crate::app) fn fail(&self, why: &str) {
        let why: String = why.chars().take(MOST_REASON).collect();
        if let Err(error) = self.wire.say(&FromNew::Failed { why }) {
            // It sees the end of the connection all the same.
            tracing::debug!(%error, "the other process does not hear why");
        }
    }
}

impl Inherited {
    fn hear(wire: &Wire) -> Result<Self, TakeoverError> {
        let mut sockets = Self::default();
        for _ in 0..=MOST_SOCKETS {
            match wire.hear_with(SOCKET_TIME)? {
                (FromOld::Socket(of), Some(socket)) => {
                    sockets.put(of, TcpListener::from(socket))?;
                }
                (FromOld::Socket(_), None) => {
                    let why = "none came with the message".to_owned();
                    return Err(TakeoverError::Sockets(why));
                }
                (FromOld::AllSockets, _) => return Ok(sockets),
                (FromOld::No { why }, _) => return Err(TakeoverError::Refused(why)),
                (
                    other @ (FromOld::Serving(_)
                    | FromOld::Targets(_)
                    | FromOld::Paused
                    | FromOld::Yours),
                    _,
                ) => return Err(TakeoverError::OutOfPlace(other.kind())),
            }
        }
        Err(TakeoverError::Sockets(format!("more than {MOST_SOCKETS}")))
    }

    fn put(&mut self, of: SocketOf, socket: TcpListener) -> Result<(), TakeoverError> {
        // Anything else than a socket of the internet has no such address.
        let found = socket.local_addr();
        found.map_err(|error| TakeoverError::Sockets(error.to_string()))?;
        match of {
            SocketOf::Listener(name) => self.listeners.push((name, socket)),
            SocketOf::Admin => self.api = Some(socket),
            SocketOf::Metrics => self.metrics = Some(socket),
        }
        Ok(())
    }
}

/// Whether an error says that no process is there.
pub(super) fn is_absence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::ConnectionRefused
}

/// More listeners than a configuration can have.
const MOST_SOCKETS: usize = 256;
/// More than it takes to tell of all targets.
const MOST_MESSAGES: usize = 1_000;
/// The most characters of a reason.
const MOST_REASON: usize = 2_000;
/// How long the other process may take for a socket, the first of which waits for its store.
const SOCKET_TIME: Duration = Duration::from_secs(15);
/// How long it may take to end its control side: requests to the admin API, the store, the table
/// file.
const PAUSE_TIME: Duration = Duration::from_secs(30);
