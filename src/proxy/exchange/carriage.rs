//! The course of one exchange whose connection stands: the request with its body goes out while the
//! answer may come already, and the other way round.
//!
//! One part is under way in each direction, so that whoever is slow is waited for by the other side.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use pingora_core::protocols::http::HttpTask;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp as _, Session};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::super::context::Context;
use super::super::phases::Phases;
use super::courier::{Answer, Courier, Incoming, Piece, Sent, malformed};
use super::remainder::Remainder;

/// How long a target may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To answer, and for each part of the answer.
    read: Duration,
    /// To take a part of the request.
    pub(super) write: Duration,
}

impl Patience {
    pub(super) fn of(peer: &HttpPeer) -> Self {
        let or_ever = |limit: Option<Duration>| limit.unwrap_or(FOR_EVER);
        Self {
            read: or_ever(peer.options.read_timeout),
            write: or_ever(peer.options.write_timeout),
        }
    }
}

impl Phases {
    /// Carries a request out and its answer back; tells whether the target has taken all of the first.
    ///
    /// # Errors
    /// There is no answer, or it broke off: by the client or by the target, as the error tells.
    pub(super) async fn carry(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        patience: Patience,
        courier: &mut Courier,
    ) -> Result<bool> {
        let has_body = !session.as_downstream_mut().is_body_empty();
        let request = self.onward_request(session, ctx, has_body).await?;
        let Sent { mut upload, interim, answer } = courier.send(request, has_body)?;
        if let Some(remainder) = &mut upload {
            self.begin_upload(session, ctx, remainder)?;
        }
        let answer = self.answer(session, ctx, &mut upload, patience, interim, answer).await?;
        let (header, body) = self.answer_header(session, ctx, answer).await?;
        if body.ended_with_header() && session.as_downstream().is_http2() {
            // One frame, as it came: a call of gRPC may be over with it.
            let whole = HttpTask::Header(Box::new(header), true);
            session.write_response_tasks(vec![whole]).await.map_err(Error::into_down)?;
        } else {
            let written = session.write_response_header(Box::new(header), false).await;
            written.map_err(Error::into_down)?;
            let trailers = self.answer_body(session, ctx, &mut upload, patience, body).await?;
            self.end_answer(session, ctx, trailers).await?;
        }
        Ok(upload.is_none_or(|upload| upload.is_over()))
    }

    /// Waits for the answer while the request's body goes out.
    async fn answer(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        upload: &mut Option<Remainder>,
        patience: Patience,
        mut interim: mpsc::Receiver<ResponseHeader>,
        mut answer: impl Future<Output = Result<Answer>> + Unpin,
    ) -> Result<Answer> {
        let mut silent = std::pin::pin!(sleep(patience.read));
        loop {
            let uploads = upload.is_some();
            tokio::select! {
                biased;
                // In front of the final one, also where both came at once.
                Some(header) = interim.recv() => {
                    self.pass_interim(session, ctx, header).await?;
                    silent.set(sleep(patience.read));
                }
                answer = &mut answer => return answer,
                passed = self.pass_part(session, ctx, upload, patience) => {
                    passed?;
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
        answer: Answer,
    ) -> Result<(ResponseHeader, Incoming)> {
        let Answer { mut header, body } = answer;
        if header.status.is_informational() {
            return Err(malformed("an upgrade that nobody asked for"));
        }
        self.upstream_response_filter(session, &mut header, ctx).await?;
        let no_body = session.req_header().method == Method::HEAD
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&header.status);
        if !no_body {
            frame(&mut header, body.length())?;
        }
        self.response_filter(session, &mut header, ctx).await?;
        Ok((header, body))
    }

    /// Passes the answer's body on, while what is left of the request's goes out; gives the trailers.
    async fn answer_body(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        upload: &mut Option<Remainder>,
        patience: Patience,
        mut body: Incoming,
    ) -> Result<Option<HeaderMap>> {
        let mut trailers = None;
        loop {
            let piece = tokio::select! {
                piece = timeout(patience.read, body.next()) => piece,
                passed = self.pass_part(session, ctx, upload, patience) => {
                    passed?;
                    continue;
                }
            };
            let piece = piece.map_err(|_| {
                // One that takes nothing either is not waiting for the client.
                let is_stuck = upload.as_ref().is_some_and(Remainder::is_waited_for);
                let kind =
                    if is_stuck { ErrorType::WriteTimedout } else { ErrorType::ReadTimedout };
                late(kind, "the answer's body")
            })?;
            match piece? {
                Some(Piece::Data(data)) => {
                    let mut data = Some(data);
                    self.response_body_filter(session, &mut data, false, ctx)?;
                    let began = Instant::now();
                    let written = session.write_response_body(data, false).await;
                    written.map_err(Error::into_down)?;
                    if let Some(remainder) = upload {
                        remainder.grant(began.elapsed());
                    }
                }
                Some(Piece::Trailers(fields)) => trailers = Some(fields),
                None => return Ok(trailers),
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
        if let Some(mut trailers) = trailers.filter(|_| ctx.has_trailers()) {
            self.upstream_response_trailer_filter(session, &mut trailers, ctx)?;
            self.response_trailer_filter(session, &mut trailers, ctx).await?;
            if session.as_downstream().is_http2() && !trailers.is_empty() {
                let written = session.as_downstream_mut().write_response_trailers(trailers).await;
                return written.map_err(Error::into_down);
            }
        }
        session.write_response_body(None, true).await.map_err(Error::into_down)
    }
}

/// Frames an answer that has a body, by what was read of its framing.
fn frame(header: &mut ResponseHeader, length: Option<u64>) -> Result<()> {
    let codings = header.headers.get_all(TRANSFER_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(malformed("a transfer coding that is not chunked"));
    }
    if header.headers.contains_key(TRANSFER_ENCODING) {
        // One line, however many there were.
        return header.insert_header(TRANSFER_ENCODING, "chunked");
    }
    match length {
        Some(length) => header.insert_header(CONTENT_LENGTH, length.to_string()),
        None => header.insert_header(TRANSFER_ENCODING, "chunked"),
    }
}

/// A target that is waited for too long.
pub(super) fn late(kind: ErrorType, what: &'static str) -> Box<Error> {
    Error::explain(kind, what).into_up()
}

/// Where nothing bounds a wait.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);
