//! Exchanges that may bear trailers, between clients and targets of HTTP/1.1.
//!
//! Pingora reads past the trailers of HTTP/1.1. So where a group lets them pass, a request that takes
//! or announces some is carried to its target here: by hyper, over a connection that Pingora makes
//! and keeps (`leg`). On the client's side it stays Pingora's. It passes the same hooks as every
//! request, in the same order, so that it is chosen, bounded, scored, tried again and logged like
//! one.
//!
//! What is different: a request with a body has a second attempt while nothing of it was sent alone,
//! because none of the body is kept.

mod carriage;
mod interim;
mod leg;
mod outgoing;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, Request, Uri, Version};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::upstreams::peer::Peer as _;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp as _, Session};

use super::attempt::Attempt;
use super::context::Context;
use super::forward;
use super::phases::Phases;
use super::trailers;

use leg::Leg;

/// The connections to targets that exchanges have between them.
pub(super) struct Exchanges {
    connector: TransportConnector,
}

impl Exchanges {
    /// Keeps at most so many idle connections.
    pub(super) fn keeping(idle: usize) -> Self {
        Self { connector: TransportConnector::new(Some(ConnectorOptions::new(idle))) }
    }
}

impl std::fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchanges").finish_non_exhaustive()
    }
}

/// Whether a request goes to the target that is being tried by an exchange.
pub(super) fn is_due(request: &RequestHeader, attempt: &Attempt) -> bool {
    attempt.passes_trailers()
        // Bytes that no `Uri` can hold were replaced in it.
        && request.raw_path_is_utf8()
        && (trailers::are_taken_by(request) || trailers::are_announced_by(request))
}

impl Phases {
    /// Carries a request to its target and the answer back. `false` leaves it to Pingora: its next
    /// attempt goes to a target that passes no trailers.
    ///
    /// # Errors
    /// There is no answer, or it broke off.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
    ) -> Result<bool> {
        if !ctx.upload.is_whole() {
            ctx.attempt()?.keeps_no_body();
        }
        while is_due(session.req_header(), ctx.attempt()?) {
            match self.try_exchange(session, ctx).await {
                Ok(()) => return Ok(true),
                Err(error) if error.retry() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// One attempt; its error tells whether there is another.
    async fn try_exchange(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<()> {
        let peer = self.upstream_peer(session, ctx).await?;
        let connector = &self.exchanges.connector;
        let (stream, reused) = match connector.get_stream(&*peer).await {
            Ok(connected) => connected,
            Err(error) => {
                let error = self.fail_to_connect(session, &peer, ctx, error.into_up());
                return Err(error.into_up());
            }
        };
        let descriptor = stream.id();
        let stands =
            self.connected_to_upstream(session, reused, &peer, descriptor, None, ctx).await;
        let carried = match stands {
            Ok(()) => match Leg::over(stream).await {
                Ok((mut leg, sender)) => {
                    let carried = leg.driven(self.carry(session, ctx, &peer, sender)).await;
                    carried.map(|sender| sender.map(|sender| (leg, sender)))
                }
                Err(error) => Err(carriage::broken(error)),
            },
            Err(error) => Err(error),
        };
        match carried {
            Ok(Some((leg, sender))) => {
                if let Some(stream) = leg.end(sender).await {
                    connector.release_stream(stream, peer.reuse_hash(), peer.idle_timeout());
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(self.error_while_proxy(&peer, session, error, ctx, reused)),
        }
    }

    /// The request as its target gets it.
    async fn onward_request(
        &self,
        session: &mut Session,
        ctx: &mut Box<Context>,
    ) -> Result<Request<()>> {
        let has_body = !ctx.upload.is_whole();
        let mut request = between_us_and_target(session.req_header(), has_body)?;
        self.upstream_request_filter(session, &mut request, ctx).await?;
        let Some(path) = request.uri.path_and_query().cloned() else {
            return Err(Error::explain(ErrorType::InternalError, "a request without a path"));
        };
        let mut parts = Parts::from(request);
        parts.uri = Uri::from(path);
        parts.version = Version::HTTP_11;
        Ok(Request::from_parts(parts, ()))
    }
}

/// A request without the fields that were between its client and us, and with those that are between
/// us and its target.
fn between_us_and_target(from: &RequestHeader, has_body: bool) -> Result<RequestHeader> {
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
    if !has_body {
        request.remove_header(&TRANSFER_ENCODING);
    } else if !from.headers.contains_key(CONTENT_LENGTH) {
        request.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    if !trailers::are_announced_by(from) {
        request.remove_header(&TRAILER);
    }
    if trailers::are_taken_by(from) {
        // It holds for one hop, and on this one it is the proxy that takes them.
        request.insert_header(TE, "trailers")?;
        request.insert_header(CONNECTION, "te")?;
    }
    Ok(request)
}

/// What Pingora lets no request take with it, either.
const ENDS_HERE: [&str; 3] = ["http2-settings", "proxy-authenticate", "proxy-authorization"];
