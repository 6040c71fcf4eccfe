//! What the two processes say to each other. Fields that a release does not know are ignored, so
//! that another one may say more; what must be understood raises [`PROTOCOL`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::core::model::ListenerName;

use super::health::KnownTarget;

/// The conversation that this release knows.
pub(super) const PROTOCOL: u32 = 2;

/// What a new process, or the command that starts one, says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromNew {
    /// Who serves? Answered with `serving`, and the end of the conversation.
    Ask,
    /// Asks for the sockets.
    Take {
        /// The conversation that it knows.
        protocol: u32,
        /// Its release.
        version: String,
    },
    /// It has its addresses, and needs the store.
    Pause,
    /// It serves.
    Ready,
    /// It gives up.
    Failed {
        /// Why.
        why: String,
    },
    /// It has heard `yours`, and serves alone from now on.
    Taken,
}

/// What the process says that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromOld {
    /// Who serves; its standard error comes with it, for the log of a successor.
    Serving(Serving),
    /// A listening socket comes with it.
    Socket(SocketOf),
    /// That was the last socket.
    AllSockets,
    /// Some of what is known of targets.
    Targets(Vec<KnownTarget>),
    /// The store is closed.
    Paused,
    /// Nothing is handed over, or not any longer.
    No {
        /// Why.
        why: String,
    },
    /// The new process may serve alone, and does once it has said `taken`.
    Yours,
}

/// The process that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serving {
    /// Its id.
    pub(super) pid: u32,
    /// Its release.
    pub(super) version: String,
    /// Whether an upgrade is under way.
    pub(super) busy: bool,
    /// The last process that did not succeed it, and why; `None` if there was none.
    pub(super) failed: Option<FailedSuccessor>,
    /// Where it listens; `None` if its release does not say so.
    #[serde(default)]
    pub(super) holds: Option<Vec<SocketAddr>>,
}

/// A process that wanted to take over and did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FailedSuccessor {
    /// Its id.
    pub(super) pid: u32,
    /// Why it did not.
    pub(super) why: String,
}

/// What a socket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::app) enum SocketOf {
    /// A listener.
    Listener(ListenerName),
    /// The admin API.
    Admin,
    /// The metrics alone.
    Metrics,
}

impl FromOld {
    /// What kind of message it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Serving(_) => "serving",
            Self::Socket(_) => "socket",
            Self::AllSockets => "all_sockets",
            Self::Targets(_) => "targets",
            Self::Paused => "paused",
            Self::No { .. } => "no",
            Self::Yours => "yours",
        }
    }
}

impl FromNew {
    /// What kind of message it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Take { .. } => "take",
            Self::Pause => "pause",
            Self::Ready => "ready",
            Self::Failed { .. } => "failed",
            Self::Taken => "taken",
        }
    }
}
