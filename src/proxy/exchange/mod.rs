//! Exchanges: requests that are carried to their targets and back here, and not by Pingora.
//!
//! Pingora reads past the trailers of HTTP/1.1, and its client of HTTP/2 hears no interim answers
//! (1xx), lets nobody end or prolong a wait, and has streams hold each other up. So a request is
//! carried here where a group of its service speaks HTTP/2, and where it takes or announces trailers
//! that may pass: over HTTP/2 by h2, on connections that requests share (`trunks`), and over HTTP/1.1
//! by hyper, on connections that Pingora makes and keeps (`http1`). On the client's side it stays
//! Pingora's. It passes the same hooks as every request, in the same order, so that it is chosen,
//! bounded, scored, tried again and logged like one.

mod carriage;
mod courier;
mod http1;
mod http2;
mod line;
mod outgoing;
mod probe;
mod remainder;
mod trunk;
mod trunks;
mod uploading;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, Request, Uri, Version};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp as _, Session};

use super::answer::DEPARTED;
use super::attempt::Attempt;
use super::context::Context;
use super::course::Course;
use super::forward;
use super::phases::Phases;
use super::trailers;

use carriage::Patience;
use courier::Courier;
use http1::Leg;
use trunks::Trunks;

/// The connections to targets that exchanges have between them.
pub(super) struct Exchanges {
    connector: TransportConnector,
    trunks: Trunks,
}

impl Exchanges {
    /// Keeps at most so many idle connections of HTTP/1.1.
    pub(super) fn keeping(idle: usize) -> Self {
        let connector = TransportConnector::new(Some(ConnectorOptions::new(idle)));
        Self { connector, trunks: Trunks::default() }
    }
}

impl std::fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchanges").field("trunks", &self.trunks).finish_non_exhaustive()
    }
}

/// Whether a request is carried here.
pub(super) fn is_due(request: &RequestHeader, attempt: &Attempt) -> bool {
    attempt.may_go_over_http2()
        || attempt.passes_trailers()
            && (trailers::are_taken_by(request) || trailers::are_announced_by(request))
}

