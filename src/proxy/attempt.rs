//! The attempts of one request: at most two, and when there may be a second.
//!
//! A connection that never stood carried nothing: any method may be tried again, on another
//! target of the side, or on blue where green has none (rescue). A pooled connection that the
//! target closed just as it was reused may have carried a request: only methods that change
//! nothing are tried again, on the same side. After any byte of a response there is no second
//! attempt, for it would splice two responses into one.

use std::sync::Arc;

use http::Method;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora_core::{Error, ErrorSource, RetryType};
use pingora_proxy::Session;

use crate::core::model::{Side, TargetAddress};
use crate::core::routing::{LiveTarget, ServiceRoute};
use crate::telemetry::OutcomeKind;

use super::answer::is_timeout;
use super::cookie::CohortId;
use super::score::Score;
use super::selection::{AssignedBy, Selection};

/// How many attempts a request has; Pingora calls it retries and counts attempts.
pub(super) const MAX_ATTEMPTS: usize = 2;

/// A request on its way: where it was assigned, and where it is being tried.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) service: Arc<ServiceRoute>,
    /// The cohort key that the answer issues; `None` if the client has one or needs none.
    pub(super) issued: Option<CohortId>,
    /// The side whose target is being tried.
    pub(super) side: Side,
    target: InFlight,
    draw: u64,
    rescue: Rescue,
    number: usize,
    /// `None` on a test listener, whose requests are evidence of nothing.
    score: Option<Score>,
}

/// Whether blue may answer for green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rescue {
    ToBlue,
    /// On blue there is nothing to rescue; on a test listener it would pass green's tests with
    /// blue's answers.
    Never,
}

impl Attempt {
    /// The first attempt; `None` if no target may be tried.
    pub(super) fn first(
        selection: &Selection<'_>,
        draw: u64,
        score: impl FnOnce() -> Score,
    ) -> Option<Self> {
        let Selection { service, side, by, target } = *selection;
        let (mut score, issued) = match by {
            AssignedBy::Chance(_) => (Some(score()), None),
            AssignedBy::Issued(id, _) => (Some(score()), Some(id)),
            AssignedBy::TestListener => (None, None),
        };
        let rescue = match (side, &score) {
            (Side::Green, Some(_)) => Rescue::ToBlue,
            (Side::Green, None) | (Side::Blue, _) => Rescue::Never,
        };
        if let (None, Some(score)) = (target, &mut score) {
            score.failed(OutcomeKind::ConnectError);
        }
        let found = match (target, rescue) {
            (Some(target), _) => Some((target, side)),
            (None, Rescue::ToBlue) => {
                service.pick(Side::Blue, draw, None).map(|target| (target, Side::Blue))
            }
            (None, Rescue::Never) => None,
        };
        let (target, side) = found?;
        let (service, target) = (Arc::clone(service), InFlight::enter(target));
        Some(Self { service, issued, side, target, draw, rescue, number: 1, score })
    }

    /// What Pingora needs to know of the target.
    pub(super) fn peer(&self) -> HttpPeer {
        let target = &self.target.0;
        let timeouts = &self.service.timeouts;
        let mut peer = HttpPeer::new(target.address().socket_addr(), false, String::new());
        // The target's own number keeps connections of an earlier life apart; the table's
        // generation would throw them all away with every change of weight.
        peer.group_key = target.incarnation();
        peer.options.total_connection_timeout = Some(timeouts.connect.into());
        peer.options.read_timeout = Some(timeouts.read.into());
        peer.options.write_timeout = Some(timeouts.write.into());
        peer.options.idle_timeout = Some(timeouts.idle.into());
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        peer
    }

    /// A connection did not come to stand; marks the error if there is a second attempt.
    pub(super) fn connect_failed(&mut self, session: &Session, error: &mut Error) {
        self.fail(OutcomeKind::ConnectError);
        error.set_retry(session.response_written().is_none() && self.move_elsewhere());
    }

    /// A request that stood on a connection failed; marks the error if there is a second attempt.
    pub(super) fn broken(&mut self, session: &Session, reused: bool, error: &mut Error) {
        if *error.esource() == ErrorSource::Upstream {
            let timeout = is_timeout(&error.etype);
            self.fail(if timeout { OutcomeKind::Timeout } else { OutcomeKind::BrokenAnswer });
        }
        let harmless = [Method::GET, Method::HEAD, Method::OPTIONS];
        let stale = reused
            && error.retry == RetryType::ReusedOnly
            && harmless.contains(&session.req_header().method)
            && !session.as_downstream().retry_buffer_truncated()
            && session.response_written().is_none();
        error.set_retry(stale && self.try_side_again());
    }

    /// The target that is being tried, and how many attempts there were.
    pub(super) fn tried(&self) -> (TargetAddress, usize) {
        (self.target.0.address(), self.number)
    }

    /// A target's final response header came.
    pub(super) fn answered(&mut self, status: u16) {
        if let Some(score) = &mut self.score {
            score.answered(status);
        }
    }

    fn fail(&mut self, kind: OutcomeKind) {
        if let Some(score) = &mut self.score {
            score.failed(kind);
        }
    }

    /// To another target of the side, or from green to blue.
    fn move_elsewhere(&mut self) -> bool {
        let (service, failed) = (&self.service, &self.target.0);
        let other = service
            .pick(self.side, self.draw, Some(failed))
            .filter(|target| !Arc::ptr_eq(target, failed))
            .map(|target| (target, self.side));
        let next = other.or_else(|| match (self.rescue, self.side) {
            (Rescue::ToBlue, Side::Green) => {
                service.pick(Side::Blue, self.draw, None).map(|target| (target, Side::Blue))
            }
            (Rescue::ToBlue, Side::Blue) | (Rescue::Never, _) => None,
        });
        let next = next.map(|(target, side)| (Arc::clone(target), side));
        self.move_to(next)
    }

