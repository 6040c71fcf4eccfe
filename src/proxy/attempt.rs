//! A request on its way to a target: where it was assigned, where it is being tried, and what came
//! of that.
//!
//! It is tried at most twice; whether a second time, and where, is in `retry`.

use std::sync::Arc;

use http::HeaderMap;
use pingora_core::Result;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::core::model::{RuleActions, Side, Span, TargetAddress, TargetProtocol, TrailerPolicy};
use crate::core::routing::{LiveTarget, ServiceRoute};
use crate::telemetry::OutcomeKind;

use super::admission::content_length;
use super::cookie::CohortId;
use super::course::{Course, Stay};
use super::forward;
use super::grpc;
use super::in_flight::{InFlight, Served};
use super::peer::{carry_much, connect_anew, keepalive, peer_of, silence};
use super::repeatable::Repeatable;
use super::retry::Rescue;
use super::score::Score;
use super::selection::{AssignedBy, Selection};

/// How many attempts a request has; Pingora calls it retries and counts attempts.
pub(super) const MAX_ATTEMPTS: usize = 2;
/// The longest body, in bytes, of a request that shares connections with those without one: a target
/// that reads nothing for a while has room for it.
const SMALL_BODY: u64 = 16 * 1_024;

/// A request on its way: where it was assigned, and where it is being tried.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) service: Arc<ServiceRoute>,
    /// The cohort key that the answer issues; `None` if the client has one or needs none.
    pub(super) issued: Option<CohortId>,
    /// The side whose target is being tried.
    pub(super) side: Side,
    pub(super) target: InFlight,
    draw: u64,
    pub(super) rescue: Rescue,
    pub(super) number: usize,
    /// `None` for a request that is evidence of nothing.
    pub(super) score: Option<Score>,
    /// Whether it is a call of gRPC, whose outcome is in its trailers.
    is_grpc: bool,
    has_grpc_status: bool,
    /// `None` before the request is known.
    course: Option<Arc<Course>>,
    /// What the rule does to the request and to its answer.
    pub(super) actions: Arc<RuleActions>,
    pub(super) repeatable: Repeatable,
    /// Whether an answer was given up for a second attempt that is yet to begin.
    pub(super) given_up: bool,
    /// The draw of the side, uniform over 0..10 000.
    chance: u16,
    /// Whether the last connection was kept from before, and the target had closed it.
    pub(super) was_stale: bool,
    /// Whether more goes to the target than fits into what the system keeps for it, and which it may
    /// read with pauses: a body that is not small, or what follows an upgrade.
    carries_much: bool,
}

impl Attempt {
    /// The first attempt; `None` if no target may be tried.
    pub(super) fn first(
        selection: &Selection<'_>,
        draw: u64,
        score: impl FnOnce() -> Score,
    ) -> Option<Self> {
        let Selection { service, side, by, target, actions, scored, .. } = *selection;
        let mut score = scored.then(score);
        let issued = match by {
            AssignedBy::Issued(id, _) => Some(id),
            AssignedBy::Chance(_) | AssignedBy::TestListener | AssignedBy::Condition => None,
        };
        let rescue = match side {
            Side::Green if by.by_chance() && service.retries.rescue => Rescue::ToBlue,
            Side::Green | Side::Blue => Rescue::Never,
        };
        let stand_in = match side {
            Side::Blue if by.by_chance() => service.stand_in(draw),
            Side::Blue | Side::Green => None,
        };
        // As with a rescue, it counts against the side that has nobody to answer.
        let target = target.filter(|_| stand_in.is_none());
        if let (None, Some(score)) = (target, &mut score) {
            score.failed(OutcomeKind::ConnectError);
        }
        let found = match (target, rescue) {
            (Some(target), _) => Some((target, side)),
            (None, Rescue::ToBlue) => {
                service.pick(Side::Blue, draw, None).map(|target| (target, Side::Blue))
            }
            (None, Rescue::Never) => stand_in.map(|target| (target, Side::Green)),
        };
        let (target, side) = found?;
        Course::tell(|course| course.goes_to(&service.side(side).live));
        let (service, target) = (Arc::clone(service), InFlight::enter(target));
        let repeatable = Repeatable::Unsent;
        let (given_up, chance, is_grpc, actions) = (false, 0, false, Arc::clone(actions));
        Some(Self {
            service,
            issued,
            side,
            target,
            draw,
            rescue,
            number: 1,
            score,
            is_grpc,
            has_grpc_status: false,
            course: None,
            actions,
            repeatable,
            given_up,
            chance,
            was_stale: false,
            carries_much: false,
        })
    }

