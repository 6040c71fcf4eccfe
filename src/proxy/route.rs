//! Where a request goes: it is admitted, its side and its target are chosen from one table, and it
//! gets its first attempt. An upgrade is answered from here, and leaves Pingora.

use std::sync::Arc;

use pingora_core::Result;
use pingora_proxy::Session;

use crate::core::model::Side;

use super::admission::admit;
use super::answer::{LocalAnswer, Refusal};
use super::attempt::Attempt;
use super::claim::Claim;
use super::context::{Context, no_target};
use super::evidence::Evidence;
use super::forward::Onward;
use super::grpc;
use super::phases::Phases;
use super::score::Score;
use super::selection::{Draws, Question, Selection};
use super::tunnel::upgrade_request;

/// Where an admitted request goes.
#[derive(Debug)]
pub(super) enum Route {
    /// To a target.
    Request(Attempt),
    /// To a target that may change the protocol.
    Upgrade(Attempt),
}

impl Phases {
    /// Chooses where a request goes, or what it is answered here.
    pub(super) fn route(
        &self,
        session: &Session,
        ctx: &mut Context,
    ) -> std::result::Result<Route, LocalAnswer> {
        let started_us = ctx.started_us;
        // The size of a header of HTTP/2 is bounded where it is decoded.
        let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
        let request = session.req_header();
        if ctx.claim.as_ref().is_some_and(Claim::is_torn) {
            return Err(Refusal::Malformed("the header ends inside of a field").into());
        }
        let admitted = admit(request, raw.as_deref(), &self.listener.limits)?;
        let streams = admitted.upgrade || grpc::is_call(&request.headers);
        if streams {
            ctx.streams();
        }
        if self.recorder.pressure().sheds_request(self.in_its_way(streams)) {
            return Err(Refusal::Overloaded.into());
        }
        let question = Question {
            listener: &self.listener.name,
            host: admitted.host,
            path: admitted.path,
            headers: &request.headers,
            client: ctx.client(),
            method: request.method.as_str(),
            secure: ctx.origin.as_ref().is_some_and(|origin| origin.secure),
        };
        let draws = Draws::random();
        let table = self.table.load();
        let selection = Selection::choose(&table, &question, &draws)
            .map_err(|unrouted| LocalAnswer::unrouted(unrouted, admitted.host, request))?;
        if let Some(note) = &mut ctx.note {
            note.assign(&selection);
        }
        if admitted.upgrade && !selection.service.speaks_http1() {
            // A connection of HTTP/2 changes to nothing else (RFC 9113, section 8.6).
            return Err(Refusal::Upgrade.into());
        }
        let score = || {
            let meter = selection.service.side(selection.side).meter;
            let evidence = Evidence::arrive(&selection, started_us);
            if selection.side == Side::Green {
                // What is in flight when a rollout ends is known by what began.
                self.recorder.begun(meter);
            }
            Score::new(Arc::clone(&self.recorder), self.clock, meter, started_us, evidence)
        };
        let attempt = Attempt::first(&selection, draws.target, score)
            .ok_or_else(|| Refusal::no_target(selection.service, selection.side))?;
        let attempt = attempt.for_request(request, draws.side, ctx.upload.is_whole());
        Ok(if admitted.upgrade { Route::Upgrade(attempt) } else { Route::Request(attempt) })
    }

    /// How many requests count where memory is short: streams that stay open must not keep everybody
    /// else out, but further streams.
    fn in_its_way(&self, streams: bool) -> u64 {
        if streams { self.drain.requests() } else { self.drain.requests_but_streams() }
    }

    /// Answers an upgrade; the session is at its end when this returns.
    pub(super) async fn upgrade(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        let request_id = &ctx.request_id();
        let Context { origin: Some(origin), attempt: Some(attempt), .. } = ctx else {
            return Err(no_target());
        };
        let onward = Onward { origin, identity: &self.identity, request_id };
        let from = upgrade_request(session.req_header())?;
        let prepare = |attempt: &Attempt| {
            let mut request = from.clone();
            onward.to_target(&mut request, &attempt.actions, attempt.target())?;
            Ok(request)
        };
        self.tunnels.serve(session, attempt, prepare).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{Origin, World, field, service};

    #[tokio::test]
    async fn what_is_not_admitted_is_answered_and_the_connection_closed() {
        let origin = Origin::saying("fine").await;
        let world = World::new(service(0, &[origin.address], &[]));
        let large =
            format!("GET / HTTP/1.1\r\nhost: shop.test\r\nx: {}\r\n\r\n", "a".repeat(33_000));
        let check = async |request: &str, expected: &str| {
            let mut client = world.client().await;
            client.send(request).await;
            let answer = client.rest().await;
            assert_eq!(field(&answer, "x-tidegate-error"), Some(expected), "{answer}");
            assert_eq!(field(&answer, "connection"), Some("close"));
        };
        check("GET / HTTP/1.1\r\n\r\n", "bad_request").await;
        check(&large, "header_too_large").await;
        check(
            "CONNECT shop.test:443 HTTP/1.1\r\nhost: shop.test:443\r\n\r\n",
            "method_not_allowed",
        )
        .await;
        let upgrade = "POST / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        check(upgrade, "upgrade_not_served").await;
        let body = "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 3, 3\r\n\r\nabc";
        check(body, "bad_request").await;
        assert!(origin.seen().is_empty());
    }
}
