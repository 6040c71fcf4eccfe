//! Departures: when what still runs on a group that lost its weight has to end.
//!
//! A group that loses its weight finishes what it has. What is not finished when the service's
//! `drain_timeout` is over is told to leave; a group that gets weight back before then is not.
//! This is the only part of the proxy that looks at tables over time; it decides nothing about
//! weights.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::core::model::{MonoTime, Side, StreamsOnRollback, TargetGroupName};
use crate::core::routing::{LiveGroup, RoutingTable, ServiceRoute};

use super::course::Stay;

/// Tells streams when to leave.
#[derive(Debug)]
pub(super) struct Departures {
    happened: watch::Sender<u64>,
}

impl Departures {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { happened: watch::Sender::new(0) })
    }

    /// Resolves when a stay is over.
    pub(super) async fn end_of(&self, stay: &Stay) {
        let mut happened = self.happened.subscribe();
        while !stay.is_over() {
            if happened.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks at the table now, and follows it for as long as the result is polled.
    pub(super) fn follow(
        self: Arc<Self>,
        table: Arc<ArcSwap<RoutingTable>>,
        clock: Clock,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut groups = Groups::default();
        // Before the first request: who has weight now would else not be seen to lose it.
        groups.observe(&table.load(), clock.mono());
        async move {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                if groups.observe(&table.load(), clock.mono()) {
                    self.happened.send_modify(|count| *count += 1);
                }
            }
        }
    }
}

/// Every group that has weight, or is yet to be left.
#[derive(Debug, Default)]
struct Groups {
    generation: Option<u64>,
    seen: HashMap<TargetGroupName, Seen>,
}

/// What is known of a group.
#[derive(Debug)]
struct Seen {
    live: Arc<LiveGroup>,
    /// The role in which it carried weight last: which roles there are now says nothing about why
    /// it lost it.
    role: Side,
    /// The table in which it carried weight last, as far as was seen.
    carried_in: u64,
    /// When what still runs on it has to leave; `None` while it may stay.
    leave_at: Option<MonoTime>,
}

impl Groups {
    /// Takes a look at the table; tells whether a group departed.
    fn observe(&mut self, table: &RoutingTable, now: MonoTime) -> bool {
        if self.generation != Some(table.generation) {
            self.generation = Some(table.generation);
            for service in table.services.values() {
                self.look_at(service, now);
            }
            self.give_up(table, now);
        }
        let before = self.seen.len();
        self.seen.retain(|_, seen| {
            let leaves = seen.leave_at.is_some_and(|at| at <= now);
            if leaves {
                seen.live.depart();
            }
            !leaves
        });
        self.seen.len() < before
    }

    /// Groups that are in no table any more have to be left at once.
    fn give_up(&mut self, table: &RoutingTable, now: MonoTime) {
        let services = || table.services.values();
        let in_use = |name: &TargetGroupName| {
            services().any(|service| [&service.blue.group, &service.green.group].contains(&name))
        };
        for (name, seen) in &mut self.seen {
            if !in_use(name) {
                seen.leave_at.get_or_insert(now);
            }
        }
    }

    fn look_at(&mut self, service: &ServiceRoute, now: MonoTime) {
        for side in [Side::Blue, Side::Green] {
            let route = service.side(side);
            let carried_in = route.live.carried_in();
            let fresh =
                || Seen { live: Arc::clone(&route.live), role: side, carried_in, leave_at: None };
            if service.carries(side) {
                self.seen.insert(route.group.clone(), fresh());
                continue;
            }
            // It may have gained and lost its weight since the last look, with nobody seeing it.
            let seen = self.seen.entry(route.group.clone()).or_insert_with(fresh);
            if seen.carried_in != carried_in {
                (seen.carried_in, seen.leave_at) = (carried_in, None);
            }
            let patience = patience(service, seen.role);
            seen.leave_at.get_or_insert_with(|| now.plus(patience));
        }
    }
}

/// How long a side that lost its weight may go on.
fn patience(service: &ServiceRoute, side: Side) -> crate::core::model::Span {
    match (side, service.drain.on_rollback) {
        (Side::Green, StreamsOnRollback::Cut) => crate::core::model::Span::from_ms(0),
        (Side::Green, StreamsOnRollback::Drain) | (Side::Blue, _) => service.drain.timeout,
    }
}

