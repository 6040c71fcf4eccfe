//! The attempts of one request: at most two, and when there may be a second.
//!
//! A connection that never stood carried nothing: any method may be tried again. After that, only
//! what changes nothing when it is done twice (`repeatable`), while its whole body is kept, and
//! before any byte of a final response went out, for a second attempt would splice two responses
//! into one. Where green failed, blue answers (rescue); else another target of the side does. Every
//! second attempt comes out of the service's retry budget.
//!
//! Whether there is a second attempt is decided before the first answer is given up: its body
//! cannot be had again.

use std::sync::Arc;

use http::HeaderMap;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::core::model::{RetryStatus, RuleActions, Side, Span, TargetAddress, TargetProtocol};
use crate::core::routing::{LiveTarget, ServiceRoute};
use crate::telemetry::{OutcomeKind, RetryKind};

use super::answer::is_timeout;
use super::cookie::CohortId;
use super::course::{Course, Stay};
use super::forward;
use super::grpc;
use super::lifeline::set_apart;
use super::peer::{carry_bodies, connect_anew, keepalive, peer_of};
use super::repeatable::Repeatable;
use super::score::Score;
use super::seats::{Seat, Seats};
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
    /// `None` for a request that is evidence of nothing.
    score: Option<Score>,
    /// Whether it is a call of gRPC, whose outcome is in its trailers.
    is_grpc: bool,
    has_grpc_status: bool,
    /// Whether the answer of a target of HTTP/2 is waited for by `deadline`: Pingora's own wait
    /// begins with the request's header there, and is not prolonged by a body that is on its way.
    waits_here: bool,
    /// `None` before the request is known.
    course: Option<Arc<Course>>,
    /// What the rule does to the request and to its answer.
    pub(super) actions: Arc<RuleActions>,
    repeatable: Repeatable,
    /// Whether an answer was given up for a second attempt that is yet to begin.
    given_up: bool,
    /// The draw of the side, uniform over 0..10 000.
    chance: u16,
    /// Whether the last connection was kept from before, and the target had closed it.
    was_stale: bool,
    /// Whether more than a header goes to the target, which may read it with pauses: a body, or what
    /// follows an upgrade.
    carries_body: bool,
    /// Whether it has a connection to itself, or is getting one.
    is_apart: bool,
    /// Held until the connection stands, which has its own then.
    seat: Option<Arc<Seat>>,
}

/// A target, and its side.
type Place = (Arc<LiveTarget>, Side);

