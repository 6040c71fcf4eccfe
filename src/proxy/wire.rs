//! A client's stream as Pingora sees it: the bytes of the socket or of TLS above it, with the
//! connection's own facts attached, bounded where Pingora bounds nothing, and read along by the
//! letter (`inspector`), or by the frame (`wire_frames`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::Connection;
use super::early;
use super::inspector::{Inspector, Misplaced};
use super::substitute::Substitute;
use super::trailers;
use super::wire_frames::WireFrames;
use super::word::Word;

/// What a stream is spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// What its handshake settled; HTTP/1.1 without one.
    AsNegotiated,
    /// HTTP/2 from the first byte on.
    Http2,
}

/// The stream.
#[derive(Debug)]
pub(super) struct Wire {
    io: Stream,
    digest: Arc<ProxyDigest>,
    speaks: Speaks,
    /// How long the client may take to accept what is written.
    patience: Duration,
    /// Runs while a write waits; `None` while none does.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Reads along; `None` where HTTP/2 is spoken.
    inspector: Option<Inspector>,
    /// What was found where it does not belong; nothing is read after it.
    misplaced: Option<Misplaced>,
    /// Under way in the place of what Pingora writes; `None` while it writes for itself.
    substitute: Option<Substitute>,
    /// What a client that waits to be told to go on was told.
    word: Word,
    /// Whether what Pingora writes next is the rest of what it wrote before.
    is_rest: bool,
    /// What is still to be read in the place of a misplaced request line.
    no_request: &'static [u8],
    /// Reads along and adds to what is said; `None` where HTTP/1.1 is spoken.
    frames: Option<Box<WireFrames>>,
}

impl Wire {
    pub(super) fn new(
        io: Stream,
        digest: Arc<ProxyDigest>,
        speaks: Speaks,
        patience: Duration,
        frames: WireFrames,
    ) -> Self {
        let (stalled, misplaced) = (None, None);
        let (inspector, substitute) = (None, None);
        let (word, is_rest) = (Word::default(), false);
        let mut wire = Self {
            io,
            digest,
            speaks,
            patience,
            stalled,
            inspector,
            misplaced,
            substitute,
            word,
            is_rest,
            no_request: NO_REQUEST,
            frames: None,
        };
        if wire.is_http2() {
            wire.frames = Some(Box::new(frames));
        } else {
            wire.inspector = Some(Inspector::default());
        }
        wire
    }

    /// Reads along what came after `before`; what does not belong where it stands, and what follows
    /// it, is not passed on.
    fn inspect(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let Some(inspector) = &mut self.inspector else { return Ok(()) };
        let taken = inspector.take(&buffer.filled()[before..]);
        if let Some(connection) = Connection::behind(&self.digest) {
            for (request, trailers) in inspector.trailers() {
                connection.has_read_trailers(request, trailers);
            }
        }
        let Err((at, misplaced)) = taken else { return Ok(()) };
        buffer.set_filled(before + at);
        self.misplaced = Some(misplaced);
        if at > 0 { Ok(()) } else { self.end(misplaced, buffer) }
    }

    /// Ends a connection there. In the place of a request line comes what Pingora cannot read, so
    /// that it refuses it (`early`), once it has answered what came before; behind that the stream
    /// is over. Inside of a body the connection breaks, and the request with it.
    fn end(&mut self, misplaced: Misplaced, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        tracing::debug!(%misplaced, "a connection ends");
        match misplaced {
            Misplaced::RequestLine => {
                let fits = self.no_request.len().min(buffer.remaining());
                let (now, later) = self.no_request.split_at(fits);
                buffer.put_slice(now);
                self.no_request = later;
                Ok(())
            }
            Misplaced::Chunk | Misplaced::Trailer => {
                Err(io::Error::new(io::ErrorKind::InvalidData, misplaced))
            }
        }
    }

    /// Bounds how long a write waits: Pingora does so for bodies of HTTP/1.1 alone.
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What is written in the place of these bytes of Pingora's; `None` where they go out as they
    /// are.
    fn instead_of(&self, bytes: &[u8]) -> Option<Substitute> {
        if self.is_rest {
            // It may look like anything.
            return None;
        }
        early::instead_of(bytes).or_else(|| trailers::instead_of(bytes))
    }

    /// Writes something of ours in the place of so many bytes of Pingora's.
    fn write_instead(
        &mut self,
        cx: &mut Context<'_>,
        mut substitute: Substitute,
        instead_of: usize,
    ) -> Poll<io::Result<usize>> {
        while !substitute.rest().is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, substitute.rest());
            match self.bound(cx, written) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => substitute.wrote(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.substitute = Some(substitute);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(instead_of))
    }

    /// Whether HTTP/2 is spoken on it.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.selected_alpn_proto(), Some(ALPN::H2))
    }
}

/// Makes no request line of whatever stands before it: none ends in this, and none is this. An empty
/// line is the end of the header that it is in.
const NO_REQUEST: &[u8] = b"-\r\n\r\n";

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(misplaced) = self.misplaced {
            return Poll::Ready(self.end(misplaced, buffer));
        }
        let before = buffer.filled().len();
        let this = &mut *self;
        if let Some(frames) = &mut this.frames {
            return frames.poll_read(&mut this.io, cx, buffer);
        }
        if Pin::new(&mut this.io).poll_read(cx, buffer)?.is_pending() {
            this.word.nothing_came(&mut this.io, cx)?;
            return Poll::Pending;
        }
        this.word.something_came();
        Poll::Ready(this.inspect(buffer, before))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(frames) = &mut this.frames {
            let written = frames.poll_write(&mut this.io, cx, bytes);
            return this.bound(cx, written);
        }
        if self.word.is_being_said() {
            let this = &mut *self;
            let finished = this.word.finish(&mut this.io, cx);
            ready!(self.bound(cx, finished))?;
        }
        let substitute = match self.substitute.take() {
            None if self.inspector.is_some() => self.instead_of(bytes),
            under_way => under_way,
        };
        if let Some(substitute) = substitute {
            return self.write_instead(cx, substitute, bytes.len());
        }
        if self.word.is_repeated_by(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.is_rest = *count < bytes.len();
        }
        self.bound(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = match &mut this.frames {
            Some(frames) => frames.poll_flush(&mut this.io, cx),
            None => Pin::new(&mut this.io).poll_flush(cx),
        };
        this.bound(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.frames {
            Some(frames) => frames.poll_shutdown(&mut this.io, cx),
            None => Pin::new(&mut this.io).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = match &mut this.frames {
            Some(frames) => frames.poll_write_vectored(&mut this.io, cx, parts),
            None => Pin::new(&mut this.io).poll_write_vectored(cx, parts),
        };
        this.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        // So that what stands in a chunk is never written by itself: it may look like the last one.
        true
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        self.io.shutdown().await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.io.id()
    }
}

impl Ssl for Wire {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.io.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.io.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.speaks {
            Speaks::AsNegotiated => self.io.selected_alpn_proto(),
            Speaks::Http2 => Some(ALPN::H2),
        }
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.io.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.io.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.io.get_write_pending_time()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Wire {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.io.try_peek(buffer).await
    }
}