    /// To another target of the side, or to the same once more.
    fn try_side_again(&mut self) -> bool {
        let next = self.service.pick(self.side, self.draw, Some(&self.target.0));
        let next = next.map(|target| (Arc::clone(target), self.side));
        self.move_to(next)
    }

    fn move_to(&mut self, next: Option<(Arc<LiveTarget>, Side)>) -> bool {
        match next {
            Some((target, side)) if self.number < MAX_ATTEMPTS => {
                (self.target, self.side) = (InFlight::enter(&target), side);
                self.number += 1;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// A request counted as in flight at a target.
#[derive(Debug)]
struct InFlight(Arc<LiveTarget>);

impl InFlight {
    fn enter(target: &Arc<LiveTarget>) -> Self {
        target.enter();
        Self(Arc::clone(target))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{
        Act, Client, Dead, Origin, World, body, field, ok, service, status, until,
    };
    use super::*;

    async fn post(client: &mut Client) -> String {
        client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 4\r\n\r\nbody").await;
        client.answer().await
    }

    #[tokio::test]
    async fn a_refused_connection_moves_any_method_to_another_target() {
        let (dead, live) = (Dead::new(), Origin::saying("live").await);
        let route = service(0, &[dead.address, live.address], &[]);
        let targets = route.blue.targets.clone();
        let world = World::new(route);
        let mut client = world.client().await;
        for _ in 0..4 {
            assert_eq!(body(&post(&mut client).await), "live");
        }
        assert_eq!(live.seen().len(), 4);
        assert!(live.seen().iter().all(|request| request.ends_with("body")));
        until("no target has a request", || targets.iter().all(|t| t.in_flight() == 0)).await;
    }

    #[tokio::test]
    async fn blue_answers_for_a_green_that_cannot_be_reached_but_not_on_a_test_listener() {
        let (dead, blue) = (Dead::new(), Origin::saying("blue").await);
        let mut route = service(10_000, &[blue.address], &[dead.address]);
        route.exposure.green_exists = true;
        let world = World::new(route);
        let answer = post(&mut world.client().await).await;
        assert_eq!(body(&answer), "blue");
        assert_eq!(field(&answer, "x-tidegate-side"), Some("blue"));
        let tested = post(&mut world.test_client().await).await;
        assert_eq!(field(&tested, "x-tidegate-error"), Some("connect_failed"));
    }

    #[tokio::test]
    async fn blue_answers_for_a_green_without_targets() {
        let blue = Origin::saying("blue").await;
        let world = World::new(service(10_000, &[blue.address], &[]));
        assert_eq!(body(&world.get("").await), "blue");
    }

    #[tokio::test]
    async fn nothing_goes_from_blue_to_green() {
        let (dead, green) = (Dead::new(), Origin::saying("green").await);
        let world = World::new(service(0, &[dead.address], &[green.address]));
        let answer = world.get("").await;
        assert_eq!(status(&answer), 502);
        assert_eq!(field(&answer, "x-tidegate-error"), Some("connect_failed"));
        assert!(green.seen().is_empty());
    }

    #[tokio::test]
    async fn a_pooled_connection_that_breaks_is_replaced_once_for_a_get_and_never_for_a_post() {
        let second_breaks = |_: &str, n| if n == 1 { vec![Act::Close] } else { ok("fine") };
        let origin = Origin::new(second_breaks).await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut client = world.client().await;
        client.get("/", "").await;
        assert_eq!(body(&client.get("/", "").await), "fine");
        assert_eq!(origin.seen().len(), 3);

        let origin = Origin::new(second_breaks).await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut client = world.client().await;
        client.get("/", "").await;
        let answer = post(&mut client).await;
        assert_eq!(field(&answer, "x-tidegate-error"), Some("target_broken"));
        assert_eq!(origin.seen().len(), 2);
    }

    #[tokio::test]
    async fn a_new_connection_that_breaks_is_not_tried_again() {
        let origin = Origin::new(|_, _| vec![Act::Close]).await;
        let world = World::new(service(0, &[origin.address], &[]));
        assert_eq!(status(&world.get("").await), 502);
        assert_eq!(origin.seen().len(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_truncated_and_never_spliced() {
        let origin = Origin::new(|_, n| match n {
            0 => ok("warm"),
            _ => vec![
                Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nAAAA".to_owned()),
                Act::Close,
            ],
        })
        .await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut client = world.client().await;
        client.get("/", "").await;
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
        let answer = client.rest().await;
        assert_eq!(field(&answer, "content-length"), Some("10"));
        assert_eq!(body(&answer), "AAAA");
        assert_eq!(origin.seen().len(), 2);
    }

    #[test]
    fn there_is_no_third_attempt() {
        let addresses: Vec<_> = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
            .map(|a| a.parse().expect("valid"))
            .to_vec();
        let route = Arc::new(service(0, &addresses, &[]));
        let selection = Selection {
            service: &route,
            side: Side::Blue,
            by: AssignedBy::TestListener,
            target: route.pick(Side::Blue, 0, None),
        };
        let mut attempt =
            Attempt::first(&selection, 0, || unreachable!("not scored")).expect("a target");
        assert!(attempt.move_elsewhere());
        assert!(!attempt.move_elsewhere());
        assert!(!attempt.try_side_again());
        drop(attempt);
        assert!(route.blue.targets.iter().all(|target| target.in_flight() == 0));
    }
}
