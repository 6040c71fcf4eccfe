//! Upgrades: WebSocket and any other protocol that a connection of HTTP/1.1 changes to (RFC 9110,
//! section 7.8).
//!
//! Pingora has a path of its own for them, which kills some tunnels right after the 101 (its issue
//! 946: the end of the request's empty body may be taken for the end of the tunnel). So the upgrade
//! is answered here: a connection to the target of our own, its answer passed on, and after a 101
//! the client's stream taken out of the session and both copied into each other.

mod frames;
mod husk;
mod pump;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as TargetSession;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::sync::watch;

use crate::telemetry::{EdgeEvent, OutcomeKind, Recorder};

use super::attempt::Attempt;
use super::course::{Course, Stay};
use super::departures::Departures;

use husk::Husk;
use pump::{Ended, Tunnel};

/// What answers upgrades.
pub(super) struct Tunnels {
    connector: TransportConnector,
    departures: Arc<Departures>,
    recorder: Arc<Recorder>,
    /// Turns true when every tunnel has to end.
    goodbye: watch::Receiver<bool>,
}

/// A target's answer to an upgrade, and the rest of its connection.
struct Answered {
    header: Box<ResponseHeader>,
    target: TargetSession,
}

impl Tunnels {
    pub(super) fn new(
        connector: TransportConnector,
        departures: Arc<Departures>,
        recorder: Arc<Recorder>,
        goodbye: watch::Receiver<bool>,
    ) -> Self {
        Self { connector, departures, recorder, goodbye }
    }

    /// Passes an upgrade to its target and the answer back; returns when the tunnel has ended.
    /// `prepare` makes the request for the target that could be connected to.
    ///
    /// # Errors
    /// The target cannot be had or breaks off before its answer, or the client is gone.
    pub(super) async fn serve(
        &self,
        session: &mut Session,
        attempt: &mut Attempt,
        prepare: impl Fn(&Attempt) -> Result<RequestHeader>,
    ) -> Result<()> {
        let asked = upgrade_of(session.req_header());
        let answered = self.ask(session, attempt, prepare).await;
        let Answered { mut header, target } = answered.map_err(Error::into_up)?;
        attempt.answered(session, header.status.as_u16())?;
        if header.status.as_u16() != 101 {
            attempt.grpc_status(&header.headers);
            attempt.headers_to_client(session, &mut header)?;
            let passed = pass_on(session, header, target).await;
            return passed.inspect_err(|error| {
                if *error.esource() == ErrorSource::Upstream {
                    attempt.fail(OutcomeKind::BrokenAnswer);
                }
            });
        }
        if session.is_upgrade(&header) != Some(true) {
            attempt.fail(OutcomeKind::BrokenAnswer);
            let what = "an upgrade that the client did not ask for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, what).into_up());
        }
        attempt.settle();
        Course::tell(Course::ends_itself);
        let stay = attempt.stay();
        let upgrade = header.headers.get(UPGRADE).cloned().or(asked);
        attempt.headers_to_client(session, &mut header)?;
        // What the 101 says of its connection ended with that connection, and begins anew here.
        header.insert_header(CONNECTION, "Upgrade")?;
        if let Some(upgrade) = upgrade {
            header.insert_header(UPGRADE, upgrade)?;
        }
        let idle = Duration::from(attempt.service.timeouts.stream_idle);
        let tunnel = take_streams(session, header, target).await.map_err(Error::into_down)?;
        match tunnel.run(self.leave(&stay), idle).await {
            Ended::ByThemselves | Ended::Idle => {}
            Ended::SaidGoodbye => self.recorder.edge(EdgeEvent::StreamClosed),
            Ended::Cut => self.recorder.edge(EdgeEvent::StreamCut),
        }
        Ok(())
    }

    /// Sends the request until a target takes it, and waits for the answer.
    async fn ask(
        &self,
        session: &Session,
        attempt: &mut Attempt,
        prepare: impl Fn(&Attempt) -> Result<RequestHeader>,
    ) -> Result<Answered> {
        let stream = self.connect(session, attempt).await?;
        let request = prepare(attempt)?;
        attempt.sent();
        let mut target = TargetSession::new(stream);
        target.read_timeout = Some(attempt.service.timeouts.read.into());
        match answer_of(&mut target, request).await {
            Ok(header) => Ok(Answered { header, target }),
            Err(mut error) => {
                error.as_up();
                attempt.broken(session, false, &mut error);
                Err(error)
            }
        }
    }