    /// The attempt of this request, which puts its share into the retry budget; `chance` is the
    /// draw of its side, and `is_whole` tells whether no body follows its header.
    pub(super) fn for_request(
        mut self,
        request: &RequestHeader,
        chance: u16,
        is_whole: bool,
    ) -> Self {
        let policy = &self.service.retries;
        self.service.live.retries.deposit(policy.budget);
        self.is_grpc = grpc::is_call(&request.headers);
        self.repeatable = Repeatable::of(request, self.is_grpc, policy);
        self.chance = chance;
        if self.is_grpc {
            Course::tell(Course::streams);
        }
        self.course = Course::current();
        if let Some(course) = &self.course {
            course.is_quiet_for(self.service.timeouts.stream_idle);
        }
        if self.repeatable == Repeatable::Stream {
            self.rescue = Rescue::Never;
        }
        let is_small = content_length(request).is_some_and(|length| length <= SMALL_BODY);
        let has_much = !is_whole && !is_small;
        self.carries_much = has_much || self.repeatable == Repeatable::Stream;
        self
    }

    /// The draw of the side, where it decided nothing but that: at weight 0 it is as good as new.
    /// `None` for a request that is evidence of nothing.
    pub(super) fn chance(&self) -> Option<u16> {
        self.score.as_ref().map(|_| self.chance)
    }

    /// The draw of the target, uniform over all 64-bit numbers.
    pub(super) fn draw(&self) -> u64 {
        self.draw
    }

    /// The target that is being tried.
    pub(super) fn target(&self) -> &LiveTarget {
        &self.target.0
    }

    /// What Pingora needs to know of the target.
    pub(super) fn peer(&self) -> HttpPeer {
        let timeouts = &self.service.timeouts;
        let mut peer = peer_of(&self.service.side(self.side).link, &self.target.0);
        peer.options.total_connection_timeout = Some(timeouts.connect.into());
        peer.options.read_timeout = Some(self.read_timeout().into());
        peer.options.write_timeout = Some(timeouts.write.into());
        peer.options.idle_timeout = Some(timeouts.idle.into());
        // Calls of gRPC share connections of HTTP/2 with all others, however much they carry.
        let carries_much = self.carries_much && !(self.is_grpc && self.is_over_http2());
        let unread = if carries_much { timeouts.write } else { Span::ZERO };
        peer.options.tcp_keepalive = keepalive(timeouts.unacknowledged, unread);
        if carries_much {
            carry_much(&mut peer);
        } else {
            peer.options.h2_ping_interval = silence(timeouts.unacknowledged);
        }
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        if self.was_stale {
            connect_anew(&mut peer);
        }
        if let Some(course) = &self.course {
            course.may_take(timeouts.write, timeouts.read);
        }
        peer
    }

    /// Whether the target that is being tried speaks HTTP/2.
    pub(super) fn is_over_http2(&self) -> bool {
        self.speaks_http2(self.side)
    }

    /// Whether a target of either side, and so of any attempt, speaks HTTP/2.
    pub(super) fn may_go_over_http2(&self) -> bool {
        self.speaks_http2(Side::Blue) || self.speaks_http2(Side::Green)
    }

    fn speaks_http2(&self, side: Side) -> bool {
        match self.service.side(side).link.transport().protocol {
            TargetProtocol::Http1 => false,
            TargetProtocol::H2c | TargetProtocol::H2 => true,
        }
    }

    /// Whether the target that is being tried is spoken to over TLS.
    pub(super) fn is_over_tls(&self) -> bool {
        self.service.side(self.side).link.transport().tls.is_some()
    }

    /// Whether trailers of the request pass to the target that is being tried.
    pub(super) fn passes_trailers(&self) -> bool {
        self.service.side(self.side).link.transport().trailers == TrailerPolicy::Pass
    }

    /// Whether the answer of the target that is being tried may come with trailers.
    pub(super) fn has_trailers(&self) -> bool {
        self.is_over_http2() || self.passes_trailers()
    }

    /// Whether all targets of the side that is being tried are known to be down.
    pub(super) fn targets_are_down(&self) -> bool {
        self.service.is_down(self.side)
    }

    /// The request is about to be written to a connection that stands.
    pub(super) fn sent(&mut self) {
        if let Some(score) = &mut self.score {
            score.sent();
        }
    }

    /// The target that is being tried, and how many attempts there were.
    pub(super) fn tried(&self) -> (TargetAddress, usize) {
        (self.target.0.address(), self.number)
    }

    /// The status in the trailers of a call of gRPC, or in its header where it has no more; to be
    /// called with the header of every answer.
    pub(super) fn grpc_status(&mut self, headers: &HeaderMap) {
        let status = grpc::status(headers).filter(|_| self.is_grpc);
        if let Some(score) = &mut self.score {
            score.header_ended(status);
        }
        let Some(status) = status else { return };
        self.has_grpc_status = true;
        if grpc::is_targets_fault(status) {
            self.target.1 = Some(Served::Badly);
        }
        if let Some(score) = &mut self.score {
            score.regraded(status);
        }
    }

