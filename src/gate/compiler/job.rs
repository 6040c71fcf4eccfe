//! One compilation as its parent sees it: a process that is started, waited for with a deadline,
//! and asked how it ended.
//!
//! Nothing passes through a pipe: what the process reads and says are files in its folder, so that
//! neither can make the other wait.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::artefacts::CACHE;
use super::child::{INVALID, NOT_HERE, TOO_LARGE};
use super::limits::CompileLimits;
use super::{CompileError, GateError};
use crate::clock::Clock;
use crate::gate::words;

/// The command that this binary carries out to compile.
pub(super) const COMMAND: &str = "compile-gate";

/// This very binary, also after its file was replaced: another one would compile for itself.
const OWN_BINARY: &str = "/proc/self/exe";

/// How often it is seen whether the process has ended.
const LOOK: Duration = Duration::from_millis(5);
/// The most that is read of what the process said.
const SAID_BYTES: u64 = 8 << 10;

/// A compilation to be done.
pub(super) struct Job<'a> {
    pub(super) folder: &'a Path,
    pub(super) limits: CompileLimits,
    pub(super) clock: Clock,
    /// Set when nobody waits for it any more.
    pub(super) stopped: &'a AtomicBool,
}

impl Job<'_> {
    /// Compiles; the native code is in the cache of the folder then. Blocks.
    pub(super) fn run(&self, bytes: &[u8]) -> Result<(), GateError> {
        let (input, output) = (self.folder.join("component.wasm"), self.folder.join("said"));
        let host = |error: io::Error| CompileError::Host { text: error.to_string() };
        fs::write(&input, bytes).map_err(host)?;
        let mut child = self.start(&input, &output).map_err(host)?;
        let status = self.wait(&mut child);
        if status.is_err() {
            end(&mut child);
        }
        match refusal(status?, &said(&output), self.limits) {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }

    fn start(&self, input: &Path, output: &Path) -> io::Result<Child> {
        Command::new(OWN_BINARY)
            .args(before_command())
            .arg(COMMAND)
            .arg(self.folder.join(CACHE))
            .arg(self.limits.to_string())
            .env_clear()
            .stdin(File::open(input)?)
            .stdout(Stdio::null())
            .stderr(File::create(output)?)
            .spawn()
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, CompileError> {
        let end = self.clock.mono().plus(self.limits.time());
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(CompileError::Host { text: error.to_string() }),
            }
            if self.stopped.load(Ordering::Relaxed) {
                return Err(CompileError::Stopped);
            }
            if self.clock.mono() >= end {
                return Err(CompileError::Time { limit: self.limits.time() });
            }
            thread::sleep(LOOK);
        }
    }
}

/// What stands before the command: nothing.
#[cfg(not(test))]
fn before_command() -> [OsString; 0] {
    []
}

/// What stands before the command where this binary is one of tests: which of them to run.
#[cfg(test)]
fn before_command() -> [OsString; 3] {
    let test = "gate::compiler::child::tests::a_command_is_carried_out";
    [test, "--exact", "--nocapture"].map(OsString::from)
}

/// Ends a process and sees it gone.
fn end(child: &mut Child) {
    // It may have ended by itself in the meantime; either way there is one to be seen gone.
    let _ = child.kill();
    let _ = child.wait();
}

fn said(output: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(output).and_then(|file| file.take(SAID_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) => format!("what it said cannot be read: {error}"),
    }
}

/// What the end of the process means; `None` if it did its work.
fn refusal(status: ExitStatus, said: &str, limits: CompileLimits) -> Option<GateError> {
    let too_large = CompileError::TooLarge { limit: limits.native_bytes };
    let no_memory = CompileError::Memory { limit: limits.memory_bytes };
    let by = |signal: Signal| status.signal() == Some(signal.as_raw());
    let refusal = match status.code() {
        Some(0) => return None,
        // A mapping that was refused comes as an error, an allocation that failed ends the process.
        Some(_) if said.contains(NO_MEMORY) => no_memory,
        Some(code) if code == i32::from(INVALID) => return Some(invalid(said)),
        Some(code) if code == i32::from(TOO_LARGE) => too_large,
        Some(code) if code == i32::from(NOT_HERE) => {
            CompileError::Host { text: words::clean(said) }
        }
        None if by(Signal::ABORT) && said.contains(NO_ALLOCATION) => no_memory,
        None if by(Signal::XCPU) => CompileError::Processor { limit: limits.processor() },
        None if by(Signal::XFSZ) => too_large,
        None if by(Signal::KILL) => {
            let text = "it was killed, as the system does when it runs out of memory".to_owned();
            CompileError::Crashed { text }
        }
        Some(_) | None => {
            CompileError::Crashed { text: words::clean(&format!("{status}: {said}")) }
        }
    };
    Some(refusal.into())
}

/// The system's words for memory that cannot be had.
const NO_MEMORY: &str = "Cannot allocate memory";
/// Rust's words for the same.
const NO_ALLOCATION: &str = "memory allocation of";

/// The compiler's reason why a component is none.
fn invalid(said: &str) -> GateError {
    let cut_off = said.contains("out of bounds") || said.contains("unexpected end");
    let hint = if cut_off { " (the file is cut off or damaged)" } else { "" };
    GateError::Invalid { text: words::clean(said) + hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: i32, said: &str) -> String {
        let limits = CompileLimits::default();
        let refusal = refusal(ExitStatus::from_raw(status), said, limits);
        refusal.map_or_else(String::new, |refusal| refusal.to_string())
    }

    #[test]
    fn each_end_of_the_compiler_is_told_for_what_it_was() {
        let exit = |code: u8| i32::from(code) << 8;
        let check = |status: i32, said: &str, expected: &str| {
            let told = told(status, said);
            assert!(told.contains(expected), "{told}\ndoes not contain\n{expected}");
        };
        assert_eq!(told(exit(0), ""), "");
        check(exit(INVALID), "memory64 must be enabled", "not valid: memory64 must be enabled");
        check(exit(INVALID), "unexpected end", "cut off or damaged");
        check(exit(INVALID), "mmap: Cannot allocate memory (os error 12)", "2147483648 bytes");
        check(exit(TOO_LARGE), "9 bytes", "larger than 134217728 bytes");
        check(exit(101), "a panic", "did not come to an end");
        check(Signal::XCPU.as_raw(), "", "more than 1m of processor time");
        check(Signal::XFSZ.as_raw(), "", "larger than 134217728 bytes");
        let aborted = "memory allocation of 13153337360 bytes failed";
        check(Signal::ABORT.as_raw(), aborted, "more than 2147483648 bytes of memory");
        check(Signal::SEGV.as_raw(), "", "signal: 11");
        check(Signal::KILL.as_raw(), "", "it was killed");
    }
}
