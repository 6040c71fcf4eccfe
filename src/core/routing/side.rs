//! Which side a request gets, and which target of that side.

use std::sync::Arc;

use crate::core::analysis::comparison::Counters;
use crate::core::model::{
    Balance, DrainPolicy, Exposure, MirrorPolicy, Panic, ReleaseTraffic, RetryPolicy, Revision,
    ServiceName, Side, Stickiness, TargetGroupName, TargetProtocol, Timeouts,
};

use super::{Link, LiveGroup, LiveService, LiveTarget, cohort_position, side_at};

/// The number under which a side's requests are counted; the telemetry adapter hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterId(pub u32);

/// One side of a service in one table.
#[derive(Clone, Debug)]
pub struct SideRoute {
    /// The group that has this role.
    pub group: TargetGroupName,
    /// What the group runs; `None` until a deploy tool said so.
    pub revision: Option<Revision>,
    /// Its targets.
    pub targets: Box<[Arc<LiveTarget>]>,
    /// What the group keeps between tables.
    pub live: Arc<LiveGroup>,
    /// Where its requests are counted.
    pub meter: MeterId,
    /// How its targets are spoken to.
    pub link: Arc<Link>,
}

/// One service in one table.
#[derive(Clone, Debug)]
pub struct ServiceRoute {
    /// Its name.
    pub name: ServiceName,
    /// The table's generation.
    pub generation: u64,
    /// How much of the traffic sees green.
    pub exposure: Exposure,
    /// What served before.
    pub blue: SideRoute,
    /// What is being rolled out; without weight while there is no rollout.
    pub green: SideRoute,
    /// What keeps users on a side; `None` draws for each request.
    pub stickiness: Option<Stickiness>,
    /// How a target is chosen.
    pub balance: Balance,
    /// What an all unhealthy group does.
    pub panic: Panic,
    /// Bounds on requests to targets.
    pub timeouts: Timeouts,
    /// Whether responses tell side, revision and generation.
    pub tell_side: bool,
    /// What becomes of streams when their side loses its weight.
    pub drain: DrainPolicy,
    /// What a release treats apart of its traffic.
    pub release: Arc<ReleaseTraffic>,
    /// The most requests in flight at one target; `None` sets no limit.
    pub target_limit: Option<u32>,
    /// Which failures of a target are tried again.
    pub retries: RetryPolicy,
    /// Which requests green sees before it has any weight; `None` for none.
    pub mirror: Option<MirrorPolicy>,
    /// What the service keeps between tables.
    pub live: Arc<LiveService>,
    /// What the requests of its rollout are counted in to compare green with blue; `None` while
    /// there is nothing to compare.
    pub comparison: Option<Arc<Counters>>,
}

impl ServiceRoute {
    /// Whether requests may come to a side.
    #[must_use]
    pub fn carries(&self, side: Side) -> bool {
        let green = self.exposure.split.green();
        match side {
            Side::Blue => green.bp() < 10_000,
            // A test listener answers from a green without weight.
            Side::Green => green.bp() > 0 || self.exposure.green_exists,
        }
    }

    /// The side for a draw that is uniform over 0..10 000: green exactly below its weight.
    #[must_use]
    pub fn side_by_draw(&self, draw: u16) -> Side {
        side_at(self.exposure.split.green(), draw)
    }

    /// The side of a cohort key.
    #[must_use]
    pub fn side_by_cohort(&self, key: &[u8]) -> Side {
        self.side_by_draw(cohort_position(self.exposure.salt, key))
    }

    /// Whether HTTP/1.1 is spoken with the targets of both sides.
    #[must_use]
    pub fn speaks_http1(&self) -> bool {
        let speaks = |side: &SideRoute| side.link.transport().protocol == TargetProtocol::Http1;
        speaks(&self.blue) && speaks(&self.green)
    }

    /// One side.
    #[must_use]
    pub fn side(&self, side: Side) -> &SideRoute {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }

    /// Chooses a target of a side; `draw` is uniform over all 64-bit numbers, `avoid` is the
    /// target of a first attempt.
    ///
    /// Healthy targets first, unchecked ones when there are none, all of them in a panic; those
    /// that are ejected only in a panic, and those at their limit never. Two requests at the same
    /// moment may both find the last place: a limit is exceeded by no more than the requests that
    /// are chosen for at once. `None` if the side has no target that may be tried.
    #[must_use]
    pub fn pick(
        &self,
        side: Side,
        draw: u64,
        avoid: Option<&LiveTarget>,
    ) -> Option<&Arc<LiveTarget>> {
        self.pick_of(side, draw, avoid, |t| {
            self.target_limit.is_none_or(|limit| t.in_flight() < limit)
        })
    }

    /// Whether a side has no target now because those that may be tried are at their limit.
    #[must_use]
    pub fn is_at_limit(&self, side: Side) -> bool {
        self.pick(side, 0, None).is_none() && self.pick_of(side, 0, None, |_| true).is_some()
    }

    /// Whether every target of a side is known to be down: out by its checks or ejected, or with
    /// nothing but failures of late. Such a side is asked only because there is no better one.
    #[must_use]
    pub fn is_down(&self, side: Side) -> bool {
        let is_up =
            |t: &Arc<LiveTarget>| t.may_serve() && t.consecutive_failures() < FAILURES_OF_LATE;
        !self.side(side).targets.iter().any(is_up)
    }

    fn pick_of(
        &self,
        side: Side,
        draw: u64,
        avoid: Option<&LiveTarget>,
        free: impl Fn(&LiveTarget) -> bool,
    ) -> Option<&Arc<LiveTarget>> {
        let side = self.side(side);
        let healthy = |t: &LiveTarget| t.is_able() && free(t);
        let unchecked = |t: &LiveTarget| t.is_unchecked() && free(t);
        let other = |t: &LiveTarget| !avoid.is_some_and(|first| std::ptr::eq(first, t));
        side.choose(self.balance, draw, |t| healthy(t) && other(t))
            .or_else(|| side.choose(self.balance, draw, |t| unchecked(t) && other(t)))
            .or_else(|| side.choose(self.balance, draw, healthy))
            .or_else(|| match self.panic {
                Panic::TryAll => side
                    .choose(self.balance, draw, |t| other(t) && free(t))
                    .or_else(|| side.choose(self.balance, draw, &free)),
                Panic::Refuse => side.choose(self.balance, draw, unchecked),
            })
    }
}

impl SideRoute {
    fn choose(
        &self,
        balance: Balance,
        draw: u64,
        may: impl Fn(&LiveTarget) -> bool + Copy,
    ) -> Option<&Arc<LiveTarget>> {
        self.balanced(balance, draw, may).map(|chosen| self.warmed(chosen, draw, may))
    }

    fn balanced(
        &self,
        balance: Balance,
        draw: u64,
        may: impl Fn(&LiveTarget) -> bool,
    ) -> Option<&Arc<LiveTarget>> {
        let count = self.targets.iter().filter(|t| may(t)).count();
        // Health changes while we look: the second pass may find fewer than the first counted.
        let nth = |n: usize| self.targets.iter().filter(|t| may(t)).nth(n);
        let scale = |bits: u32| {
            usize::try_from((u64::from(bits) * u64::try_from(count).unwrap_or(0)) >> 32)
                .unwrap_or(0)
        };
        match (balance, count) {
            (_, 0) => None,
            (_, 1) => nth(0),
            (Balance::RoundRobin, _) => {
                nth(usize::try_from(self.live.next_turn()).unwrap_or(0) % count).or_else(|| nth(0))
            }
            (Balance::LeastOfTwo, _) => {
                let (high, low) = halves(draw);
                let first = scale(high);
                let second = (first + 1 + scale(low) % (count - 1)) % count;
                match (nth(first), nth(second)) {
                    (Some(a), Some(b)) => Some(if b.in_flight() < a.in_flight() { b } else { a }),
                    (a, b) => a.or(b).or_else(|| nth(0)),
                }
            }
        }
    }
}