/// Whether blue may answer for green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rescue {
    ToBlue,
    /// On blue there is nothing to rescue; on a test listener, and for those whom a condition
    /// leads to green, it would pass green's tests with blue's answers. Nor are streams rescued, or
    /// anything where the service does not want it.
    Never,
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
            waits_here: false,
            course: None,
            actions,
            repeatable,
            given_up,
            chance,
            was_stale: false,
            carries_body: false,
            is_apart: false,
            seat: None,
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
        self.repeatable = Repeatable::of(request, policy);
        self.chance = chance;
        self.is_grpc = grpc::is_call(&request.headers);
        if self.is_grpc {
            Course::tell(Course::streams);
        }
        self.waits_here = !self.is_grpc && !is_whole;
        self.course = Course::current();
        if let Some(course) = &self.course {
            course.is_quiet_for(self.service.timeouts.stream_idle);
        }
        if self.repeatable == Repeatable::Stream {
            self.rescue = Rescue::Never;
        }
        self.carries_body = !is_whole || self.repeatable == Repeatable::Stream;
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
        let unread = if self.carries_body { timeouts.write } else { Span::ZERO };
        peer.options.tcp_keepalive = keepalive(timeouts.unacknowledged, unread);
        if self.carries_body {
            carry_bodies(&mut peer);
        }
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        if self.was_stale {
            connect_anew(&mut peer);
        }
        let waits_here = self.is_waited_for_here();
        if let Some(course) = &self.course {
            let silent = waits_here.then(|| self.patience());
            course.may_take(timeouts.write, timeouts.read, silent);
        }
        if waits_here {
            // Pingora would drop what was not taken in time, and go on waiting for the answer.
            peer.options.write_timeout = Some(timeouts.stream_idle.into());
        }
        peer
    }

    /// The same where Pingora connects: an upload to a target of HTTP/2 gets a connection to itself
    /// if a seat is free.
    pub(super) fn seated_peer(&mut self, seats: &Seats) -> HttpPeer {
        let mut peer = self.peer();
        self.seat = None;
        if self.is_waited_for_here() {
            self.seat = seats.take();
        }
        if let Some(seat) = &self.seat {
            set_apart(&mut peer, seat);
        }
        self.is_apart = self.seat.is_some();
        peer
    }

    /// Its connection stands, be it a new one, which has the seat, or one that was kept.
    pub(super) fn stands(&mut self) {
        self.seat = None;
    }

    /// Whether it has a connection to itself.
    pub(super) fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// Whether it shares a connection although it should have one to itself.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_waited_for_here() && !self.is_apart
    }

    /// Whether the target that is being tried speaks HTTP/2.
    pub(super) fn is_over_http2(&self) -> bool {
        match self.service.side(self.side).link.transport().protocol {
            TargetProtocol::Http1 => false,
            TargetProtocol::H2c | TargetProtocol::H2 => true,
        }
    }

    /// Whether `deadline` waits for the target that is being tried.
    fn is_waited_for_here(&self) -> bool {
        self.waits_here && self.is_over_http2()
    }

    /// Whether all targets of the side that is being tried are known to be down.
    pub(super) fn targets_are_down(&self) -> bool {
        self.service.is_down(self.side)
    }

    /// A connection did not come to stand; marks the error if there is a second attempt.
    pub(super) fn connect_failed(&mut self, session: &Session, error: &mut Error) {
        self.fail(OutcomeKind::ConnectError);
        error.set_retry(is_unanswered(session) && self.move_to(Self::elsewhere));
    }

    /// A request that stood on a connection failed; marks the error if there is a second attempt.
    pub(super) fn broken(&mut self, session: &Session, reused: bool, error: &mut Error) {
        if std::mem::take(&mut self.given_up) {
            // Our own error: the attempt is at its next target already.
            error.set_retry(true);
            return;
        }
        if *error.esource() != ErrorSource::Upstream {
            error.set_retry(false);
            return;
        }
        if error.retry == RetryType::Decided(true) {
            let second = self.not_taken(session, error);
            error.set_retry(second);
            return;
        }
        let timeout = is_timeout(&error.etype);
        let stale = reused && is_of_a_closed_connection(error);
        self.fail(if timeout { OutcomeKind::Timeout } else { OutcomeKind::BrokenAnswer });
        let second = self.may_repeat(session)
            && self.move_to(|this| match (timeout, stale) {
                // Who waited as long as `read` is not made to wait as long again.
                (true, _) if this.service.timeouts.per_try.is_none() => this.rescuer(),
                // The target closed a connection that it no longer wanted: it may be well.
                (false, true) => this.elsewhere().or_else(|| this.once_more()),
                (true | false, _) => this.elsewhere(),
            });
        self.was_stale = second && stale;
        error.set_retry(second);
    }

    /// The request is about to be written to a connection that stands.
    pub(super) fn sent(&mut self) {
        if let Some(score) = &mut self.score {
            score.sent();
        }
    }

    /// The target said that it did not take the request, so that any method may be tried again;
    /// whether it is.
    ///
    /// A connection ends in good order like this (GOAWAY): its own side answers over another one,
    /// and nothing has failed. Where blue answers for a green that refuses (REFUSED_STREAM), green
    /// has failed, as with every rescue: it would be given the credit for blue's answers.
    fn not_taken(&mut self, session: &Session, error: &Error) -> bool {
        let is_rescued = !is_goodbye(error) && self.rescuer().is_some();
        if is_rescued {
            self.fail(OutcomeKind::BrokenAnswer);
        }
        let untouched = !session.as_downstream().retry_buffer_truncated() && is_unanswered(session);
        let second = untouched
            && self.move_to(|this| {
                let rescuer = if is_rescued { this.rescuer() } else { None };
                rescuer.or_else(|| this.neighbour()).or_else(|| this.once_more())
            });
        if is_rescued {
            return second;
        }
        if !second {
            self.fail(OutcomeKind::BrokenAnswer);
        } else if let Some(score) = &mut self.score {
            score.refused();
        }
        second
    }

    /// The target that is being tried, and how many attempts there were.
    pub(super) fn tried(&self) -> (TargetAddress, usize) {
        (self.target.0.address(), self.number)
    }

    /// A target's final response header came. The error gives the answer up for a second attempt.
    pub(super) fn answered(&mut self, session: &Session, status: u16) -> Result<()> {
        let failed = status >= 500;
        // Before the attempt may move on: it is this target's answer.
        self.target.1 = Some(if failed { Served::Badly } else { Served::Well });
        let listed = RetryStatus::of(status)
            .is_some_and(|status| self.service.retries.on_status.contains(&status));
        if failed
            && self.may_repeat(session)
            && self.move_to(|this| {
                this.rescuer().or_else(|| if listed { this.neighbour() } else { None })
            })
        {
            if let Some(score) = &mut self.score {
                score.failed(OutcomeKind::Status(status));
            }
            self.given_up = true;
            let mut error = Error::explain(ErrorType::HTTPStatus(status), "given up for another");
            error.as_up();
            error.set_retry(true);
            return Err(error);
        }
        if let Some(score) = &mut self.score {
            score.answered(status);
        }
        Ok(())
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

    /// Whether a target may be given the request after another one has seen it.
    fn may_repeat(&self, session: &Session) -> bool {
        self.repeatable == Repeatable::Always
            && !session.as_downstream().retry_buffer_truncated()
            && is_unanswered(session)
    }

    /// How long Pingora lets a target be silent. A pooled connection takes the timeout of each
    /// request.
    fn read_timeout(&self) -> Span {
        if self.is_grpc || self.is_waited_for_here() {
            return self.service.timeouts.stream_idle;
        }
        self.patience()
    }

    /// How long a target may be silent in anything but a stream.
    fn patience(&self) -> Span {
        let timeouts = &self.service.timeouts;
        let rescued = self.side == Side::Green
            && self.rescue == Rescue::ToBlue
            && !self.service.blue.targets.is_empty();
        let others = rescued || self.service.side(self.side).targets.len() > 1;
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

    /// From green to blue, else to another target of the side.
    fn elsewhere(&self) -> Option<Place> {
        self.rescuer().or_else(|| self.neighbour())
    }

    /// From green to blue.
    fn rescuer(&self) -> Option<Place> {
        match (self.rescue, self.side) {
            (Rescue::ToBlue, Side::Green) => {
                let target = self.service.pick(Side::Blue, self.draw, None)?;
                Some((Arc::clone(target), Side::Blue))
            }
            (Rescue::ToBlue, Side::Blue) | (Rescue::Never, _) => None,
        }
    }

    /// To another target of the side.
    fn neighbour(&self) -> Option<Place> {
        let failed = &self.target.0;
        let other = self.service.pick(self.side, self.draw, Some(failed))?;
        (!Arc::ptr_eq(other, failed)).then(|| (Arc::clone(other), self.side))
    }

    /// To the same target.
    fn once_more(&self) -> Option<Place> {
        Some((Arc::clone(&self.target.0), self.side))
    }

    /// Moves to a place where one is to be had, an attempt is left, and the budget allows it.
    fn move_to(&mut self, place: impl FnOnce(&Self) -> Option<Place>) -> bool {
        if self.number >= MAX_ATTEMPTS {
            return false;
        }
        let this: &Self = self;
        let Some((target, side)) = place(this) else { return false };
        let allowed = self.service.live.retries.withdraw();
        if let Some(score) = &self.score {
            score.retried(match (allowed, side == self.side) {
                (false, _) => RetryKind::BudgetExhausted,
                (true, true) => RetryKind::Retry,
                (true, false) => RetryKind::Rescue,
            });
        }
        if allowed {
            (self.target, self.side) = (InFlight::enter(&target), side);
            Course::tell(|course| course.goes_to(&self.service.side(side).live));
            self.number += 1;
        }
        allowed
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.course.as_ref().is_some_and(|course| course.has_late_target()) {
            self.fail(OutcomeKind::Timeout);
        }
    }
}

/// Whether nothing of an answer went to the client, but for interim ones: behind these, also the
/// word to go on with its body, the answer of any target may come.
fn is_unanswered(session: &Session) -> bool {
    session.response_written().is_none_or(|header| header.status.is_informational())
}

/// Whether a target may have closed the connection before it saw the request: Pingora says so where
/// it reads, and forgets it where the request is written.
fn is_of_a_closed_connection(error: &Error) -> bool {
    error.retry == RetryType::ReusedOnly || error.etype == ErrorType::WriteError
}

/// Whether a target ended its connection, and not the request alone.
fn is_goodbye(error: &Error) -> bool {
    error.root_cause().downcast_ref::<h2::Error>().is_some_and(h2::Error::is_go_away)
}

/// A request counted as in flight at a target, and what the target has made of it so far: `None`
/// while nothing is known, and for ever if the client went away. It is counted when it is over, so
/// that an answer which breaks off is one failure and no success.
#[derive(Debug)]
struct InFlight(Arc<LiveTarget>, Option<Served>);

/// How a target served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Well,
    Badly,
}

