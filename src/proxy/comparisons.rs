//! The comparison over real sockets: which requests are evidence, for which side, and of what.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::evidence::Evidence;
use super::score::Score;
use super::selection::{Draws, Question, Selection};
use super::testkit::{
    Act, Dead, Origin, PATIENCE, World, body, compare, ok, public, service, status, table, until,
    with_green,
};
use super::wirekit::{H2Client, H2Origin, Says, h2c_listener, post};
use crate::clock::Clock;
use crate::core::analysis::comparison::{Cells, Counters, Metric, Row};
use crate::core::model::{
    GreenFor, IssuedCookie, ReleaseTraffic, ServiceName, Side, Span, Stickiness, StickyFallback,
    TargetHealth, TargetProtocol, Transport, Wanted, WhenIdle,
};
use crate::core::routing::{Link, MeterId, ServiceRoute};
use crate::telemetry::{MeterKey, Recorder};

/// Slower than this is slow, on either side.
const SLOW_US: u64 = 5_000_000;
const SIDES: [Side; 2] = [Side::Blue, Side::Green];

/// What a target makes of a request, by its path.
fn by_path(request: &str, _: usize) -> Vec<Act> {
    let say = |text: &str| vec![Act::Send(text.to_owned())];
    match request.split(' ').nth(1).unwrap_or_default() {
        "/broken" => vec![Act::Close],
        "/silent" => vec![Act::Wait(Duration::from_secs(600))],
        "/hints" => say("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"),
        "/agrees" => say("HTTP/1.1 101 Well\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        "/short" => {
            let mut acts = say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
            acts.extend([Act::Wait(Duration::from_millis(50)), Act::Close]);
            acts
        }
        "/late" => {
            let mut acts = vec![Act::Wait(Duration::from_millis(600))];
            acts.extend(ok("late"));
            acts
        }
        path => {
            let code = path.trim_start_matches('/');
            say(&format!("HTTP/1.1 {code} Said\r\ncontent-length: 0\r\n\r\n"))
        }
    }
}

/// A service whose requests all go to one side, and are tried there alone.
fn on(side: Side, origin: &Origin) -> ServiceRoute {
    let weight = match side {
        Side::Blue => 0,
        Side::Green => 10_000,
    };
    let mut route = service(weight, &[origin.address], &[origin.address]);
    route.retries.rescue = false;
    route.timeouts.read = Span::from_ms(300);
    route
}

fn cells(counters: &Counters) -> Cells {
    counters.read(0).expect("its cohort is in the ring")
}

fn row(counters: &Counters, metric: Metric) -> Row {
    cells(counters).rows[metric.index()]
}

/// A row of one side alone.
fn of_side(side: Side, arrived: u32, bad: u32) -> Row {
    match side {
        Side::Green => {
            Row { green: arrived, green_bad: bad, green_ok: arrived - bad, ..Row::default() }
        }
        Side::Blue => {
            Row { blue: arrived, blue_bad: bad, blue_ok: arrived - bad, ..Row::default() }
        }
    }
}

/// Waits until every request is settled, of which so many arrived.
async fn settled(counters: &Counters, arrived: u32) {
    until("every request is settled", || {
        let cells = cells(counters);
        cells.is_complete() && cells.absolute.green + cells.absolute.blue == arrived
    })
    .await;
}

fn register(recorder: &Recorder) {
    for (side, group) in [(Side::Blue, "shop-a"), (Side::Green, "shop-b")] {
        recorder.register(&MeterKey {
            service: "shop".parse().expect("valid"),
            side,
            target_group: group.parse().expect("valid"),
        });
    }
}

#[tokio::test]
async fn every_kind_of_outcome_has_its_cells() {
    let origin = Origin::new(by_path).await;
    for side in SIDES {
        let mut route = on(side, &origin);
        let counters = compare(&mut route, SLOW_US);
        let world = World::new(route);
        let (mut arrived, mut errors, mut client4xx) = (0, 0, 0);
        for (path, is_error, is_client4xx) in [
            ("/200", 0, 0),
            ("/302", 0, 0),
            ("/401", 0, 0),
            ("/404", 0, 1),
            ("/407", 0, 0),
            ("/429", 0, 0),
            ("/hints", 0, 1),
            ("/500", 1, 0),
            ("/503", 1, 0),
            ("/broken", 1, 0),
            ("/silent", 1, 0),
        ] {
            world.client().await.get(path, "").await;
            (arrived, errors) = (arrived + 1, errors + is_error);
            client4xx += is_client4xx;
            settled(&counters, arrived).await;
            let found = cells(&counters);
            let of = |metric: Metric| found.rows[metric.index()];
            assert_eq!(found.absolute, of_side(side, arrived, errors), "{side} {path}");
            assert_eq!(of(Metric::Errors), of_side(side, arrived, errors), "{side} {path}");
            assert_eq!(of(Metric::Client4xx), of_side(side, arrived, client4xx), "{side} {path}");
            for metric in Metric::LATENCIES {
                assert_eq!(of(metric), of_side(side, arrived, errors), "an error is slow: {path}");
            }
            let named: u32 = found.bad_by_endpoint[Metric::Errors.index()].iter().sum();
            assert_eq!(named, if side == Side::Green { errors } else { 0 }, "{path}");
        }
        assert_eq!(counters.late_failures(side), 0);
    }
}