impl Phases {
    /// Carries a request to its target and the answer back, with a second attempt if it has one.
    ///
    /// # Errors
    /// There is no answer, or it broke off.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        loop {
            match self.try_exchange(session, ctx).await {
                Err(error) if error.retry() => {}
                ended => return ended,
            }
        }
    }

    /// One attempt; its error tells whether there is another.
    async fn try_exchange(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<()> {
        let peer = self.upstream_peer(session, ctx).await?;
        if ctx.attempt()?.is_over_http2() {
            self.exchange_by_http2(session, ctx, &peer).await
        } else {
            self.exchange_by_http1(session, ctx, &peer).await
        }
    }

    async fn exchange_by_http1(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        peer: &HttpPeer,
    ) -> Result<()> {
        let connector = &self.exchanges.connector;
        let (stream, reused) = match connector.get_stream(peer).await {
            Ok(connected) => connected,
            Err(error) => {
                let error = self.fail_to_connect(session, peer, ctx, error.into_up());
                return Err(error.into_up());
            }
        };
        let carried = async {
            let descriptor = stream.id();
            self.connected_to_upstream(session, reused, peer, descriptor, None, ctx).await?;
            let (mut leg, sender) = Leg::over(stream).await.map_err(http1::broken)?;
            let mut courier = Courier::Http1(sender);
            let carrying = self.carry_until_departure(session, ctx, peer, &mut courier);
            let is_whole = leg.driven(carrying).await?;
            if is_whole
                && let Courier::Http1(sender) = courier
                && let Some(stream) = leg.end(sender).await
            {
                connector.release_stream(stream, peer.reuse_hash(), peer.idle_timeout());
            }
            Ok(())
        };
        let carried = carried.await;
        carried.map_err(|error| self.error_while_proxy(peer, session, error, ctx, reused))
    }

    async fn exchange_by_http2(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        peer: &HttpPeer,
    ) -> Result<()> {
        let Exchanges { connector, trunks } = &*self.exchanges;
        let is_call = ctx.attempt()?.is_grpc();
        let found = tokio::select! {
            biased;
            found = trunks.berth(connector, peer) => found,
            () = Course::departure(), if is_call => return Err(departed()),
        };
        let (berth, reused) = match found {
            Ok(found) => found,
            Err(error) => {
                let error = self.fail_to_connect(session, peer, ctx, error.into_up());
                return Err(error.into_up());
            }
        };
        let carried = async {
            let descriptor = berth.descriptor();
            self.connected_to_upstream(session, reused, peer, descriptor, None, ctx).await?;
            let mut courier = Courier::Http2(berth);
            self.carry_until_departure(session, ctx, peer, &mut courier).await.map(drop)
        };
        let carried = carried.await;
        carried.map_err(|error| self.error_while_proxy(peer, session, error, ctx, reused))
    }

    /// Carries a request out and its answer back; a call of gRPC only until its group departs.
    async fn carry_until_departure(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        peer: &HttpPeer,
        courier: &mut Courier,
    ) -> Result<bool> {
        let is_call = ctx.attempt()?.is_grpc();
        let carrying = self.carry(session, ctx, Patience::of(peer), courier);
        if !is_call {
            return carrying.await;
        }
        tokio::select! {
            biased;
            carried = carrying => carried,
            () = Course::departure() => Err(departed()),
        }
    }

    /// The request as its target gets it.
    async fn onward_request(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
        has_body: bool,
    ) -> Result<Request<()>> {
        let attempt = ctx.attempt()?;
        let (is_over_http2, is_secure) = (attempt.is_over_http2(), attempt.is_over_tls());
        let mut request = between_us_and_target(session.req_header(), attempt, has_body)?;
        self.upstream_request_filter(session, &mut request, ctx).await?;
        let Some(path) = request.uri.path_and_query().cloned() else {
            return Err(Error::explain(ErrorType::InternalError, "a request without a path"));
        };
        let mut parts = Parts::from(request);
        if is_over_http2 {
            http2::address(&mut parts, path, is_secure)?;
        } else {
            (parts.uri, parts.version) = (Uri::from(path), Version::HTTP_11);
        }
        Ok(Request::from_parts(parts, ()))
    }
}

/// A call whose group has departed.
fn departed() -> Box<Error> {
    Error::explain(DEPARTED, "its group has no traffic any more").into_down()
}

/// A request without the fields that were between its client and us, and with those that are between
/// us and its target.
fn between_us_and_target(
    from: &RequestHeader,
    attempt: &Attempt,
    has_body: bool,
) -> Result<RequestHeader> {
    let is_over_http2 = attempt.is_over_http2();
    let mut request = from.clone();
    for name in forward::not_to_pass(&from.headers) {
        // A request without its host would be another one.
        if name != HOST {
            request.remove_header(&name);
        }
    }
    for name in ENDS_HERE.map(HeaderName::from_static) {
        request.remove_header(&name);
    }
    if is_over_http2 || !has_body {
        request.remove_header(&TRANSFER_ENCODING);
    } else if !from.headers.contains_key(CONTENT_LENGTH) {
        request.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    if !attempt.passes_trailers() || !trailers::are_announced_by(from) {
        request.remove_header(&TRAILER);
    }
    if attempt.has_trailers() && trailers::are_taken_by(from) {
        // It holds for one hop, and on this one it is the proxy that takes them.
        request.insert_header(TE, "trailers")?;
        if !is_over_http2 {
            request.insert_header(CONNECTION, "te")?;
        }
    }
    Ok(request)
}

/// What Pingora lets no request take with it, either.
const ENDS_HERE: [&str; 3] = ["http2-settings", "proxy-authenticate", "proxy-authorization"];
