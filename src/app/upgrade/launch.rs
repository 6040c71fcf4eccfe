//! `tidegate upgrade`: starts the new process, and waits until it serves.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::UpgradeError;
use super::ask::ask;
use super::door_path;
use super::message::Serving;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::model::Span;

/// What `tidegate upgrade` is told.
#[derive(Clone, Debug)]
pub struct UpgradeOptions {
    /// The configuration file that the new process serves.
    pub file: PathBuf,
    /// What to start; `None` starts the binary that is asked.
    pub binary: Option<PathBuf>,
    /// How long the new process may take until it serves.
    pub timeout: Span,
}

/// An upgrade that came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// The process that serves now.
    pub new_pid: u32,
    /// Its release.
    pub new_version: String,
    /// The process that drains now.
    pub old_pid: u32,
    /// Its release.
    pub old_version: String,
}

/// Starts a process that takes over from the one that runs with a configuration's store, and waits
/// until it does. The new one logs where the old one logs. Blocks.
///
/// # Errors
/// There is nothing to take over from, or the new process did not; the old one carries on.
pub fn upgrade(config: &Config, options: &UpgradeOptions) -> Result<Upgraded, UpgradeError> {
    let path = door_path(&config.store).ok_or(UpgradeError::InMemory)?;
    let asked = ask(&path);
    let (old, log) = asked.map_err(|why| UpgradeError::NotRunning { path: path.clone(), why })?;
    if old.busy {
        return Err(UpgradeError::Busy { pid: old.pid });
    }
    let log = log.map_or_else(Stdio::inherit, Stdio::from);
    let mut child = start(options, log)?;
    let clock = Clock::start();
    let deadline = clock.mono().plus(options.timeout);
    loop {
        if let Some(new) = serves(&path, &child) {
            return Ok(Upgraded {
                new_pid: new.pid,
                new_version: new.version,
                old_pid: old.pid,
                old_version: old.version,
            });
        }
        if let Some(ended) = ended(&path, &mut child, &old) {
            return Err(ended);
        }
        if clock.mono() >= deadline {
            match ask(&path) {
                // Nothing is being handed over, so that nobody needs the new process.
                Ok((serving, _)) if serving.pid == old.pid && !serving.busy => {
                    return Err(give_up(child, &old));
                }
                Ok(_) | Err(_) if clock.mono() >= deadline.plus(HAND_OVER) => {
                    return Err(UpgradeError::Unclear { pid: child.id(), old: old.pid });
                }
                Ok(_) | Err(_) => {}
            }
        }
        sleep(AGAIN);
    }
}

fn start(options: &UpgradeOptions, log: Stdio) -> Result<Child, UpgradeError> {
    let binary = options.binary.clone().map_or_else(std::env::current_exe, Ok);
    let failed = |binary: PathBuf| move |error: io::Error| UpgradeError::Start { binary, error };
    let binary = binary.map_err(failed(PathBuf::from("this binary again")))?;
    Command::new(&binary)
        .args(["serve", "--takeover", "--config"])
        .arg(&options.file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(failed(binary))
}

/// The process behind the door, if it is the new one.
fn serves(path: &Path, child: &Child) -> Option<Serving> {
    let (serving, _) = ask(path).ok()?;
    (serving.pid == child.id()).then_some(serving)
}

/// How the new process ended, if it did.
fn ended(path: &Path, child: &mut Child, old: &Serving) -> Option<UpgradeError> {
    let status = child.try_wait().ok()??;
    let pid = child.id();
    let told = once_idle(path).and_then(|serving| serving.failed);
    let why = match told.filter(|failed| failed.pid == pid) {
        Some(failed) => failed.why,
        None => format!("the log of process {} may say why", old.pid),
    };
    Some(UpgradeError::Ended { pid, status, why, old: old.pid })
}

/// The process that serves, once it has its store back and takes commands again.
fn once_idle(path: &Path) -> Option<Serving> {
    for _ in 0..IDLE_TRIES {
        match ask(path) {
            Ok((serving, _)) if serving.busy => sleep(AGAIN),
            answer => return answer.ok().map(|(serving, _)| serving),
        }
    }
    None
}

fn give_up(mut child: Child, old: &Serving) -> UpgradeError {
    let pid = child.id();
    // It may be gone by now.
    let _ = child.kill();
    let _ = child.wait();
    UpgradeError::TimedOut { pid, old: old.pid }
}

const AGAIN: Duration = Duration::from_millis(50);
const IDLE_TRIES: u32 = 400;
/// More than the longest hand-over takes, which has deadlines of its own.
const HAND_OVER: Span = Span::from_mins(3);
