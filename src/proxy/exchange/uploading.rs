//! The request's body of an exchange, from the client to the target, part by part.
//!
//! What has come of it is kept, as far as it is small, for a second attempt.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::{ProxyHttp as _, Session};
use tokio::time::timeout;

use super::super::connection::Connection;
use super::super::context::Context;
use super::super::phases::Phases;
use super::super::trailers;
use super::super::word::SILENCE;
use super::carriage::{Patience, late};
use super::outgoing::Part;
use super::remainder::Remainder;

impl Phases {
    /// Begins with what an attempt before has read of the body.
    pub(super) fn begin_upload(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        remainder: &mut Remainder,
    ) -> Result<()> {
        let downstream = session.as_downstream_mut();
        downstream.enable_retry_buffering();
        let kept = downstream.get_retry_buffer();
        let is_whole = ctx.upload.is_whole();
        if kept.is_some() || is_whole {
            let end = is_whole.then(|| self.request_trailers(session, ctx)).transpose()?;
            remainder.give(Part { bytes: kept.unwrap_or_default(), end });
        }
        Ok(())
    }

    /// Has the next part of the request's body taken by the target; where none is left, waits until
    /// the client is gone. Loses nothing if it is dropped, the target's time neither.
    pub(super) async fn pass_part(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        upload: &mut Option<Remainder>,
        patience: Patience,
    ) -> Result<()> {
        let Some(remainder) = upload else { return Err(left(session).await) };
        let taken = tokio::select! {
            taken = remainder.taken(patience.write) => taken,
            error = reset(session) => return Err(error),
        };
        let Ok(is_taken) = taken else {
            return Err(late(ErrorType::WriteTimedout, "taking the request's body"));
        };
        if !is_taken || remainder.has_last() {
            // All of it is there, or the target wants no more of it or is gone, as its answer tells.
            *upload = None;
            return Ok(());
        }
        let part = self.next_part(session, ctx).await?;
        remainder.give(part);
        Ok(())
    }

    /// The next part of the body, from the client.
    async fn next_part(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<Part> {
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
        let mut bytes: Option<Bytes> = read.map_err(Error::into_down)?;
        let is_last = bytes.is_none() || downstream.is_body_done();
        self.request_body_filter(session, &mut bytes, is_last, ctx).await?;
        let end = is_last.then(|| self.request_trailers(session, ctx)).transpose()?;
        Ok(Part { bytes: bytes.unwrap_or_default(), end })
    }

    /// The trailers of a request whose body is whole, as far as they may pass to the target that is
    /// being tried.
    fn request_trailers(&self, session: &Session, ctx: &mut Box<Context>) -> Result<HeaderMap> {
        if !ctx.attempt()?.passes_trailers() {
            return Ok(HeaderMap::new());
        }
        let fields = ctx.trailers.get_or_insert_with(|| {
            let connection = Connection::of(session.digest());
            let mut read = connection.map(|connection| connection.take_trailers());
            if let Some(read) = &mut read {
                trailers::to_target(read, &self.identity);
                trailers::keep_announced(read, session.req_header());
            }
            Box::new(read.unwrap_or_default())
        });
        Ok(HeaderMap::clone(fields))
    }
}

/// Waits until a client of HTTP/2 has reset its request.
async fn reset(session: &mut Session) -> Box<Error> {
    match session.as_downstream_mut().watch_h2_stream_close() {
        Some(closing) => {
            let closed = closing.await.err();
            closed.unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed)).into_down()
        }
        None => std::future::pending().await,
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
