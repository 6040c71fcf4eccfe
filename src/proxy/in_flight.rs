//! A request in flight at a target, which is told what came of it.
//!
//! It is counted when it is over, so that an answer which breaks off is one failure and no success.

use std::sync::Arc;

use crate::core::routing::LiveTarget;

/// A request counted as in flight at a target, and what the target has made of it so far: `None`
/// while nothing is known, and for ever if the client went away.
#[derive(Debug)]
pub(super) struct InFlight(pub(super) Arc<LiveTarget>, pub(super) Option<Served>);

/// How a target served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Well,
    Badly,
}

impl InFlight {
    pub(super) fn enter(target: &Arc<LiveTarget>) -> Self {
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
    use super::super::testkit::{Act, Dead, Origin, World, ok, service, until};
    use super::*;

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
}
