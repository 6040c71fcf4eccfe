//! The world of the benches: a listener with ten rules, which lead to ten services of twice four
//! targets.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tidegate::core::analysis::comparison::Counters;
use tidegate::core::model::{
    Balance, DrainPolicy, Exposure, HostMatch, ListenerName, Panic, PathMatch, RequestMatch,
    RetryPolicy, Rule, Salt, ServiceName, Split, Stickiness, Target, TargetGroup, TargetGroupName,
    TargetHealth, Timeouts, Transport, Weight,
};
use tidegate::core::routing::{
    Link, ListenerRoutes, LiveTargets, MeterId, RoutingTable, ServiceRoute, SideRoute,
};
use tidegate::proxy::{Draws, Question};

pub(crate) fn question<'r>(listener: &'r ListenerName, headers: &'r HeaderMap) -> Question<'r> {
    Question {
        listener,
        host: black_box("shop.example.com"),
        path: black_box("/api/orders/17"),
        headers,
        client: None,
        method: "GET",
        secure: false,
    }
}

pub(crate) fn draws(turn: u64) -> Draws {
    let side = u16::try_from(turn % 10_000).expect("a rest of 10000 is below it");
    Draws { side, target: turn, cohort: u128::from(turn) }
}

/// The table; each service counts into the comparison, if there is one.
pub(crate) fn table(
    listener: &ListenerName,
    stickiness: Option<&Stickiness>,
    comparison: Option<&Arc<Counters>>,
) -> RoutingTable {
    let names: Vec<String> = (0..SERVICES).map(|n| format!("service-{n}")).collect();
    let mut live = LiveTargets::default();
    let services: BTreeMap<ServiceName, Arc<ServiceRoute>> = names
        .iter()
        .map(|name| {
            let service = service(name, stickiness, comparison, &mut live);
            (parsed(name), Arc::new(service))
        })
        .collect();
    let rule = |(n, name): (usize, &String)| {
        let matched = RequestMatch {
            host: HostMatch::exact("shop.example.com").expect("it is a host"),
            path: match n {
                0 => PathMatch::prefix("/api").expect("it is a path"),
                n => PathMatch::prefix(&format!("/api/{n}")).expect("it is a path"),
            },
            ..RequestMatch::default()
        };
        Rule::to_service(matched, parsed(name))
    };
    let rules: Vec<Rule> = names.iter().enumerate().map(rule).collect();
    let routes = ListenerRoutes::new(None, &rules, &services);
    RoutingTable { generation: 1, listeners: [(listener.clone(), routes)].into(), services }
}

fn service(
    name: &str,
    stickiness: Option<&Stickiness>,
    comparison: Option<&Arc<Counters>>,
    live: &mut LiveTargets,
) -> ServiceRoute {
    let green = Weight::from_bp(1_000).expect("10% is a weight");
    ServiceRoute {
        name: parsed(name),
        generation: 1,
        exposure: Exposure {
            split: Split::with_green(green),
            salt: Salt { k0: 1, k1: 2 },
            green_exists: true,
        },
        blue: side(&format!("{name}-a"), 0, live),
        green: side(&format!("{name}-b"), 1, live),
        stickiness: stickiness.cloned(),
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
        comparison: comparison.cloned(),
    }
}

fn side(name: &str, meter: u32, live: &mut LiveTargets) -> SideRoute {
    let group: TargetGroupName = parsed(name);
    let target = |n| Target { address: parsed(&format!("127.0.0.1:{}", 9_000 + n)) };
    let targets = TargetGroup::new(group.clone(), (0..TARGETS).map(target).collect());
    live.register(&targets.expect("the addresses differ"), TargetHealth::Healthy);
    SideRoute {
        revision: None,
        targets: live.targets(&group).cloned().collect(),
        live: live.group(&group),
        group,
        meter: MeterId(meter),
        link: Arc::new(Link::new(0, Transport::default())),
    }
}

pub(crate) fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    [(http::HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
}

pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the bench writes what can be parsed")
}

const SERVICES: usize = 10;
const TARGETS: u16 = 4;
/// A step that visits every side and target: 2^64 divided by the golden ratio, made odd.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
