//! The thread that writes the access log.
//!
//! Lines are gathered and written together, at the latest after a fifth of a second. The buffer is its own
//! and not `BufWriter`'s, which keeps what it cannot write: here lines that the file does not take
//! are dropped and counted one by one, and a line of which only the beginning was taken ends where
//! the next one begins.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::clock::Clock;
use crate::telemetry::Recorder;

use super::access_record::Record;

/// What waits for the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// A request to be written.
    Line(Box<Record>),
    /// Nothing: there is an order to look at.
    Wake,
}

/// What the writer is told to do, beside the queue, which may be full.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Open the file anew.
    pub(super) reopen: AtomicBool,
    /// Write what waits, and end.
    pub(super) close: AtomicBool,
}

/// The writer.
#[derive(Debug)]
pub(super) struct AccessWriter {
    path: PathBuf,
    file: File,
    queue: Receiver<Message>,
    orders: Arc<Orders>,
    recorder: Arc<Recorder>,
    clock: Clock,
    /// Whole lines that are not written yet.
    pending: Vec<u8>,
    /// Since when the first of them waits.
    since_us: u64,
    /// Whether the file ends inside a line.
    torn: bool,
    /// Whether the last write failed, which was told.
    failing: bool,
}

impl AccessWriter {
    /// A writer that appends to a file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(
        path: &Path,
        queue: Receiver<Message>,
        orders: Arc<Orders>,
        recorder: Arc<Recorder>,
        clock: Clock,
    ) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            queue,
            orders,
            recorder,
            clock,
            pending: Vec::with_capacity(TOGETHER),
            since_us: 0,
            torn: false,
            failing: false,
        })
    }

    /// Writes until it is told to close, or nobody can send any more. Blocks.
    pub(super) fn run(mut self) {
        loop {
            let received = self.queue.recv_timeout(self.patience());
            // First the order: what is sent after it goes to the new file.
            if self.orders.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            match received {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.orders.close.load(Ordering::Acquire) {
                while let Ok(message) = self.queue.try_recv() {
                    self.take(message);
                }
                break;
            }
            if self.patience().is_zero() {
                self.flush();
            }
        }
        self.flush();
    }

    /// How long the lines gathered may still wait.
    fn patience(&self) -> Duration {
        if self.pending.is_empty() {
            return FLUSH;
        }
        let waited = self.clock.mono_us().saturating_sub(self.since_us);
        FLUSH.saturating_sub(Duration::from_micros(waited))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(record) => {
                if self.pending.is_empty() {
                    self.since_us = self.clock.mono_us();
                }
                record.write_to(&mut self.pending);
                if self.pending.len() >= TOGETHER {
                    self.flush();
                }
            }
            Message::Wake => {}
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let written = self.mend().map_err(|error| (0, error));
        let written = written.and_then(|()| write_all(&mut self.file, &self.pending));
        match written {
            Ok(()) => self.failing = false,
            Err((taken, error)) => {
                let (before, rest) = self.pending.split_at(taken);
                if let Some(last) = before.last() {
                    self.torn = *last != b'\n';
                }
                let lost = rest.iter().filter(|byte| **byte == b'\n').count();
                self.recorder.add_unlogged(u64::try_from(lost).unwrap_or(u64::MAX));
                self.complain(&error);
            }
        }
        self.pending.clear();
    }

    /// Ends a line of which only the beginning was written.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            write_all(&mut self.file, b"\n").map_err(|(_, error)| error)?;
            self.torn = false;
        }
        Ok(())
    }

    fn reopen(&mut self) {
        self.flush();
        match open(&self.path) {
            Ok(file) => {
                (self.file, self.torn) = (file, false);
                tracing::info!(path = %self.path.display(), "access log opened anew");
            }
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "access log not opened anew: the old file goes on");
            }
        }
    }

    /// Says once that the file cannot be written: a full disk must not fill the other log, too.
    fn complain(&mut self, error: &io::Error) {
        if !self.failing {
            let path = self.path.display();
            tracing::error!(%path, %error, "the access log cannot be written: lines are dropped");
        }
        self.failing = true;
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)
}

/// Writes everything, or gives how many bytes were written, and what prevented the rest.
fn write_all(file: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut taken = 0;
    while taken < bytes.len() {
        match file.write(&bytes[taken..]) {
            Ok(0) => return Err((taken, ErrorKind::WriteZero.into())),
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((taken, error)),
        }
    }
    Ok(())
}

/// How long a line waits for others to be written with.
const FLUSH: Duration = Duration::from_millis(200);
/// How many bytes are written together at most, give or take a line.
const TOGETHER: usize = 64 * 1_024;
/// Readable by the group that collects logs, and by nobody else.
const MODE: u32 = 0o640;
