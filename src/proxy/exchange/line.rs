//! The stream of a connection of HTTP/2 to a target, which counts who has spoken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often either side has spoken.
#[derive(Debug, Default)]
pub(super) struct Talk {
    heard: AtomicU64,
    said: AtomicU64,
    is_stuck: AtomicBool,
}

impl Talk {
    /// How often something came from the target.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// How often something was written to it.
    pub(super) fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    /// Whether its system has no room for more: what is asked of it now it will not read for a while.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// What came of a write.
    fn note(&self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.said.fetch_add(1, Ordering::Relaxed);
        } else {
            self.is_stuck.store(true, Ordering::Relaxed);
        }
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    talk: Arc<Talk>,
}

impl Line {
    /// A stream, and what is said on it.
    pub(super) fn over(stream: Stream) -> (Self, Arc<Talk>) {
        let talk = Arc::new(Talk::default());
        (Self { stream, talk: Arc::clone(&talk) }, talk)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.talk.heard.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.talk.note(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // What was written before lies in buffers that only this empties.
        self.talk.is_stuck.store(flushed.is_pending(), Ordering::Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.talk.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
