//! The process' own log, which a thread of its own writes.
//!
//! Nobody who has something to say may wait for a reader: a collector that stands still would stop
//! the writer of the control side, and the threads that serve. So lines are copied into a buffer of
//! bounded size, and one thread writes them. A line that finds the buffer full, or that the other
//! end does not take, is dropped and counted. At the end of the process what waits is written,
//! for which there is a moment and no longer.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A way to the log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

/// The thread that writes the log. Dropped, also by a panic, it first writes what waits, as
/// [`Self::close`] does.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    /// `None` once it was told to end.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when there is something to write, or nothing will follow.
    filled: Condvar,
    /// Told when everything is written.
    ended: Condvar,
    /// Lines that nobody will ever read.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    /// Whole lines, one after the other.
    lines: Vec<u8>,
    /// Whether nothing is taken any more.
    closing: bool,
    /// Whether nothing is written any more.
    ended: bool,
}

impl Log {
    /// Starts the thread that writes to this.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<(Self, LogWriter)> {
        let waiting = Waiting { lines: Vec::with_capacity(CAPACITY), closing: false, ended: false };
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            filled: Condvar::new(),
            ended: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let log = Self { shared: Arc::clone(&shared) };
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || own.write_to(Sink { out, is_torn: false }))?;
        Ok((log, LogWriter { shared, thread: Some(thread) }))
    }

    /// Says something: a line with its end, or several. Never waits for a reader.
    pub fn say(&self, text: &str) {
        self.take(text.as_bytes());
    }

    /// How many lines were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn take(&self, text: &[u8]) {
        let mut waiting = self.shared.waiting();
        let takes = !waiting.closing && waiting.lines.len() + text.len() <= CAPACITY;
        if takes {
            waiting.lines.extend_from_slice(text);
        }
        drop(waiting);
        if takes {
            self.shared.filled.notify_one();
        } else {
            self.shared.drop_lines(text);
        }
    }
}

impl Write for Log {
    /// Takes a line, or several, as a whole. Never fails: whoever logs can do nothing about it.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.take(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogWriter {
    /// Writes what waits, and ends; gives whether everything was written. What is said from now on
    /// is dropped. Blocks, for a second at most.
    pub fn close(mut self) -> bool {
        self.end(LAST_MOMENT)
    }

    fn end(&mut self, within: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        let mut waiting = self.shared.waiting();
        waiting.closing = true;
        self.shared.filled.notify_one();
        let waited = self.shared.ended.wait_timeout_while(waiting, within, |w| !w.ended);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let ended = waiting.ended;
        drop(waiting);
        // Otherwise it waits for a reader, and ends with the process.
        ended && thread.join().is_ok()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.end(LAST_MOMENT);
    }
}

impl Shared {
    /// Writes until nothing follows. Blocks.
    fn write_to(&self, mut sink: Sink<impl Write>) {
        let mut lines = Vec::with_capacity(CAPACITY);
        let mut told = 0;
        while self.take_all(&mut lines) {
            let lost = &lines[sink.write(&lines)..];
            if lost.is_empty() {
                let dropped = self.dropped.load(Ordering::Relaxed);
                if dropped > told && self.has_room() {
                    tracing::warn!(lines = dropped - told, "log lines were dropped");
                    told = dropped;
                }
            } else {
                self.drop_lines(lost);
            }
            lines.clear();
        }
        self.waiting().ended = true;
        self.ended.notify_all();
    }

    /// Waits for lines and puts them in the place of none; gives whether there will be any.
    fn take_all(&self, lines: &mut Vec<u8>) -> bool {
        let nothing = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.closing;
        let waited = self.filled.wait_while(self.waiting(), nothing);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.lines, lines);
        !lines.is_empty()
    }

    /// Whether a line more finds its place for sure.
    fn has_room(&self) -> bool {
        let waiting = self.waiting();
        !waiting.closing && waiting.lines.len() <= CAPACITY / 2
    }

    /// Counts what is dropped: lines, or the rest of one.
    fn drop_lines(&self, text: &[u8]) {
        let lines = text.iter().filter(|byte| **byte == b'\n').count().max(1);
        self.dropped.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing leaves it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written to.
#[derive(Debug)]
struct Sink<W> {
    out: W,
    /// Whether it ends inside a line.
    is_torn: bool,
}

impl<W: Write> Sink<W> {
    /// Writes lines; gives how many bytes of them were taken. Blocks.
    fn write(&mut self, lines: &[u8]) -> usize {
        if self.is_torn {
            if self.put(b"\n") == 0 {
                return 0;
            }
            self.is_torn = false;
        }
        let mut taken = 0;
        while taken < lines.len() {
            let part = part_of(&lines[taken..]);
            let put = self.put(part);
            taken += put;
            if put < part.len() {
                break;
            }
        }
        if let Some(last) = lines[..taken].last() {
            self.is_torn = *last != b'\n';
        }
        taken
    }

    /// Writes until everything is taken, or the other end takes no more for good.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.out.write(&bytes[taken..]) {
                Ok(0) => break,
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A pipe or terminal is blocking or not for all who have it open: others may have
                // chosen for us.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN),
                Err(_) => break,
            }
        }
        taken
    }
}