/// How often the table is looked at.
const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::super::testkit::{service, table, with_green};
    use super::*;
    use crate::core::model::{Span, WhenIdle};

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_ms(seconds * 1_000)
    }

    fn stays(route: &ServiceRoute) -> (Stay, Stay) {
        (Stay::with(&route.blue.live), Stay::with(&route.green.live))
    }

    fn moved(route: &mut ServiceRoute, green: u16) -> RoutingTable {
        route.exposure = with_green(green);
        route.generation += 1;
        let mut table = table(route.clone(), WhenIdle::Refuse);
        table.generation = route.generation;
        table
    }

    #[test]
    fn a_group_without_weight_departs_after_its_time_and_not_before() {
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let mut route = service(5_000, &[address(1)], &[address(2)]);
        route.drain.timeout = Span::from_secs(30);
        let (blue, green) = stays(&route);
        let mut groups = Groups::default();
        assert!(!groups.observe(&moved(&mut route, 5_000), at(0)));
        assert!(!groups.observe(&moved(&mut route, 0), at(1)));
        assert!(!groups.observe(&moved(&mut route, 0), at(30)));
        assert!(!green.is_over());
        assert!(groups.observe(&moved(&mut route, 0), at(31)));
        assert!(green.is_over() && !blue.is_over());
        assert!(!groups.observe(&moved(&mut route, 0), at(99)));
        // What comes later is a stay of its own.
        assert!(!Stay::with(&route.green.live).is_over());
    }

    #[test]
    fn weight_that_came_and_went_between_two_looks_is_left_all_the_same() {
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let mut route = service(0, &[address(1)], &[address(2)]);
        route.drain.timeout = Span::from_secs(30);
        let mut groups = Groups::default();
        groups.observe(&moved(&mut route, 0), at(0));
        assert!(groups.observe(&moved(&mut route, 0), at(40)), "nobody was there");
        let unseen = moved(&mut route, 5_000);
        let (blue, green) = stays(unseen.services.values().next().expect("there is one"));
        assert!(!groups.observe(&moved(&mut route, 0), at(41)));
        assert!(!groups.observe(&moved(&mut route, 0), at(70)));
        assert!(!green.is_over());
        assert!(groups.observe(&moved(&mut route, 0), at(71)));
        assert!(green.is_over() && !blue.is_over());
    }

    #[test]
    fn weight_that_nobody_saw_come_and_go_begins_its_time_anew() {
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let mut route = service(0, &[address(1)], &[address(2)]);
        route.drain.timeout = Span::from_secs(30);
        let mut groups = Groups::default();
        groups.observe(&moved(&mut route, 0), at(0));
        let unseen = moved(&mut route, 5_000);
        unseen.mark_carriers();
        let (_, green) = stays(unseen.services.values().next().expect("there is one"));
        assert!(!groups.observe(&moved(&mut route, 0), at(20)));
        assert!(!groups.observe(&moved(&mut route, 0), at(49)), "its time began at 20 s");
        assert!(!green.is_over());
        assert!(groups.observe(&moved(&mut route, 0), at(50)));
        assert!(green.is_over());
    }

    #[test]
    fn weight_that_comes_back_in_time_keeps_everything() {
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let mut route = service(5_000, &[address(1)], &[address(2)]);
        route.drain.timeout = Span::from_secs(30);
        let (_, green) = stays(&route);
        let mut groups = Groups::default();
        for (seconds, weight) in [(0, 100), (1, 0), (20, 100), (40, 100), (41, 0), (70, 0)] {
            assert!(!groups.observe(&moved(&mut route, weight), at(seconds)), "{seconds}");
        }
        assert!(!green.is_over());
        assert!(groups.observe(&moved(&mut route, 0), at(71)));
        assert!(green.is_over());
    }

    #[test]
    fn a_rollback_may_cut_at_once_and_a_promotion_never_does() {
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let mut route = service(5_000, &[address(1)], &[address(2)]);
        route.drain.on_rollback = StreamsOnRollback::Cut;
        let (blue, green) = stays(&route);
        let mut groups = Groups::default();
        groups.observe(&moved(&mut route, 5_000), at(0));
        assert!(!groups.observe(&moved(&mut route, 10_000), at(1)));
        assert!(groups.observe(&moved(&mut route, 0), at(2)));
        assert!(green.is_over() && !blue.is_over());
    }
}
