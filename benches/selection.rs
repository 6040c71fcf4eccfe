//! The proxy's own work on a request: load the table, match the rule, choose side and target.
//!
//! It has to stay far below a microsecond, and it allocates nothing.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use criterion::Criterion;
use http::{HeaderMap, HeaderValue};
use tidegate::core::analysis::comparison::{
    ClusterGuard, Cohort, Counters, MetricSet, Rules, Settled,
};
use tidegate::core::analysis::{Threshold, Thresholds};
use tidegate::core::model::{
    Balance, DrainPolicy, Exposure, HostMatch, IssuedCookie, ListenerName, MonoTime, Panic,
    PathMatch, RequestMatch, RetryPolicy, Rule, Salt, ServiceName, Split, Stickiness,
    StickyFallback, Target, TargetGroup, TargetGroupName, TargetHealth, Timeouts, Transport,
    Weight,
};
use tidegate::core::routing::{
    Link, ListenerRoutes, LiveTargets, MeterId, RoutingTable, ServiceRoute, SideRoute,
};
use tidegate::proxy::{Draws, Question, Selection};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let sticky = Stickiness {
        header: Some("x-user-id".to_owned()),
        cookie: Some("session".to_owned()),
        fallback: StickyFallback::IssuedCookie,
        issued: IssuedCookie::default(),
    };
    let plain = HeaderMap::new();
    let by_header = headers("x-user-id", "user-4711");
    let by_cookie = headers("cookie", "theme=dark; lang=en; session=0123456789abcdef");
    bench(&mut criterion, "by draw", None, &plain);
    bench(&mut criterion, "sticky by header", Some(&sticky), &by_header);
    bench(&mut criterion, "sticky by cookie", Some(&sticky), &by_cookie);
    bench(&mut criterion, "sticky by an issued cookie", Some(&sticky), &plain);
    bench_compared(&mut criterion, "by draw, compared", None, &plain);
    bench_compared(&mut criterion, "sticky by header, compared", Some(&sticky), &by_header);
    bench_compared(&mut criterion, "sticky by an issued cookie, compared", Some(&sticky), &plain);
    criterion.final_summary();
}

fn bench(
    criterion: &mut Criterion,
    name: &str,
    stickiness: Option<&Stickiness>,
    headers: &HeaderMap,
) {
    let listener: ListenerName = parsed("public");
    let table = ArcSwap::from_pointee(table(&listener, stickiness, None));
    let mut turn = 0_u64;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            turn = turn.wrapping_add(GOLDEN);
            let table = table.load();
            let question = question(&listener, headers);
            let selection = Selection::choose(&table, &question, &draws(turn));
            black_box(selection.is_ok_and(|selection| selection.target.is_some()))
        });
    });
}

/// With everything on: the selection, and what a comparison counts of the request in all, from its
/// arrival to its outcome.
fn bench_compared(
    criterion: &mut Criterion,
    name: &str,
    stickiness: Option<&Stickiness>,
    headers: &HeaderMap,
) {
    let listener: ListenerName = parsed("public");
    let counters =
        Counters::new(Rules::SMALLEST_RING, stickiness.is_some(), ClusterGuard::default());
    let weight = Weight::from_bp(1_000).expect("10% is a weight");
    let threshold = |us| Some(Threshold { blue_us: us, green_us: us + us / 10 });
    let thresholds =
        Thresholds { each: [threshold(50_000), threshold(90_000), threshold(300_000)] };
    let counters = Arc::new(counters);
    let open = |number| {
        let dormant = MetricSet::NONE;
        counters.open(&Cohort { number, epoch: 0, step: 0, weight, dormant }, &thresholds);
    };
    let table = ArcSwap::from_pointee(table(&listener, stickiness, Some(&counters)));
    let (mut turn, mut requests) = (0_u64, 0_u64);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            if requests.is_multiple_of(COHORT) {
                open(requests / COHORT);
            }
            requests += 1;
            turn = turn.wrapping_add(GOLDEN);
            let table = table.load();
            let question = question(&listener, headers);
            let Ok(selection) = Selection::choose(&table, &question, &draws(turn)) else {
                return false;
            };
            count(&selection, turn % 100_000)
        });
    });
}

fn question<'r>(listener: &'r ListenerName, headers: &'r HeaderMap) -> Question<'r> {
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

fn draws(turn: u64) -> Draws {
    let side = u16::try_from(turn % 10_000).expect("a rest of 10000 is below it");
    Draws { side, target: turn, cohort: u128::from(turn) }
}

/// Counts a request in and settles it, as the proxy does at its headers.
fn count(selection: &Selection<'_>, latency_us: u64) -> bool {
    let service = selection.service;
    let weight = service.exposure.split.green();
    let Some(counters) = service.comparison.as_ref().filter(|_| service.blue_may_serve()) else {
        return false;
    };
    let Some(ticket) = counters.arrive(selection.side, weight, selection.unit) else {
        return false;
    };
    service.live.latencies.record(latency_us);
    let (latency_us, endpoint) = (Some(latency_us), Some(0));
    let settled = Settled { errors: false, client4xx: false, latency_us, endpoint };
    counters.settle(ticket, settled, MonoTime::from_ms(0));
    true
}

/// A listener with ten rules, which lead to ten services of twice four targets.
fn table(
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

fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    [(http::HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the bench writes what can be parsed")
}

const SERVICES: usize = 10;
const TARGETS: u16 = 4;
/// How many requests a cohort gets.
const COHORT: u64 = 1_000;
/// A step that visits every side and target: 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
