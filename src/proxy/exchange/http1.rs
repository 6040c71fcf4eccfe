//! An exchange over HTTP/1.1: hyper speaks it on a connection that Pingora made, and gives the
//! connection back when both messages are whole.
//!
//! It runs with the exchange, in the same task: nothing is spawned, and with the exchange it ends.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming as HyperBody};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::ext::{ReasonPhrase, on_informational};
use hyper_util::rt::TokioIo;
use pingora_core::protocols::Stream;
use pingora_core::{Error, ErrorType, Result, RetryType};
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::courier::{Answer, Incoming, Piece, Sent, interim, interim_answers};
use super::outgoing::Outgoing;
use super::remainder::Remainder;

/// Sends a request.
pub(super) fn send(
    sender: &mut SendRequest<Outgoing>,
    mut request: Request<()>,
    has_body: bool,
) -> Sent {
    let (hints, heard) = interim_answers();
    on_informational(&mut request, move |answer| {
        // Those that wait are too many already, and end the exchange.
        let _ = hints.try_send(interim(answer.status(), answer.headers()));
    });
    let (upload, body) = if has_body {
        let (parts, body) = Outgoing::coming();
        (Some(Remainder::to_http1(parts)), body)
    } else {
        (None, Outgoing::Over)
    };
    let answer = sender.send_request(request.map(|()| body));
    let answer = Box::pin(async move {
        let (head, body) = answer.await.map_err(broken)?.into_parts();
        let reason = head.extensions.get::<ReasonPhrase>().cloned();
        let mut header = ResponseHeader::from(head);
        if let Some(reason) = reason.as_ref().and_then(|r| std::str::from_utf8(r.as_bytes()).ok()) {
            header.set_reason_phrase(Some(reason))?;
        }
        Ok(Answer { header, body: Incoming::Http1(body) })
    });
    Sent { upload, interim: heard, answer }
}

/// How long an answer's body is; `None` if that is not known.
pub(super) fn length_of(body: &HyperBody) -> Option<u64> {
    body.size_hint().exact()
}

/// The next part of an answer's body; `None` at its end.
pub(super) async fn next_of(body: &mut HyperBody) -> Result<Option<Piece>> {
    let Some(frame) = body.frame().await else { return Ok(None) };
    Ok(match frame.map_err(broken)?.into_data() {
        Ok(data) => Some(Piece::Data(data)),
        Err(other) => other.into_trailers().ok().map(Piece::Trailers),
    })
}

/// A connection to a target that has failed, or what came over it.
pub(super) fn broken(error: hyper::Error) -> Box<Error> {
    // Nothing of the request went out: its connection had ended before.
    let is_unsent = error.is_canceled();
    let is_closed = error.is_incomplete_message() || error.is_closed() || is_unsent;
    let kind = if error.is_parse() {
        ErrorType::InvalidHTTPHeader
    } else if is_closed {
        ErrorType::ConnectionClosed
    } else {
        ErrorType::ReadError
    };
    let cause = std::error::Error::source(&error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    // The system's word, and not one of ours.
    let is_reset = cause.is_some_and(|cause| cause.raw_os_error().is_some());
    let mut error = Error::because(kind, "an exchange with a target", error).into_up();
    if is_unsent {
        error.set_retry(true);
    } else if is_closed || is_reset {
        error.retry = RetryType::ReusedOnly;
    }
    error
}

/// The connection of an exchange.
#[derive(Debug)]
pub(super) struct Leg {
    /// `None` once nothing goes over it any more.
    connection: Option<Connection<TokioIo<Line>, Outgoing>>,
}

impl Leg {
    /// The leg over a connection that stands, and what takes its request.
    ///
    /// # Errors
    /// Hyper has no use for the connection.
    pub(super) async fn over(stream: Stream) -> hyper::Result<(Self, SendRequest<Outgoing>)> {
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER).max_header_size(BUFFER).max_headers(MAX_FIELDS);
        let line = TokioIo::new(Line { stream, is_stuck: false, is_broken: false });
        let (sender, connection) = builder.handshake(line).await?;
        Ok((Self { connection: Some(connection) }, sender))
    }

    /// Does work that needs the connection to go on.
    pub(super) async fn driven<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.drive(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// The connection, for another request; `None` if it can carry none.
    pub(super) async fn end(mut self, mut sender: SendRequest<Outgoing>) -> Option<Stream> {
        let is_ready = poll_fn(|cx| {
            self.drive(cx);
            // Whoever is not ready by now has something left to read or to write.
            Poll::Ready(matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
        });
        if !is_ready.await {
            return None;
        }
        drop(sender);
        let mut connection = self.connection?;
        let ended = poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx)));
        if !matches!(ended.await, Poll::Ready(Ok(()))) {
            return None;
        }
        let parts = connection.into_parts();
        let line = parts.io.into_inner();
        (parts.read_buf.is_empty() && !line.is_stuck && !line.is_broken).then_some(line.stream)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        // How it ended is told to the exchange.
        if let Some(connection) = &mut self.connection
            && connection.poll_without_shutdown(cx).is_ready()
        {
            // What still waits for something is told that nothing comes.
            self.connection = None;
        }
    }
}

/// A connection to a target that knows whether bytes are left that it could not take.
#[derive(Debug)]
struct Line {
    stream: Stream,
    is_stuck: bool,
    /// The target takes no more. Its answer may have come all the same, so that it is reading that
    /// tells: what is written from then on is lost.
    is_broken: bool,
}

impl Line {
    /// What came of a write of so many bytes, as hyper is told.
    fn note<T>(&mut self, written: Poll<io::Result<T>>, all: T) -> Poll<io::Result<T>> {
        self.is_stuck = written.is_pending();
        self.is_broken |= matches!(written, Poll::Ready(Err(_)));
        if self.is_broken { Poll::Ready(Ok(all)) } else { written }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = parts.iter().map(|part| part.len()).sum();
        if self.is_broken {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How much is kept of what was read and of what is written; the header of an answer and its trailers
/// have to fit, which are bounded more closely than this (`answer_bounds`).
const BUFFER: usize = 320 * 1_024;
/// The most fields in a header and among trailers: as many as Pingora takes.
const MAX_FIELDS: usize = 256;