#[tokio::test]
async fn an_upgrade_is_settled_while_its_tunnel_is_open() {
    let origin = Origin::new(by_path).await;
    let mut route = on(Side::Green, &origin);
    let counters = compare(&mut route, SLOW_US);
    let world = World::new(route);
    let mut client = world.client().await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    assert_eq!(status(&client.get("/agrees", upgrade).await), 101);
    settled(&counters, 1).await;
    assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 1, 0));
    let mut other = world.client().await;
    assert_eq!(status(&other.get("/503", upgrade).await), 503);
    settled(&counters, 2).await;
    assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 2, 1));
}

#[tokio::test]
async fn a_side_that_cannot_be_reached_or_has_nobody_is_bad() {
    let (dead, blue) = (Dead::new(), Origin::saying("blue").await);
    let mut route = service(10_000, &[blue.address], &[dead.address]);
    let counters = compare(&mut route, SLOW_US);
    assert_eq!(body(&World::new(route).get("").await), "blue");
    settled(&counters, 1).await;
    assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 1, 1));
    assert_eq!(cells(&counters).bad_by_endpoint[Metric::Errors.index()][0], 1);

    let mut route = service(10_000, &[blue.address], &[]);
    let counters = compare(&mut route, SLOW_US);
    assert_eq!(body(&World::new(route).get("").await), "blue");
    settled(&counters, 1).await;
    assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 1, 1));
    let named: u32 = cells(&counters).bad_by_endpoint[Metric::Errors.index()].iter().sum();
    assert_eq!(named, 0, "no target is to blame");

    let mut route = service(10_000, &[blue.address], &[]);
    route.retries.rescue = false;
    let counters = compare(&mut route, SLOW_US);
    assert_eq!(status(&World::new(route).get("").await), 503);
    settled(&counters, 1).await;
    assert_eq!(row(&counters, Metric::LatencyP99), of_side(Side::Green, 1, 1));
}

#[tokio::test]
async fn a_rescue_leaves_the_failure_with_green_and_gives_blue_nothing() {
    let (blue, green) = (Origin::new(by_path).await, Origin::new(by_path).await);
    let mut route = service(10_000, &[blue.address], &[green.address]);
    let counters = compare(&mut route, SLOW_US);
    let live = Arc::clone(&route.live);
    let world = World::new(route);
    for (n, path) in [(1, "/503"), (2, "/broken")] {
        let answer = world.client().await.get(path, "").await;
        assert!(status(&answer) >= 500, "blue does no better: {answer}");
        settled(&counters, n).await;
        assert_eq!(cells(&counters).absolute, of_side(Side::Green, n, n), "{path}");
        assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, n, n), "{path}");
        timeout(PATIENCE, world.recorder.green_failed()).await.expect("told of it");
    }
    assert_eq!((counters.green_bad(), counters.late_failures(Side::Green)), (2, 0));
    assert_eq!(live.latencies.take().total(), 0);
    assert_eq!((blue.seen().len(), green.seen().len()), (2, 2));
}

