//! What a client's stream (`wire`) does where HTTP/2 is spoken on it: frames that carry nothing are
//! counted (`flood`), requests get the tags of their streams (`tagger`), and what h2 has no words for
//! is said between its own (`frame_writer`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::telemetry::Recorder;

use super::flood::FloodGuard;
use super::frame_writer::FrameWriter;
use super::open_streams::OpenStreams;
use super::tagger::Tagger;

/// The frames of one connection, in both directions.
#[derive(Debug)]
pub(super) struct WireFrames {
    guard: FloodGuard,
    streams: Arc<OpenStreams>,
    tagger: Tagger,
    /// What was read and did not fit into the reader's buffer.
    rest: Vec<u8>,
    /// How much of that was given.
    given: usize,
    writer: FrameWriter,
}

impl WireFrames {
    /// Those of a connection that begins.
    pub(super) fn new(
        guard: FloodGuard,
        streams: &Arc<OpenStreams>,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self {
            guard,
            streams: Arc::clone(streams),
            tagger: Tagger::new(Arc::clone(streams)),
            rest: Vec::new(),
            given: 0,
            writer: FrameWriter::new(Arc::clone(streams), recorder),
        }
    }

    /// Reads, and says what waits to be said: h2 reads whenever its task is woken.
    pub(super) fn poll_read(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.streams.wakes(cx.waker());
        self.writer.speak(io, cx)?;
        loop {
            if buffer.remaining() == 0 || self.give(buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Some(read) = self.guard.instead(buffer) {
                return Poll::Ready(read);
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut *io).poll_read(cx, buffer))?;
            self.guard.sent(buffer, before);
            self.writer.client_sent(&buffer.filled()[before..]);
            if self.read(buffer, before) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Tags what is in the buffer after `before`; `false` if nothing of it can be passed on as yet.
    fn read(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let came = &buffer.filled()[before..];
        if came.is_empty() {
            self.tagger.end(&mut self.rest);
            self.give(buffer);
            return true;
        }
        let plain = self.tagger.sent(came, &mut self.rest);
        buffer.set_filled(before + plain);
        self.give(buffer) || plain > 0
    }

    /// Gives what did not fit before, as far as it does now; `false` if there is nothing.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.rest[self.given..];
        if left.is_empty() {
            return false;
        }
        let now = &left[..left.len().min(buffer.remaining())];
        buffer.put_slice(now);
        self.given += now.len();
        if self.given == self.rest.len() {
            self.given = 0;
            self.rest.clear();
            // An idle connection keeps no more room for it than for a small request.
            self.rest.shrink_to(KEPT);
        }
        true
    }

    /// Writes bytes of h2's; gives how many of them were taken.
    pub(super) fn poll_write(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.writer.poll_write(io, cx, bytes))?;
        self.guard.answered(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// The same for bytes in several parts.
    pub(super) fn poll_write_vectored(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.writer.poll_write_vectored(io, cx, parts))?;
        let mut left = count;
        for part in parts {
            let here = left.min(part.len());
            self.guard.answered(&part[..here]);
            left -= here;
        }
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_flush(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.writer.poll_flush(io, cx)
    }

    /// Ends the sending half, once everything before its end is written.
    pub(super) fn poll_shutdown(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.writer.write_pending(io, cx))?;
        self.guard.shutdown(io, cx)
    }
}

/// How much room is kept for what did not fit.
const KEPT: usize = 512;