/// As many whole lines as are written at once, or one that is longer than that.
fn part_of(lines: &[u8]) -> &[u8] {
    let at_once = &lines[..lines.len().min(AT_ONCE)];
    let end = |byte: &u8| *byte == b'\n';
    let whole = at_once.iter().rposition(end).or_else(|| lines.iter().position(end));
    &lines[..whole.map_or(lines.len(), |last| last + 1)]
}

/// How many bytes are written at once: so many a pipe takes as a whole, and puts nothing between
/// them of what another process says to it, as in an upgrade (POSIX' `PIPE_BUF` on Linux).
const AT_ONCE: usize = 4_096;
/// How many bytes may wait; as many may be in the hands of the thread.
const CAPACITY: usize = 1 << 20;
/// How long what waits may take to be written when the process ends.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How long a pipe that is full and does not block is left alone.
const AGAIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Keeps what is written; each write waits for its permission, and none may be given any more.
    struct Slow {
        written: Arc<Mutex<Vec<u8>>>,
        permission: Receiver<io::Result<usize>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Nobody is left who could forbid it.
            let most = self.permission.recv().unwrap_or(Ok(usize::MAX))?;
            let taken = bytes.len().min(most);
            self.written.lock().expect("no panic").extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Permit = Sender<io::Result<usize>>;

    fn slow() -> (Log, LogWriter, Permit, Arc<Mutex<Vec<u8>>>) {
        let (permit, permission) = channel();
        let written = Arc::default();
        let out = Slow { written: Arc::clone(&written), permission };
        let (log, writer) = Log::start(out).expect("a thread");
        (log, writer, permit, written)
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().expect("no panic").clone()).expect("UTF-8")
    }

    #[test]
    fn everything_said_is_written_in_order_before_the_end() {
        let (log, writer, permit, written) = slow();
        drop(permit);
        let lines: Vec<String> = (0..1_000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            log.clone().write_all(line.as_bytes()).expect("never fails");
        }
        assert!(writer.close());
        assert_eq!(text(&written), lines.concat());
        assert_eq!(log.dropped(), 0);
        log.say("too late\n");
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn a_panic_writes_what_was_said_before_it() {
        let (log, writer, permit, written) = slow();
        drop(permit);
        let panicked = thread::spawn(move || {
            let _writer = writer;
            log.say("before\n");
            panic!("as wanted");
        });
        assert!(panicked.join().is_err());
        assert_eq!(text(&written), "before\n");
    }

    #[test]
    fn who_logs_never_waits_and_what_finds_no_room_is_counted() {
        let (log, writer, permit, written) = slow();
        let line = "x".repeat(CAPACITY / 8 - 1) + "\n";
        for _ in 0..40 {
            log.say(&line);
        }
        let dropped = log.dropped();
        // One buffer waits, another may be with the thread.
        assert!((24..=32).contains(&dropped), "{dropped}");
        drop(permit);
        assert!(writer.close());
        let lines = u64::try_from(text(&written).lines().count()).expect("few");
        assert_eq!(lines + dropped, 40);
    }

    #[test]
    fn a_line_that_can_never_have_room_is_dropped() {
        let (log, writer, permit, written) = slow();
        drop(permit);
        log.say(&"x\n".repeat(CAPACITY));
        assert_eq!(log.dropped(), u64::try_from(CAPACITY).expect("fits"));
        log.say("short\n");
        assert!(writer.close());
        assert_eq!(text(&written), "short\n");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_for_ever() {
        let (log, mut writer, permit, _) = slow();
        log.say("nobody reads this\n");
        assert!(!writer.end(Duration::from_millis(10)));
        drop(permit);
    }

    #[test]
    fn what_the_other_end_does_not_take_is_counted_and_tears_no_later_line() {
        let (log, writer, permit, written) = slow();
        for taken in [Ok(3), Err(ErrorKind::StorageFull.into())] {
            permit.send(taken).expect("the thread runs");
        }
        log.say("first\n");
        let deadline = 1_000;
        for _ in 0..deadline {
            if log.dropped() == 1 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(log.dropped(), 1);
        drop(permit);
        log.say("second\n");
        assert!(writer.close());
        assert_eq!(text(&written), "fir\nsecond\n");
    }

    #[test]
    fn lines_are_written_whole_so_that_nothing_comes_between_what_is_in_one() {
        /// Keeps each write.
        struct Parts(Vec<Vec<u8>>);

        impl Write for Parts {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.to_vec());
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let short = (0..1_000).map(|number| format!("line {number}\n"));
        let long = "x".repeat(2 * AT_ONCE) + "\n";
        let lines = short.chain([long.clone(), "last\n".to_owned()]).collect::<String>();
        let mut sink = Sink { out: Parts(Vec::new()), is_torn: false };
        assert_eq!(sink.write(lines.as_bytes()), lines.len());
        let parts = sink.out.0;
        assert_eq!(parts.concat(), lines.as_bytes());
        for part in parts {
            assert!(part.len() <= AT_ONCE || part == long.as_bytes(), "{}", part.len());
            assert_eq!(part.last(), Some(&b'\n'));
        }
    }

    #[test]
    fn a_pipe_that_does_not_block_is_tried_again() {
        let (log, writer, permit, written) = slow();
        for again in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
            permit.send(Err(again.into())).expect("the thread runs");
        }
        drop(permit);
        log.say("in the end\n");
        assert!(writer.close());
        assert_eq!(text(&written), "in the end\n");
        assert_eq!(log.dropped(), 0);
    }
}