fn halves(draw: u64) -> (u32, u32) {
    let high = u32::try_from(draw >> 32).expect("the upper half of 64 bits fits 32");
    let low = u32::try_from(draw & u64::from(u32::MAX)).expect("the lower half of 64 bits fits 32");
    (high, low)
}

/// One failure may be chance, and the last target of a side is never ejected.
const FAILURES_OF_LATE: u32 = 3;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::model::{Split, Target, TargetGroup, TargetHealth, Weight};
    use crate::core::routing::LiveTargets;

    pub(in crate::core::routing) fn service(green: Weight, targets: &[&str]) -> ServiceRoute {
        let side = |name: &str| {
            let name: TargetGroupName = name.parse().expect("valid");
            let list =
                targets.iter().map(|a| Target { address: a.parse().expect("valid") }).collect();
            let mut live = LiveTargets::default();
            let group = TargetGroup::new(name.clone(), list).expect("valid");
            live.register(&group, TargetHealth::Healthy);
            SideRoute {
                group: name.clone(),
                revision: None,
                targets: live.targets(&name).cloned().collect(),
                live: live.group(&name),
                meter: MeterId(0),
                link: Arc::new(Link::new(0, Default::default())),
            }
        };
        ServiceRoute {
            name: "shop".parse().expect("valid"),
            generation: 1,
            exposure: Exposure { split: Split::with_green(green), ..Exposure::default() },
            blue: side("a"),
            green: side("b"),
            stickiness: None,
            balance: Balance::LeastOfTwo,
            panic: Panic::TryAll,
            timeouts: Timeouts::default(),
            tell_side: false,
            drain: DrainPolicy::default(),
            release: Arc::default(),
            target_limit: None,
            retries: RetryPolicy::default(),
            mirror: None,
            live: Arc::default(),
            comparison: None,
        }
    }

    #[test]
    fn every_weight_gets_exactly_its_share_of_all_draws() {
        let mut route = service(Weight::ZERO, &[]);
        for bp in 0..=10_000 {
            let weight = Weight::from_bp(bp).expect("in range");
            route.exposure.split = Split::with_green(weight);
            let green = (0..10_000).filter(|draw| route.side_by_draw(*draw) == Side::Green).count();
            assert_eq!(green, usize::from(bp));
        }
    }

    #[test]
    fn a_growing_weight_moves_nobody_back() {
        let mut route = service(Weight::ZERO, &[]);
        let keys: Vec<String> = (0..100_000).map(|i| format!("user-{i}")).collect();
        let mut before = vec![Side::Blue; keys.len()];
        for bp in (0..=10_000).step_by(100) {
            route.exposure.split = Split::with_green(Weight::from_bp(bp).expect("in range"));
            for (key, earlier) in keys.iter().zip(&mut before) {
                let side = route.side_by_cohort(key.as_bytes());
                assert!(*earlier == Side::Blue || side == Side::Green, "{key} went back at {bp}");
                *earlier = side;
            }
        }
        assert!(before.iter().all(|side| *side == Side::Green));
    }

    #[test]
    fn unhealthy_targets_are_left_out_until_none_is_left() {
        let mut route = service(Weight::ZERO, &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        route.blue.targets[1].set_health(TargetHealth::Unhealthy);
        let chosen = |route: &ServiceRoute| {
            let mut ports: Vec<u16> = (0..256u64)
                .filter_map(|i| route.pick(Side::Blue, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), None))
                .map(|t| t.address().socket_addr().port())
                .collect();
            ports.sort_unstable();
            ports.dedup();
            ports
        };
        assert_eq!(chosen(&route), [1, 3]);
        for target in &route.blue.targets {
            target.set_health(TargetHealth::Unhealthy);
        }
        assert_eq!(chosen(&route), [1, 2, 3]);
        route.panic = Panic::Refuse;
        assert!(chosen(&route).is_empty());
        route.blue.targets[2].set_health(TargetHealth::Unknown);
        assert_eq!(chosen(&route), [3]);
    }

    #[test]
    fn the_less_loaded_of_two_is_taken_and_a_second_attempt_goes_elsewhere() {
        let route = service(Weight::ZERO, &["127.0.0.1:1", "127.0.0.1:2"]);
        route.blue.targets[0].enter();
        for draw in [0, u64::MAX, 1 << 40] {
            let first = route.pick(Side::Blue, draw, None).expect("a target");
            assert_eq!(first.address().socket_addr().port(), 2);
            let second = route.pick(Side::Blue, draw, Some(first)).expect("a target");
            assert_eq!(second.address().socket_addr().port(), 1);
        }
    }

    /// The ports of the targets that any of many draws leads to.
    fn ports(route: &ServiceRoute) -> Vec<u16> {
        let mut ports: Vec<u16> = (0..256u64)
            .filter_map(|i| route.pick(Side::Blue, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), None))
            .map(|t| t.address().socket_addr().port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    #[test]
    fn ejected_targets_are_tried_in_a_panic_alone() {
        let mut route = service(Weight::ZERO, &["127.0.0.1:1", "127.0.0.1:2"]);
        route.blue.targets[0].eject();
        assert_eq!(ports(&route), [2]);
        route.blue.targets[1].set_health(TargetHealth::Unknown);
        assert_eq!(ports(&route), [2]);
        route.blue.targets[1].set_health(TargetHealth::Unhealthy);
        assert_eq!(ports(&route), [1, 2]);
        route.panic = Panic::Refuse;
        assert!(ports(&route).is_empty());
        route.blue.targets[0].readmit();
        assert_eq!(ports(&route), [1]);
    }

    #[test]
    fn targets_at_their_limit_are_left_out_even_in_a_panic() {
        let mut route = service(Weight::ZERO, &["127.0.0.1:1", "127.0.0.1:2"]);
        route.target_limit = Some(2);
        let [first, second] = [0, 1].map(|i| Arc::clone(&route.blue.targets[i]));
        first.enter();
        assert_eq!(ports(&route), [2], "the less loaded");
        second.enter();
        second.enter();
        assert_eq!(ports(&route), [1]);
        assert!(!route.is_at_limit(Side::Blue));
        first.enter();
        assert!(ports(&route).is_empty());
        assert!(route.is_at_limit(Side::Blue));
        for target in [&first, &second] {
            target.set_health(TargetHealth::Unhealthy);
        }
        assert!(ports(&route).is_empty());
        assert!(route.is_at_limit(Side::Blue));
        route.panic = Panic::Refuse;
        assert!(!route.is_at_limit(Side::Blue), "they could not be tried anyway");
        second.set_health(TargetHealth::Healthy);
        second.leave();
        assert_eq!(ports(&route), [2]);
    }

    #[test]
    fn a_side_is_down_when_nothing_speaks_for_any_target_of_it() {
        let route = service(Weight::ZERO, &["127.0.0.1:1", "127.0.0.1:2"]);
        let [first, second] = [0, 1].map(|i| Arc::clone(&route.blue.targets[i]));
        assert!(!route.is_down(Side::Blue));
        first.set_health(TargetHealth::Unhealthy);
        assert!(!route.is_down(Side::Blue));
        for failures in 0..FAILURES_OF_LATE {
            assert!(!route.is_down(Side::Blue), "after {failures}");
            second.count_failure();
        }
        assert!(route.is_down(Side::Blue));
        second.count_success();
        assert!(!route.is_down(Side::Blue));
        first.set_health(TargetHealth::Unknown);
        second.set_health(TargetHealth::Unhealthy);
        assert!(!route.is_down(Side::Blue));
    }
}