    async fn connect(&self, session: &Session, attempt: &mut Attempt) -> Result<Stream> {
        loop {
            let peer = attempt.peer();
            match self.connector.new_stream(&peer).await {
                Ok(stream) => return Ok(stream),
                Err(mut error) => {
                    attempt.connect_failed(session, &mut error);
                    if !error.retry() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Resolves when the tunnel has to end.
    async fn leave(&self, stay: &Stay) {
        let mut goodbye = self.goodbye.clone();
        tokio::select! {
            () = self.departures.end_of(stay) => {}
            _ = goodbye.wait_for(|bye| *bye) => {}
        }
    }
}

/// Sends the request and reads the header of the final answer.
async fn answer_of(
    target: &mut TargetSession,
    request: RequestHeader,
) -> Result<Box<ResponseHeader>> {
    target.write_request_header(Box::new(request)).await?;
    loop {
        let header = target.read_resp_header_parts().await?;
        if header.status.as_u16() == 101 || !header.status.is_informational() {
            return Ok(header);
        }
    }
}

impl std::fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnels").finish_non_exhaustive()
    }
}

/// Prepares the request of an upgrade for its target.
pub(super) fn upgrade_request(from: &RequestHeader) -> Result<RequestHeader> {
    let mut request = from.clone();
    let upgrade = upgrade_of(from);
    for name in hop_by_hop(from) {
        request.remove_header(&name);
    }
    request.insert_header(CONNECTION, "Upgrade")?;
    if let Some(upgrade) = upgrade {
        request.insert_header(UPGRADE, upgrade)?;
    }
    Ok(request)
}

fn upgrade_of(request: &RequestHeader) -> Option<HeaderValue> {
    request.headers.get(UPGRADE).cloned()
}

/// The fields that are between the client and us alone (RFC 9110, section 7.6.1).
fn hop_by_hop(request: &RequestHeader) -> Vec<HeaderName> {
    let mut names = vec![CONNECTION, UPGRADE, TE, TRANSFER_ENCODING, CONTENT_LENGTH];
    names.extend(["keep-alive", "proxy-connection"].map(HeaderName::from_static));
    for line in request.headers.get_all(CONNECTION) {
        let tokens = line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        // A request without its host would be another one.
        let named = tokens.filter_map(|token| HeaderName::from_bytes(token).ok());
        names.extend(named.filter(|name| *name != HOST));
    }
    names
}

/// An answer that is no upgrade, like any other.
async fn pass_on(
    session: &mut Session,
    header: Box<ResponseHeader>,
    mut target: TargetSession,
) -> Result<()> {
    session.write_response_header(header, false).await.map_err(Error::into_down)?;
    while let Some(part) = target.read_body_bytes().await.map_err(Error::into_up)? {
        session.write_response_body(Some(part), false).await.map_err(Error::into_down)?;
    }
    session.write_response_body(None, true).await.map_err(Error::into_down)
}

/// Writes the 101 and takes both streams, with the bytes that came too early for it.
async fn take_streams(
    session: &mut Session,
    header: Box<ResponseHeader>,
    mut target: TargetSession,
) -> Result<Tunnel> {
    target.read_timeout = None;
    let from_target = at_once(target.read_body_bytes()).await?;
    let is_websocket = header
        .headers
        .get(UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    session.downstream_session.write_response_header(header.clone()).await?;
    let from_client = at_once(session.downstream_session.read_request_body()).await?;
    // What is left of the session still answers for its request when it is logged.
    let mut husk = ServerSession::new_http1(Box::new(Husk::new(session.digest())));
    husk.read_request().await?;
    *husk.req_header_mut() = session.req_header().clone();
    husk.write_response_header_ref(&header).await?;
    match std::mem::replace(&mut *session.downstream_session, husk) {
        ServerSession::H1(taken) => Ok(Tunnel {
            client: taken.into_inner(),
            target: target.into_inner(),
            from_client,
            from_target,
            is_websocket,
        }),
        ServerSession::H2(_) | ServerSession::Subrequest(_) | ServerSession::Custom(_) => {
            Err(Error::explain(ErrorType::InternalError, "an upgrade outside of HTTP/1.1"))
        }
    }
}

/// What a read gives without waiting; `None` if it would wait.
async fn at_once(read: impl Future<Output = Result<Option<Bytes>>>) -> Result<Option<Bytes>> {
    let mut read = pin!(read);
    poll_fn(|cx| match read.as_mut().poll(cx) {
        Poll::Ready(bytes) => Poll::Ready(bytes),
        Poll::Pending => Poll::Ready(Ok(None)),
    })
    .await
}
