//! The course of one exchange over a leg that stands: the request with its body goes out while the
//! answer may come already, and the other way round.
//!
//! One part is under way in each direction, so that whoever is slow is waited for by the other side.

use std::pin::pin;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::ext::ReasonPhrase;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result, RetryType};
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp as _, Session};
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::connection::Connection;
use super::super::context::Context;
use super::super::phases::Phases;
use super::super::trailers;
use super::super::word::SILENCE;
use super::interim;
use super::outgoing::{Outgoing, Part};

/// What still has to go out of a request's body; `None` once nothing has.
type Upload = Option<Remainder>;

/// The rest of a request's body, on its way to the target.
#[derive(Debug)]
struct Remainder {
    parts: mpsc::Sender<Part>,
    /// Until when the target has to take the part that it was given; `None` while nobody waits.
    due: Option<Instant>,
}

impl Remainder {
    /// The place of the next part, once the target has taken the one before; `None` if it takes no
    /// more. However often it is dropped and asked again, all of it is one wait.
    ///
    /// # Errors
    /// The target takes longer than it may.
    async fn place(&mut self, limit: Duration) -> Result<Option<mpsc::OwnedPermit<Part>>, Elapsed> {
        let due = *self.due.get_or_insert_with(|| Instant::now() + limit);
        let place = timeout_at(due, self.parts.clone().reserve_owned()).await?;
        self.due = None;
        Ok(place.ok())
    }
}

/// How long a target may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// To answer, and for each part of the answer.
    read: Duration,
    /// To take a part of the request.
    write: Duration,
}

impl Patience {
    fn of(peer: &HttpPeer) -> Self {
        let or_ever = |limit: Option<Duration>| limit.unwrap_or(FOR_EVER);
        Self {
            read: or_ever(peer.options.read_timeout),
            write: or_ever(peer.options.write_timeout),
        }
    }
}

impl Phases {
    /// Carries a request out and its answer back; gives the sender back where both were whole.
    ///
    /// # Errors
    /// There is no answer, or it broke off: by the client or by the target, as the error tells.
    pub(super) async fn carry(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        peer: &HttpPeer,
        mut sender: SendRequest<Outgoing>,
    ) -> Result<Option<SendRequest<Outgoing>>> {
        let patience = Patience::of(peer);
        let mut request = self.onward_request(session, ctx).await?;
        let interim = interim::answers_to(&mut request);
        let (mut upload, body) = if ctx.upload.is_whole() {
            (None, Outgoing::Over)
        } else {
            let (parts, body) = Outgoing::coming();
            (Some(Remainder { parts, due: None }), body)
        };
        let answer = sender.send_request(request.map(|()| body));
        let answer = self.answer(session, ctx, &mut upload, patience, interim, answer).await?;
        let (header, body) = self.answer_header(session, ctx, answer).await?;
        let written = session.write_response_header(Box::new(header), false).await;
        written.map_err(Error::into_down)?;
        let trailers = self.answer_body(session, ctx, &mut upload, patience, body).await?;
        self.end_answer(session, ctx, trailers).await?;
        Ok(upload.is_none().then_some(sender))
    }

    /// Waits for the answer while the request's body goes out.
    async fn answer(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        upload: &mut Upload,
        patience: Patience,
        mut interim: mpsc::Receiver<ResponseHeader>,
        answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
    ) -> Result<Response<Incoming>> {
        let mut answer = pin!(answer);
        let mut silent = pin!(sleep(patience.read));
        let mut is_untouched = true;
        loop {
            let uploads = upload.is_some();
            tokio::select! {
                biased;
                // In front of the final one, also where both came at once.
                Some(header) = interim.recv() => {
                    self.pass_interim(session, ctx, header).await?;
                    silent.set(sleep(patience.read));
                }
                answer = &mut answer => {
                    return answer.map_err(|error| {
                        let is_unsent = is_untouched && error.is_canceled();
                        if is_unsent { unsent(error) } else { broken(error) }
                    });
                }
                passed = self.pass_part(session, ctx, upload, patience) => {
                    passed?;
                    is_untouched = false;
                    silent.set(sleep(patience.read));
                }
                // While the body is on its way it is the client who is waited for.
                () = &mut silent, if !uploads => {
                    return Err(late(ErrorType::ReadTimedout, "the answer"));
                }
            }
        }
    }

    /// Passes an interim answer on, where the client knows them.
    async fn pass_interim(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        mut header: ResponseHeader,
    ) -> Result<()> {
        self.upstream_response_filter(session, &mut header, ctx).await?;
        self.response_filter(session, &mut header, ctx).await?;
        let written = session.write_response_header(Box::new(header), false).await;
        written.map_err(Error::into_down)
    }

