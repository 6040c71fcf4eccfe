//! Active health checks: asks every target again and again whether it can serve.
//!
//! One task per target; its results go through [`crate::core::health::Damper`], and a change is
//! set on the [`LiveTarget`], which the routing tables share: the next request sees it. Probing
//! decides nothing else. Every check is a new connection, because a target that can only go on with
//! what it has is not healthy, and every check is bounded in time, in bytes and in how many run at
//! once.

mod check;
mod exchange;
mod grpc;
mod http2;
mod line;
mod prober;
#[cfg(test)]
mod secured;

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::core::model::{HealthCheck, Span};
use crate::core::routing::{Link, LiveTarget};

pub use prober::Prober;

/// A target to watch.
#[derive(Clone, Debug)]
pub struct ProbeTarget {
    /// The target whose health is set.
    pub target: Arc<LiveTarget>,
    /// How it is checked.
    pub check: HealthCheck,
    /// How its group is spoken to.
    pub link: Arc<Link>,
}

/// What the checks of a target came to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// How many checks there were.
    pub checks: u32,
    /// Whether the last check passed.
    pub passed: bool,
    /// Why the last check that failed did so; `None` if none has failed yet.
    pub last_failure: Option<ProbeFailure>,
}

/// Why a check failed, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// No connection for another reason.
    #[error("cannot connect: {kind}")]
    Unreachable {
        /// The reason.
        kind: io::ErrorKind,
    },
    /// The check was not over in time.
    #[error("timeout after {after}")]
    Timeout {
        /// The time it had.
        after: Span,
    },
    /// No handshake: the target's certificate is not to be believed, or it speaks no TLS.
    #[error("TLS: {text}")]
    Tls {
        /// What was wrong, shortened.
        text: String,
    },
    /// Answered with a status that does not count as healthy.
    #[error("status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer broke off, or was not HTTP.
    #[error("broken answer: {text}")]
    Broken {
        /// What was wrong, shortened.
        text: String,
    },
    /// The call of the gRPC health protocol failed.
    #[error("grpc-status {status}")]
    Grpc {
        /// The status, shortened.
        status: String,
    },
    /// The gRPC health protocol says something other than `SERVING`.
    #[error("not serving: {status}")]
    NotServing {
        /// What it says.
        status: &'static str,
    },
    /// The configured path or host cannot be sent.
    #[error("cannot be asked: {text}")]
    Unsendable {
        /// What was wrong, shortened.
        text: String,
    },
}

impl ProbeFailure {
    fn broken(error: &impl fmt::Display) -> Self {
        Self::Broken { text: shortened(error) }
    }

    fn tls(error: &impl fmt::Display) -> Self {
        Self::Tls { text: shortened(error) }
    }

    fn unsendable(error: &impl fmt::Display) -> Self {
        Self::Unsendable { text: shortened(error) }
    }
}

fn shortened(error: &impl fmt::Display) -> String {
    error.to_string().chars().take(TEXT_LIMIT).collect()
}

const TEXT_LIMIT: usize = 120;
