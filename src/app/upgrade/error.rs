//! Why an upgrade did not come about.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::wire::WireError;

/// Why a process did not take over; the one that runs carries on.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum TakeoverError {
    /// The configuration keeps its state in memory.
    #[error("the store is in memory: another process cannot take it over (set `store.path`)")]
    InMemory,
    /// There is a socket, and no way through it.
    #[error("cannot reach the process that runs, at {}: {error}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The process that runs has refused, or has changed its mind.
    #[error("the process that runs carries on: {0}")]
    Refused(String),
    /// It said something that has no place here.
    #[error("the process that runs said {0}, which has no place here")]
    OutOfPlace(&'static str),
    /// It sends sockets without end, or messages without sockets.
    #[error("the process that runs hands over what are no sockets: {0}")]
    Sockets(String),
    /// It cannot be heard.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The process that runs may have reloaded the file meanwhile.
    #[error("the configuration file has changed since it was read: ask for the upgrade again")]
    Changed,
    /// The file that was read without mistakes has some now.
    #[error("the configuration file has changed since it was read, and has mistakes now: {0}")]
    Mistaken(String),
    /// The process that has just started does not answer.
    #[error("the new process does not serve: {0}")]
    NotServing(String),
}

/// Why `tidegate upgrade` did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The configuration keeps its state in memory.
    #[error("the store is in memory: another process cannot take it over (set `store.path`)")]
    InMemory,
    /// Nobody can be reached.
    #[error(
        "no process can be asked at {}: {why}; start one with `tidegate serve`, or ask as the \
         user that it runs as",
        path.display()
    )]
    NotRunning {
        /// The socket on which it was looked for.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// Another upgrade is under way.
    #[error("process {pid} is being upgraded already")]
    Busy {
        /// The process that serves.
        pid: u32,
    },
    /// The new process cannot be started.
    #[error("cannot start {}: {error}", binary.display())]
    Start {
        /// What was to be started.
        binary: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The new process has ended.
    #[error("the new process {pid} ended with {status}: {why}; process {old} carries on")]
    Ended {
        /// The new process.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// What it told the other one, or where to look.
        why: String,
        /// The process that serves.
        old: u32,
    },
    /// The new process took too long.
    #[error("the new process {pid} was not ready in time and was ended; process {old} carries on")]
    TimedOut {
        /// The new process.
        pid: u32,
        /// The process that serves.
        old: u32,
    },
    /// Neither process can be asked.
    #[error(
        "it cannot be told whether process {pid} has taken over from process {old}: look which of \
         them runs"
    )]
    Unclear {
        /// The new process.
        pid: u32,
        /// The process that served before.
        old: u32,
    },
}
