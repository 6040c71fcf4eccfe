//! Whether a request has a second attempt, and where.
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

use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_proxy::Session;

use crate::core::model::{RetryStatus, Side};
use crate::core::routing::LiveTarget;
use crate::telemetry::{OutcomeKind, RetryKind};

use super::answer::is_timeout;
use super::attempt::{Attempt, MAX_ATTEMPTS};
use super::course::Course;
use super::in_flight::{InFlight, Served};
use super::repeatable::Repeatable;

/// Whether blue may answer for green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescue {
    ToBlue,
    /// On blue there is nothing to rescue; on a test listener, and for those whom a condition
    /// leads to green, it would pass green's tests with blue's answers. Nor are streams rescued, or
    /// anything where the service does not want it.
    Never,
}

/// A target, and its side.
type Place = (Arc<LiveTarget>, Side);

impl Attempt {
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
        if timeout {
            self.timed_out();
        } else {
            self.fail(OutcomeKind::BrokenAnswer);
        }
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

    /// Whether a target may be given the request after another one has seen it.
    fn may_repeat(&self, session: &Session) -> bool {
        self.repeatable == Repeatable::Always
            && !session.as_downstream().retry_buffer_truncated()
            && is_unanswered(session)
    }

    /// From green to blue, else to another target of the side.
    fn elsewhere(&self) -> Option<Place> {
        self.rescuer().or_else(|| self.neighbour())
    }

    /// From green to blue.
    fn rescuer(&self) -> Option<Place> {
        match (self.rescue, self.side) {
            (Rescue::ToBlue, Side::Green) => {
                let target = self.service.pick(Side::Blue, self.draw(), None)?;
                Some((Arc::clone(target), Side::Blue))
            }
            (Rescue::ToBlue, Side::Blue) | (Rescue::Never, _) => None,
        }
    }

    /// To another target of the side.
    fn neighbour(&self) -> Option<Place> {
        let failed = &self.target.0;
        let other = self.service.pick(self.side, self.draw(), Some(failed))?;
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

/// Whether nothing of an answer went to the client, but for interim ones: behind these, also the
/// word to go on with its body, the answer of any target may come.
pub(super) fn is_unanswered(session: &Session) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::selection::{AssignedBy, Selection};
    use super::super::testkit::{
        Act, Client, Dead, Origin, World, body, field, ok, service, status, until,
    };
    use super::*;
    use crate::core::model::{GreenFor, ReleaseTraffic, Wanted};

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