    /// Prepares the answer's header for the client.
    async fn answer_header(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        answer: Response<Incoming>,
    ) -> Result<(ResponseHeader, Incoming)> {
        let (head, body) = answer.into_parts();
        let reason = head.extensions.get::<ReasonPhrase>().cloned();
        let mut header = ResponseHeader::from(head);
        if let Some(reason) = reason.as_ref().and_then(|r| std::str::from_utf8(r.as_bytes()).ok()) {
            header.set_reason_phrase(Some(reason))?;
        }
        if header.status.is_informational() {
            return Err(malformed("an upgrade that nobody asked for"));
        }
        self.upstream_response_filter(session, &mut header, ctx).await?;
        let no_body = session.req_header().method == Method::HEAD
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&header.status);
        if !no_body {
            frame(&mut header, &body)?;
        }
        self.response_filter(session, &mut header, ctx).await?;
        Ok((header, body))
    }

    /// Passes the answer's body on, while what is left of the request's goes out; gives the trailers.
    async fn answer_body(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        upload: &mut Upload,
        patience: Patience,
        mut body: Incoming,
    ) -> Result<Option<HeaderMap>> {
        let mut trailers = None;
        loop {
            let frame = tokio::select! {
                frame = timeout(patience.read, body.frame()) => frame,
                passed = self.pass_part(session, ctx, upload, patience) => {
                    passed?;
                    continue;
                }
            };
            let frame = frame.map_err(|_| late(ErrorType::ReadTimedout, "the answer's body"))?;
            let Some(frame) = frame else { return Ok(trailers) };
            match frame.map_err(broken)?.into_data() {
                Ok(part) => {
                    let mut part = Some(part);
                    self.response_body_filter(session, &mut part, false, ctx)?;
                    let written = session.write_response_body(part, false).await;
                    written.map_err(Error::into_down)?;
                }
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
    }

    /// Ends the answer, with its trailers where the client takes them.
    async fn end_answer(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        trailers: Option<HeaderMap>,
    ) -> Result<()> {
        if let Some(mut trailers) = trailers {
            self.upstream_response_trailer_filter(session, &mut trailers, ctx)?;
            self.response_trailer_filter(session, &mut trailers, ctx).await?;
            if session.as_downstream().is_http2() && !trailers.is_empty() {
                let written = session.as_downstream_mut().write_response_trailers(trailers).await;
                return written.map_err(Error::into_down);
            }
        }
        session.write_response_body(None, true).await.map_err(Error::into_down)
    }

    /// Has the next part of the request's body taken by the target; where none is left, waits until
    /// the client is gone. Loses nothing if it is dropped, the target's time neither.
    async fn pass_part(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        upload: &mut Upload,
        patience: Patience,
    ) -> Result<()> {
        let Some(remainder) = upload else { return Err(left(session).await) };
        let Ok(place) = remainder.place(patience.write).await else {
            return Err(late(ErrorType::WriteTimedout, "taking the request's body"));
        };
        let Some(place) = place else {
            // The target wants no more of it, or is gone: its answer tells which.
            *upload = None;
            return Ok(());
        };
        let mut limit = Duration::from(if ctx.attempt()?.is_grpc() {
            ctx.attempt()?.service.timeouts.stream_idle
        } else {
            self.listener.limits.body_read
        });
        if ctx.upload.waits_for_word() {
            limit += SILENCE;
        }
        let downstream = session.as_downstream_mut();
        let Ok(read) = timeout(limit, downstream.read_request_body()).await else {
            let error = Error::explain(ErrorType::ReadTimedout, "a body that does not come");
            return Err(error.into_down());
        };
        let mut part = read.map_err(Error::into_down)?;
        let is_last = part.is_none() || downstream.is_body_done();
        self.request_body_filter(session, &mut part, is_last, ctx).await?;
        let end = is_last.then(|| self.request_trailers(session));
        place.send(Part { bytes: part.unwrap_or_default(), end });
        if is_last {
            *upload = None;
        }
        Ok(())
    }

    /// The trailers of a request whose body is whole, as far as they may pass.
    fn request_trailers(&self, session: &Session) -> HeaderMap {
        let connection = Connection::of(session.digest());
        let read = connection.map(|connection| connection.take_trailers());
        let mut read = read.unwrap_or_default();
        trailers::to_target(&mut read, &self.identity);
        read
    }
}

/// Waits until the client is gone.
async fn left(session: &mut Session) -> Box<Error> {
    let client = session.as_downstream_mut();
    if !client.is_http2() && !client.is_body_done() {
        // To look for its end is to take a byte of the body that the next request stands behind.
        return std::future::pending().await;
    }
    let left = client.read_body_or_idle(true).await;
    left.err().unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed)).into_down()
}

/// Frames an answer that has a body, by what was read of its framing.
fn frame(header: &mut ResponseHeader, body: &Incoming) -> Result<()> {
    let codings = header.headers.get_all(TRANSFER_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(malformed("a transfer coding that is not chunked"));
    }
    if header.headers.contains_key(TRANSFER_ENCODING) {
        // One line, however many there were.
        return header.insert_header(TRANSFER_ENCODING, "chunked");
    }
    match body.size_hint().exact() {
        Some(length) => header.insert_header(CONTENT_LENGTH, length.to_string()),
        None => header.insert_header(TRANSFER_ENCODING, "chunked"),
    }
}

/// A target that is waited for too long.
fn late(kind: ErrorType, what: &'static str) -> Box<Error> {
    Error::explain(kind, what).into_up()
}

/// An answer that is none.
fn malformed(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}

/// A request of which nothing went out: its connection had ended before.
fn unsent(error: hyper::Error) -> Box<Error> {
    let what = "a connection that the target had closed";
    let mut error = Error::because(ErrorType::ConnectionClosed, what, error).into_up();
    error.set_retry(true);
    error
}

/// A connection to a target that has failed, or what came over it.
pub(super) fn broken(error: hyper::Error) -> Box<Error> {
    let is_closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    let kind = if error.is_parse() {
        ErrorType::InvalidHTTPHeader
    } else if is_closed {
        ErrorType::ConnectionClosed
    } else {
        ErrorType::ReadError
    };
    let cause = std::error::Error::source(&error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    // The system's word, and not one of ours.
    let is_reset = cause.is_some_and(|cause| cause.raw_os_error().is_some());
    let mut error = Error::because(kind, "an exchange with a target", error).into_up();
    if is_closed || is_reset {
        error.retry = RetryType::ReusedOnly;
    }
    error
}

/// Where nothing bounds a wait.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);