#[tokio::test]
async fn what_green_alone_is_given_less_time_for_is_no_failure_of_it() {
    let (blue, other) = (Origin::saying("blue").await, Origin::saying("blue").await);
    let green = Origin::new(by_path).await;
    let open = Row { green: 1, ..Row::default() };
    let failed = of_side(Side::Green, 1, 1);
    for (blues, slow_us, errors, latency) in [
        // Nobody but this one could answer for blue: it would be waited for as long as `read`.
        (vec![blue.address], 20_000, open, of_side(Side::Green, 1, 1)),
        (vec![blue.address], SLOW_US, open, of_side(Side::Green, 1, 0)),
        (vec![blue.address, other.address], SLOW_US, failed, failed),
    ] {
        let mut route = service(10_000, &blues, &[green.address]);
        route.timeouts.per_try = Some(Span::from_ms(100));
        let counters = compare(&mut route, slow_us);
        assert_eq!(body(&World::new(route).client().await.get("/silent", "").await), "blue");
        until("its latency is known", || cells(&counters).green_timed[0] == 1).await;
        assert_eq!(row(&counters, Metric::Errors), errors, "{blues:?}");
        assert_eq!(row(&counters, Metric::LatencyP50), latency, "{blues:?} {slow_us}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_headers_is_bad_on_both_sides() {
    for side in SIDES {
        let origin = Origin::new(by_path).await;
        let mut route = on(side, &origin);
        route.timeouts.read = Span::from_secs(60);
        let counters = compare(&mut route, SLOW_US);
        let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
        let client = H2Client::of(&world).await;
        tokio::select! {
            _ = client.get("/silent") => panic!("nobody answers this"),
            () = until("the target has it", || !origin.seen().is_empty()) => {}
        }
        settled(&counters, 1).await;
        assert_eq!(row(&counters, Metric::Errors), of_side(side, 1, 1));
        assert_eq!(row(&counters, Metric::LatencyP50), of_side(side, 1, 1));
        assert_eq!(row(&counters, Metric::Client4xx), of_side(side, 1, 0));
    }
}

#[tokio::test]
async fn who_waits_for_a_target_of_green_is_counted_before_the_answer() {
    let origin = Origin::new(by_path).await;
    let mut route = on(Side::Green, &origin);
    route.timeouts.read = Span::from_secs(60);
    let counters = compare(&mut route, SLOW_US);
    let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
    let client = H2Client::of(&world).await;
    let waits = || {
        let cells = cells(&counters);
        (cells.green_written[0], cells.green_timed[0]) == (1, 0)
    };
    tokio::select! {
        _ = client.get("/silent") => panic!("nobody answers this"),
        () = until("its target has it", waits) => {}
    }
    settled(&counters, 1).await;
    let found = cells(&counters);
    assert_eq!((found.green_written[0], found.green_timed[0]), (1, 1), "its client is gone");
    assert_eq!(row(&counters, Metric::LatencyP50), of_side(Side::Green, 1, 1));
}

#[tokio::test]
async fn a_request_whose_future_is_dropped_is_settled_as_given_up() {
    let origin = Origin::saying("fine").await;
    for side in SIDES {
        let mut route = on(side, &origin);
        let counters = compare(&mut route, SLOW_US);
        let table = table(route, WhenIdle::Refuse);
        let (listener, headers) = (public(), http::HeaderMap::new());
        let question = Question {
            listener: &listener,
            host: "shop.test",
            path: "/",
            headers: &headers,
            client: None,
            method: "GET",
            secure: false,
        };
        let chosen = Selection::choose(&table, &question, &Draws::random()).expect("routed");
        let score = || {
            let evidence = Evidence::arrive(&chosen, 0);
            Score::new(Arc::default(), Clock::start(), MeterId(0), 0, evidence)
        };
        let open = score();
        assert!(!cells(&counters).is_complete());
        drop(open);
        assert_eq!(row(&counters, Metric::Errors), of_side(side, 1, 1));
        let mut answered = score();
        answered.answered(200);
        drop(answered);
        assert_eq!(row(&counters, Metric::Errors), of_side(side, 2, 1), "its header was there");
    }
}

#[tokio::test]
async fn what_no_draw_decides_is_in_no_cell() {
    let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
    let mut route = service(0, &[blue.address], &[green.address]);
    route.exposure.green_exists = true;
    let mut green_for = GreenFor::default();
    green_for.headers.insert("x-test-user".parse().expect("valid"), Wanted::Present);
    let excluded = vec![ReleaseTraffic::exclusion("/health").expect("valid")];
    route.release = Arc::new(ReleaseTraffic { green_for, excluded });
    let counters = compare(&mut route, SLOW_US);
    let down = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route.clone());
    let mut client = world.client().await;
    assert_eq!(body(&client.get("/", "x-test-user: ann\r\n").await), "green");
    assert_eq!(body(&world.test_client().await.get("/", "").await), "green");
    assert_eq!(body(&client.get("/health", "").await), "blue");
    down.set_health(TargetHealth::Unhealthy);
    assert_eq!(body(&client.get("/", "").await), "blue", "in a panic");
    route.exposure = with_green(10_000);
    world.table.store(table(route.clone(), WhenIdle::Refuse).into());
    assert_eq!(body(&client.get("/", "").await), "green", "nor green's while blue is down");
    down.set_health(TargetHealth::Healthy);
    assert_eq!(body(&client.get("/", "").await), "green", "not the weight of the cohort");
    assert_eq!((cells(&counters), counters.drawn().total), (Cells::default(), 0));
    route.exposure = with_green(0);
    world.table.store(table(route, WhenIdle::Refuse).into());
    assert_eq!(body(&client.get("/", "").await), "blue");
    settled(&counters, 1).await;
    assert_eq!(counters.drawn().total, 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_late_failure_and_outside_of_the_comparison() {
    let origin = Origin::new(by_path).await;
    for side in SIDES {
        let mut route = on(side, &origin);
        route.green.meter = MeterId(1);
        let counters = compare(&mut route, SLOW_US);
        let world = World::new(route);
        register(&world.recorder);
        let mut client = world.client().await;
        client.send("GET /short HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
        assert!(client.rest().await.ends_with("half"));
        until("it is counted", || counters.late_failures(side) == 1).await;
        let told = world.recorder.late_failures();
        let shop: ServiceName = "shop".parse().expect("valid");
        assert_eq!(told[&(shop, side)], 1);
        assert_eq!(told.values().sum::<u64>(), 1);
        assert_eq!(row(&counters, Metric::Errors), of_side(side, 1, 0));
    }
}

#[tokio::test]
async fn a_call_of_grpc_is_settled_by_its_header_and_its_trailers_are_late() {
    let call = || post("/shop.Cart/Add", &[("content-type", "application/grpc")]);
    let whole = Says {
        headers: &[("content-type", "application/grpc")],
        body: "message",
        trailers: &[("grpc-status", "0")],
    };
    let late = Says { trailers: &[("grpc-status", "5")], ..whole };
    let fields = &[("content-type", "application/grpc"), ("grpc-status", "14")];
    let at_once = Says { headers: fields, body: "", trailers: &[] };
    for (says, errors, late_failures) in [(whole, 0, 0), (late, 0, 1), (at_once, 1, 0)] {
        let origin = H2Origin::new(says, None).await;
        let mut route = service(10_000, &[origin.address], &[origin.address]);
        let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
        route.green.link = Arc::new(Link::new(1, transport));
        let counters = compare(&mut route, SLOW_US);
        let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
        let answer = H2Client::of(&world).await.send(call(), &["message"]).await;
        assert_eq!(answer.expect("an answer").status, 200);
        settled(&counters, 1).await;
        assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 1, errors), "{says:?}");
        until("the trailers are counted", || counters.late_failures(Side::Green) == late_failures)
            .await;
    }
}

#[tokio::test]
async fn latency_is_of_the_answer_and_blues_is_kept_without_a_rollout() {
    let origin = Origin::new(by_path).await;
    let mut route = on(Side::Green, &origin);
    route.timeouts.read = Span::from_secs(10);
    let counters = compare(&mut route, 400_000);
    let world = World::new(route);
    let mut client = world.client().await;
    client.get("/200", "").await;
    client.get("/late", "").await;
    settled(&counters, 2).await;
    for metric in Metric::LATENCIES {
        assert_eq!(row(&counters, metric), of_side(Side::Green, 2, 1));
    }

    let mut route = on(Side::Blue, &origin);
    route.timeouts.read = Span::from_secs(10);
    let live = Arc::clone(&route.live);
    let world = World::new(route);
    for path in ["/late", "/404", "/500", "/broken"] {
        world.client().await.get(path, "").await;
    }
    let mut taken = live.latencies.take();
    until("both answers without an error are counted", || {
        taken.merge(&live.latencies.take());
        taken.total() == 2
    })
    .await;
    let slowest = taken.quantile_us(1.0).expect("there are two");
    assert!(slowest >= 590_000, "{slowest} µs");
}

#[tokio::test]
async fn a_user_of_a_sticky_service_is_one_datum() {
    let origin = Origin::new(by_path).await;
    let mut route = on(Side::Green, &origin);
    route.stickiness = Some(Stickiness {
        header: Some("x-user-id".to_owned()),
        cookie: None,
        fallback: StickyFallback::IssuedCookie,
        issued: IssuedCookie::default(),
    });
    let counters = compare(&mut route, SLOW_US);
    let world = World::new(route);
    for (n, user) in [(1, "ann"), (2, "ann"), (3, "ann"), (4, "bob")] {
        let user = format!("x-user-id: {user}\r\n");
        assert_eq!(status(&world.client().await.get("/500", &user).await), 500);
        settled(&counters, n).await;
    }
    assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 2, 2));
    assert_eq!(row(&counters, Metric::LatencyP50), of_side(Side::Green, 2, 2));
    assert_eq!(cells(&counters).absolute, of_side(Side::Green, 4, 4));
    assert_eq!(counters.drawn().total, 2, "users");
    world.client().await.get("/500", "").await;
    settled(&counters, 5).await;
    assert_eq!(row(&counters, Metric::Errors), of_side(Side::Green, 3, 3), "whom a key is issued");
}
