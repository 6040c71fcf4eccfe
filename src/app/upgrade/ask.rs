//! Asking who serves.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::message::{FromNew, FromOld, Serving};
use super::wire::Wire;

/// Asks the process behind a socket who it is; its standard error comes with the answer.
///
/// # Errors
/// A sentence: nobody is there, or does not answer.
pub(super) fn ask(path: &Path) -> Result<(Serving, Option<OwnedFd>), String> {
    let stream = UnixStream::connect(path).map_err(|error| error.to_string())?;
    let asked = Wire::over(stream).and_then(|wire| {
        wire.say(&FromNew::Ask)?;
        wire.hear_with(PATIENCE)
    });
    match asked.map_err(|error| error.to_string())? {
        (FromOld::Serving(serving), log) => Ok((serving, log)),
        (FromOld::No { why }, _) => Err(why),
        (
            other @ (FromOld::Socket(_)
            | FromOld::AllSockets
            | FromOld::Targets(_)
            | FromOld::Paused
            | FromOld::Yours),
            _,
        ) => Err(format!("it said {}, which has no place here", other.kind())),
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