    /// The response came to its end. A call of gRPC without a status is none that anybody
    /// understands.
    pub(super) fn ended(&mut self) {
        if self.is_grpc && !self.has_grpc_status {
            self.target.1 = Some(Served::Badly);
            if let Some(score) = &mut self.score {
                score.regraded(500);
            }
        }
    }

    /// Whether it is a call of gRPC, in which either side may be silent for long.
    pub(super) fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Counts what is known now: what follows is a stream, not an answer.
    pub(super) fn settle(&mut self) {
        self.score = None;
    }

    /// The stay at the group of the present target, from now on.
    pub(super) fn stay(&self) -> Stay {
        Stay::with(&self.service.side(self.side).live)
    }

    /// Prepares a target's header for the client.
    pub(super) fn headers_to_client(
        &self,
        session: &Session,
        header: &mut ResponseHeader,
    ) -> Result<()> {
        let version = session.req_header().version;
        let actions = &self.actions;
        forward::to_client(header, version, &self.service, self.side, self.issued, actions)
    }

    pub(super) fn fail(&mut self, kind: OutcomeKind) {
        self.target.1 = Some(Served::Badly);
        if let Some(score) = &mut self.score {
            score.failed(kind);
        }
    }

    /// The target took too long.
    pub(super) fn timed_out(&mut self) {
        let is_cut_short = self.is_cut_short();
        if let Some(score) = self.score.as_mut().filter(|_| is_cut_short) {
            score.cut_short();
        }
        self.fail(OutcomeKind::Timeout);
    }

    /// How long Pingora lets a target be silent. A pooled connection takes the timeout of each
    /// request.
    fn read_timeout(&self) -> Span {
        if self.is_grpc {
            return self.service.timeouts.stream_idle;
        }
        self.patience()
    }

    /// How long a target may be silent in anything but a stream.
    fn patience(&self) -> Span {
        let timeouts = &self.service.timeouts;
        let others = self.has_others(self.side, self.rescue == Rescue::ToBlue);
        match timeouts.per_try {
            Some(per_try)
                if self.number < MAX_ATTEMPTS
                    && self.repeatable == Repeatable::Always
                    && others =>
            {
                per_try.min(timeouts.read)
            }
            Some(_) | None => timeouts.read,
        }
    }

    /// Whether a side has another target that may answer for one, or blue does for it.
    fn has_others(&self, side: Side, is_rescued: bool) -> bool {
        let rescued = side == Side::Green && is_rescued && !self.service.blue.targets.is_empty();
        rescued || self.service.side(side).targets.len() > 1
    }

    /// Whether a target of the other side would be given more time: nobody else could answer there,
    /// so that `per_try` is not for it.
    fn is_cut_short(&self) -> bool {
        let other = match self.side {
            Side::Green => Side::Blue,
            Side::Blue => Side::Green,
        };
        let is_short = !self.is_grpc && self.patience() < self.service.timeouts.read;
        is_short && !self.has_others(other, self.service.retries.rescue)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{Act, Origin, World, body, field, service, status, until};
    use super::*;
    use crate::core::model::TargetHealth;

    #[tokio::test]
    async fn blue_answers_for_a_green_without_targets() {
        let blue = Origin::saying("blue").await;
        let world = World::new(service(10_000, &[blue.address], &[]));
        assert_eq!(body(&world.get("").await), "blue");
    }

    #[tokio::test]
    async fn green_answers_while_no_target_of_blue_may_be_tried_and_no_longer() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let route = service(1_000, &[blue.address], &[green.address]);
        let down = Arc::clone(&route.blue.targets[0]);
        let world = World::new(route);
        down.set_health(TargetHealth::Unhealthy);
        for _ in 0..20 {
            let answer = world.get("").await;
            assert_eq!(body(&answer), "green");
            assert_eq!(field(&answer, "x-tidegate-side"), Some("green"));
        }
        assert!(blue.seen().is_empty());
        down.set_health(TargetHealth::Healthy);
        let mut of_blue = 0;
        for _ in 0..20 {
            of_blue += usize::from(body(&world.get("").await) == "blue");
        }
        assert!(of_blue > 0);
    }

    #[tokio::test]
    async fn no_target_gets_more_requests_than_its_limit() {
        let origin = Origin::new(|_, _| vec![Act::Wait(std::time::Duration::from_secs(600))]).await;
        let mut route = service(0, &[origin.address], &[]);
        route.target_limit = Some(2);
        let target = Arc::clone(&route.blue.targets[0]);
        let world = World::new(route);
        let mut waiting = Vec::new();
        for number in 1..=2 {
            let mut client = world.client().await;
            client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
            until("it is in flight", || target.in_flight() == number).await;
            waiting.push(client);
        }
        let answer = world.get("").await;
        assert_eq!(status(&answer), 503);
        assert_eq!(field(&answer, "x-tidegate-error"), Some("target_limit"));
        assert_eq!(field(&answer, "retry-after"), Some("1"));
        until("the target has both", || origin.seen().len() == 2).await;
    }
}