impl InFlight {
    fn enter(target: &Arc<LiveTarget>) -> Self {
        target.enter();
        Self(Arc::clone(target), None)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        match self.1 {
            Some(Served::Well) => self.0.count_success(),
            Some(Served::Badly) => self.0.count_failure(),
            None => {}
        }
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{
        Act, Client, Dead, Origin, World, body, field, ok, service, status, until,
    };
    use super::*;
    use crate::core::model::{GreenFor, ReleaseTraffic, TargetHealth, Wanted};

    async fn post(client: &mut Client) -> String {
        client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 4\r\n\r\nbody").await;
        client.answer().await
    }

    #[test]
    fn a_closed_connection_is_told_by_a_reading_and_by_a_writing_that_failed() {
        let mut read = Error::new_up(ErrorType::ReadError);
        assert!(!is_of_a_closed_connection(&read), "somebody may have answered");
        read.retry = RetryType::ReusedOnly;
        assert!(is_of_a_closed_connection(&read));
        assert!(is_of_a_closed_connection(&Error::new_up(ErrorType::WriteError)));
        assert!(!is_of_a_closed_connection(&Error::new_up(ErrorType::InvalidHTTPHeader)));
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
    async fn blue_answers_on_excluded_paths_but_not_for_a_green_that_a_condition_asks_for() {
        let (dead, blue) = (Dead::new(), Origin::saying("blue").await);
        let mut route = service(10_000, &[blue.address], &[dead.address]);
        route.exposure.green_exists = true;
        let mut green_for = GreenFor::default();
        green_for.headers.insert("x-test-user".parse().expect("valid"), Wanted::Present);
        let excluded = vec![ReleaseTraffic::exclusion("/").expect("valid")];
        route.release = Arc::new(ReleaseTraffic { green_for, excluded });
        let world = World::new(route);
        assert_eq!(body(&world.get("").await), "blue");
        let tested = world.get("x-test-user: ann\r\n").await;
        assert_eq!(field(&tested, "x-tidegate-error"), Some("connect_failed"));
    }

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
        post(&mut client).await;
        let answer = post(&mut client).await;
        assert_eq!(field(&answer, "x-tidegate-error"), Some("target_broken"));
        assert_eq!((origin.seen().len(), origin.connections()), (2, 1));
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

    #[tokio::test]
    async fn each_target_that_was_tried_is_told_what_came_of_it() {
        let (dead, live) = (
            Dead::new(),
            Origin::new(|_, n| match n {
                0 => ok("fine"),
                1 => vec![Act::Send("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_owned())],
                2 => vec![
                    Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nAAAA".to_owned()),
                    Act::Close,
                ],
                _ => ok("fine"),
            })
            .await,
        );
        let route = service(0, &[dead.address, live.address], &[]);
        let target = |address: std::net::SocketAddr| {
            let of = |t: &&Arc<LiveTarget>| t.address().socket_addr() == address;
            Arc::clone(route.blue.targets.iter().find(of).expect("a target"))
        };
        let (dead, live) = (target(dead.address), target(live.address));
        let world = World::new(route.clone());
        let counts = |t: &LiveTarget| (t.successes(), t.failures(), t.consecutive_failures());
        for (requests, expected) in [(1, (1, 0, 0)), (2, (1, 1, 1)), (3, (1, 2, 2)), (4, (2, 2, 0))]
        {
            let mut client = world.client().await;
            client.send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await;
            client.rest().await;
            until("the live one is told", || counts(&live) == expected).await;
            assert_eq!(dead.successes(), 0, "after {requests}");
        }
        assert!(dead.failures() > 0);
        assert_eq!(dead.failures(), u64::from(dead.consecutive_failures()));
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
            actions: &Arc::default(),
            scored: false,
            unit: None,
        };
        let mut attempt =
            Attempt::first(&selection, 0, || unreachable!("not scored")).expect("a target");
        assert!(attempt.move_to(Attempt::elsewhere));
        assert!(!attempt.move_to(Attempt::elsewhere));
        assert!(!attempt.move_to(Attempt::once_more));
        drop(attempt);
        assert!(route.blue.targets.iter().all(|target| target.in_flight() == 0));
    }
}
