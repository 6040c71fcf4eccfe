//! An exchange over HTTP/2: one stream of a connection that requests share.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, StatusCode, Uri, Version};
use pingora_core::{Error, ErrorType, Result, RetryType};
use pingora_http::ResponseHeader;
use tokio::sync::mpsc;

use super::courier::{Answer, Incoming, Piece, Sent, interim, interim_answers, malformed};
use super::outgoing::Part;
use super::remainder::Remainder;
use super::trunk::Berth;

/// Puts into a request what HTTP/2 says in its pseudo-headers (RFC 9113, section 8.3.1): the host,
/// which it has no field for.
///
/// # Errors
/// The host is none that a URI could name.
pub(super) fn address(parts: &mut Parts, path: PathAndQuery, is_secure: bool) -> Result<()> {
    let host = parts.headers.remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = authority.filter(|authority| !authority.as_str().contains('@')).and_then(|host| {
        Uri::builder().scheme(scheme).authority(host).path_and_query(path).build().ok()
    });
    let Some(uri) = uri else {
        let what = "a host that no URI can name";
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, what).into_down());
    };
    (parts.uri, parts.version) = (uri, Version::HTTP_2);
    Ok(())
}

/// Sends a request.
pub(super) fn send(berth: &mut Berth, request: Request<()>, has_body: bool) -> Result<Sent> {
    let sent = berth.sender.send_request(request, !has_body);
    let (future, stream) = sent.map_err(broken)?;
    let (hints, interim) = interim_answers();
    let upload = has_body.then(|| Remainder::to_http2(stream));
    Ok(Sent { upload, interim, answer: Box::pin(Coming { future, hints }) })
}

/// An answer that is yet to come.
struct Coming {
    future: ResponseFuture,
    hints: mpsc::Sender<ResponseHeader>,
}

impl Future for Coming {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut has_heard = false;
        // Until the final one is the next to be had: asked for before, it would have these dropped.
        while let Some(heard) = ready!(self.future.poll_informational(cx)) {
            let heard = heard.map_err(broken)?;
            if heard.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(malformed("an upgrade, which HTTP/2 has not")));
            }
            has_heard = true;
            // Those that wait are too many already, and end the exchange.
            let _ = self.hints.try_send(interim(heard.status(), heard.headers()));
        }
        if has_heard {
            // They are passed on in front of it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (head, stream) =
            ready!(Pin::new(&mut self.future).poll(cx)).map_err(broken)?.into_parts();
        let header = ResponseHeader::from(head);
        let length = announced_length(&header.headers)?;
        let body = Body::of(stream, length)?;
        Poll::Ready(Ok(Answer { header, body: Incoming::Http2(body) }))
    }
}

/// The length that an answer announces; `None` if it announces none.
fn announced_length(fields: &HeaderMap) -> Result<Option<u64>> {
    let mut lines = fields.get_all(CONTENT_LENGTH).into_iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let length = first.to_str().ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let length = length.and_then(|digits| digits.parse().ok());
    if length.is_none() || lines.any(|line| line != first) {
        return Err(malformed("a length that is none, or two of them"));
    }
    Ok(length)
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    stream: RecvStream,
    /// How long it will be, as announced; h2 sees to it that it is.
    length: Option<u64>,
    /// Whether some of it has come.
    has_come: bool,
    is_over: bool,
}

impl Body {
    fn of(stream: RecvStream, length: Option<u64>) -> Result<Self> {
        let mut body = Self { stream, length, has_come: false, is_over: false };
        if body.stream.is_end_stream() {
            // A reset looks the same from outside.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            match body.stream.poll_data(&mut cx) {
                Poll::Ready(None) => body.is_over = true,
                Poll::Ready(Some(Err(error))) => return Err(broken(error)),
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {
                    return Err(malformed("a body behind the end of an answer"));
                }
            }
        }
        Ok(body)
    }

    /// Whether nothing follows the header.
    pub(super) fn is_none(&self) -> bool {
        self.is_over && !self.has_come
    }

    /// How long it is; `None` if that is not known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length.or_else(|| self.is_none().then_some(0))
    }

    /// The next part of it; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>> {
        if self.is_over {
            return Ok(None);
        }
        // A reset that comes behind the end is not seen: whoever has answered may want no more of the
        // request (RFC 9113, section 8.1).
        if let Some(data) = poll_fn(|cx| self.stream.poll_data(cx)).await {
            let data = data.map_err(broken)?;
            self.has_come = true;
            // The part that is under way is all that the window does not count.
            self.stream.flow_control().release_capacity(data.len()).map_err(broken)?;
            return Ok(Some(Piece::Data(data)));
        }
        let trailers = poll_fn(|cx| self.stream.poll_trailers(cx)).await.map_err(broken)?;
        self.is_over = true;
        Ok(trailers.map(Piece::Trailers))
    }
}

/// A part of a request's body on its way into a stream, as far as the target's window lets it.
#[derive(Debug)]
pub(super) struct Outflow {
    stream: SendStream<Bytes>,
    rest: Bytes,
    /// The trailers, which may be none; `None` if more parts follow, or once it has ended.
    end: Option<HeaderMap>,
}

impl Outflow {
    pub(super) fn to(stream: SendStream<Bytes>) -> Self {
        Self { stream, rest: Bytes::new(), end: None }
    }

    pub(super) fn give(&mut self, part: Part) {
        (self.rest, self.end) = (part.bytes, part.end);
    }

    /// Whether the stream has all that was given.
    pub(super) fn is_taken(&self) -> bool {
        self.rest.is_empty() && self.end.is_none()
    }

    /// Ready once the stream has all that was given; with `false` if it takes no more.
    pub(super) fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.rest.is_empty() {
            self.stream.reserve_capacity(self.rest.len());
            let room = self.stream.capacity();
            if room == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return Poll::Ready(false),
                }
            }
            let next = self.rest.split_to(room.min(self.rest.len()));
            let is_last =
                self.rest.is_empty() && self.end.as_ref().is_some_and(HeaderMap::is_empty);
            if is_last {
                self.end = None;
            }
            if self.stream.send_data(next, is_last).is_err() {
                return Poll::Ready(false);
            }
        }
        let ended = match self.end.take() {
            None => Ok(()),
            Some(trailers) if trailers.is_empty() => self.stream.send_data(Bytes::new(), true),
            Some(trailers) => self.stream.send_trailers(trailers),
        };
        Poll::Ready(ended.is_ok())
    }
}

/// A stream that has failed, or its connection.
fn broken(error: h2::Error) -> Box<Error> {
    // What a connection that ends has not taken is told so, whatever it ends for (RFC 9113, section 6.8).
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    let is_untaken = error.is_remote() && (error.is_go_away() || is_refused);
    let is_io = error.is_io();
    let kind = if is_io { ErrorType::ConnectionClosed } else { ErrorType::H2Error };
    let mut error = Error::because(kind, "an exchange with a target", error).into_up();
    if is_untaken {
        // Nothing was done about it (RFC 9113, section 8.7).
        error.set_retry(true);
    } else if is_io {
        error.retry = RetryType::ReusedOnly;
    }
    error
}
