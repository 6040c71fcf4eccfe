//! Weight changes under load: no request fails, the split holds from the next request on, no
//! connection is opened for it, and nobody waits longer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use tokio::time::{Instant, sleep_until};

use crate::kit::{Api, Load, Origin, Rate, Tidegate, Turn, until};
use crate::rig::{
    Outcome, Plan, Row, Sample, Scene, Target, Traffic, Wire, is_full, p99_us, reply_with,
    serve_streams, sized,
};

/// The one target of each of both groups.
enum Groups {
    Http1([Origin; 2]),
    Http2([Target; 2]),
}

/// A weight, and the time for which it was surely the one in force.
struct Held {
    basis_points: u16,
    from: Instant,
    to: Instant,
}

/// What was done while the load ran.
#[derive(Default)]
struct Timeline {
    held: Vec<Held>,
    /// When a weight changed, and as many instants when none did.
    swaps: Vec<Instant>,
    quiet: Vec<Instant>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weight_changes_cost_no_request_no_connection_and_no_time() {
    let _turn = Turn::wait().await;
    let row = Row::begin(
        "weight changes under load",
        "0 failed; split exact from the next request; no new upstream connection but for pooled \
         ones that Pingora says it gave up; median of the p99 ratios (second after to second \
         before) at most 0.1 above that without a swap; reduced: 1.0",
    );
    change_under_load(row, Wire::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weight_changes_cost_no_request_and_no_connection_of_http_2() {
    let _turn = Turn::wait().await;
    let row = Row::begin(
        "weight changes under load (HTTP/2)",
        "0 failed; split exact from the next request; no new upstream connection; full: median of \
         the p99 ratios (second after to second before) at most 0.1 above that without a swap",
    );
    change_under_load(row, Wire::Http2).await;
}

async fn change_under_load(mut row: Row, wire: Wire) {
    let groups = Groups::start(wire).await;
    let [a, b] = groups.addresses();
    let scene = Scene {
        // None of those that stand is closed for having nothing to do.
        service: ", timeouts: { idle: 1h }".to_owned(),
        blue: vec![a],
        green: vec![b],
        groups: wire.keys(),
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    let plan = Plan {
        per_second: sized(800, rate_of(&tidegate).await),
        connections: CONNECTIONS,
        post_every: 0,
    };
    groups.warm_up(&tidegate, &api).await;
    let connections = groups.connections();
    let given_up = tidegate.given_up_connections();

    let traffic = Traffic::start(tidegate.public(), plan);
    let timeline = change_weights(&api, wire).await;
    let samples = traffic.stop().await;

    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    row.measure("per_second", plan.per_second);
    row.measure("requests", samples.len());
    row.measure("swaps", timeline.swaps.len());
    row.measure("failed", failed.len());
    row.require("no request fails", failed.is_empty());
    let opened = groups.connections() - connections;
    row.measure("new_upstream_connections", opened);
    let given_up = tidegate.given_up_connections() - given_up;
    row.measure("pooled_connections_given_up", given_up);
    let allowed = match wire {
        Wire::Http1 => given_up,
        // Those are our own, and all requests of a side fit into one.
        Wire::Http2 => 0,
    };
    row.require("no new upstream connection but for those given up", opened <= allowed);
    judge_splits(&mut row, &samples, &timeline.held);
    // So few swaps as those of the reduced form over HTTP/2 say nothing about latencies.
    if wire == Wire::Http1 || is_full() {
        judge_latencies(&mut row, &samples, &timeline);
    }
    row.end();
}

impl Groups {
    async fn start(wire: Wire) -> Self {
        match wire {
            Wire::Http1 => {
                Self::Http1([Origin::start("shop-a").await, Origin::start("shop-b").await])
            }
            Wire::Http2 => Self::Http2([streaming("shop-a").await, streaming("shop-b").await]),
        }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        match self {
            Self::Http1(both) => both.each_ref().map(Origin::address),
            Self::Http2(both) => both.each_ref().map(Target::address),
        }
    }

    /// How many connections both have had.
    fn connections(&self) -> u64 {
        match self {
            Self::Http1([a, b]) => a.connections() + b.connections(),
            Self::Http2([a, b]) => a.seen().connections() + b.seen().connections(),
        }
    }

    /// Gives both as many connections as they can ever need.
    async fn warm_up(&self, tidegate: &Tidegate, api: &Api) {
        match self {
            Self::Http1([a, b]) => {
                for (group, weight) in [(a, "0%"), (b, "100%")] {
                    warm_up(tidegate, api, group, weight).await;
                }
            }
            Self::Http2([a, b]) => {
                for (group, weight) in [(a, "0%"), (b, "100%")] {
                    api.split("shop", weight).await;
                    let rate = Rate { per_second: CONNECTIONS * 10, connections: CONNECTIONS };
                    let load = Load::start(tidegate.public(), "/", rate);
                    until("the group is warm", async || group.seen().connections() > 0).await;
                    let (answers, _) = load.stop().await;
                    assert_eq!((answers.failed, answers.errors), (0, 0), "{:?}", answers.failures);
                }
            }
        }
    }
}

/// A target of HTTP/2 that keeps no account of its requests: in the full form there are millions.
async fn streaming(name: &'static str) -> Target {
    Target::start(move |stream, _| {
        serve_streams(stream, move |_, mut reply: SendResponse<Bytes>| {
            reply_with(&mut reply, name, "ok");
            std::future::ready(())
        })
    })
    .await
}

/// Three fifths of what the machine gives, and at most what is promised.
async fn rate_of(tidegate: &Tidegate) -> u32 {
    let flat_out = Plan { per_second: 0, connections: CONNECTIONS, post_every: 0 };
    if !is_full() {
        return MOST_PER_SECOND;
    }
    let traffic = Traffic::start(tidegate.public(), flat_out);
    sleep_until(Instant::now() + Duration::from_secs(3)).await;
    let answered = traffic.stop().await.len() as u32;
    (answered / 3 * 3 / 5).clamp(100, MOST_PER_SECOND)
}

/// Has a group answer slowly, until it has as many connections as it can ever need.
async fn warm_up(tidegate: &Tidegate, api: &Api, group: &Origin, weight: &str) {
    api.split("shop", weight).await;
    group.delay(Duration::from_millis(200));
    // An answer is read before its connection is free again, and the next request may come between.
    let wanted = 3 * CONNECTIONS;
    let rate = Rate { per_second: wanted * 10, connections: wanted };
    let load = Load::start(tidegate.public(), "/", rate);
    until("the group is warm", async || group.connections() >= u64::from(wanted)).await;
    group.delay(Duration::ZERO);
    let (answers, _) = load.stop().await;
    assert_eq!((answers.failed, answers.errors), (0, 0), "{:?}", answers.failures);
}

/// Changes the weight in the middle of every other slot.
async fn change_weights(api: &Api, wire: Wire) -> Timeline {
    let window = window();
    let fewest = match wire {
        Wire::Http1 => 20,
        // Each weight is held once.
        Wire::Http2 => 6,
    };
    let mut timeline = Timeline::default();
    let mut held = hold(api, WEIGHTS[0]).await;
    for slot in 0..sized::<usize>(fewest, 100) * 2 {
        // By chance, so that nothing that comes round falls into the same kind of slot each time.
        let wait = window.mul_f64(rand::random_range(1.0..1.25));
        sleep_until(Instant::now() + wait).await;
        let middle = Instant::now();
        if slot % 2 == 0 {
            held.to = middle;
            timeline.held.push(held);
            held = hold(api, WEIGHTS[(slot / 2 + 1) % WEIGHTS.len()]).await;
            timeline.swaps.push(middle);
        } else {
            timeline.quiet.push(middle);
        }
        sleep_until(middle + window).await;
    }
    held.to = Instant::now();
    timeline.held.push(held);
    timeline
}

/// Sets a weight; it is in force when the API has answered.
async fn hold(api: &Api, basis_points: u16) -> Held {
    let weight = format!("{}%", basis_points / 100);
    let service = api.split("shop", &weight).await;
    assert_eq!(service.weights.in_force.green.bp(), basis_points);
    let from = Instant::now();
    Held { basis_points, from, to: from }
}

/// Requests that began while a weight was in force went where it says: without exception at its
/// ends, and as often as chance allows between them.
fn judge_splits(row: &mut Row, samples: &[Sample], held: &[Held]) {
    let (mut astray, mut deviation) = (0, 0.0_f64);
    for weight in WEIGHTS {
        let times: Vec<&Held> = held.iter().filter(|held| held.basis_points == weight).collect();
        let within = |sample: &&Sample| {
            times.iter().any(|held| held.from <= sample.began && sample.ended < held.to)
        };
        let (mut green, mut all) = (0_u32, 0_u32);
        for sample in samples.iter().filter(within) {
            all += 1;
            green += u32::from(sample.outcome == Outcome::Green);
        }
        match weight {
            0 => astray += green,
            10_000 => astray += all - green,
            _ => {
                let (share, all) = (f64::from(weight) / 10_000.0, f64::from(all));
                let spread = (all * share * (1.0 - share)).sqrt().max(1.0);
                deviation = deviation.max((f64::from(green) - all * share).abs() / spread);
            }
        }
    }
    row.measure("on_the_wrong_side", astray);
    row.measure("largest_deviation", deviation);
    row.require("at 0 % and 100 % nobody goes astray", astray == 0);
    // One of three weights leaves it by chance once in ten thousand runs.
    row.require("the split is that of the weight", deviation < 4.2);
}

/// The slowest hundredth in the window after an instant, in proportion to the window before it.
///
/// In the reduced form a window has some two hundred requests, so that one of its ratios is that of
/// two or three single requests, and differs by half of itself by chance; the medians of twenty of
/// them differ by some 0.2. A difference of 1.0 is out of their reach, and within that of whatever
/// makes requests wait for a swap: a stop of 10 ms in the window makes its slowest hundredth ten
/// times as slow.
fn judge_latencies(row: &mut Row, samples: &[Sample], timeline: &Timeline) {
    let window = window();
    let p99 = |from: Instant| {
        let first = samples.partition_point(|sample| sample.began < from);
        let last = samples.partition_point(|sample| sample.began < from + window);
        p99_us(samples[first..last].iter())
    };
    let median = |instants: &[Instant]| {
        let ratio = |at: &Instant| Some(p99(*at)? as f64 / p99(*at - window)?.max(1) as f64);
        let mut ratios: Vec<f64> = instants.iter().filter_map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let (swapped, quiet) = (median(&timeline.swaps), median(&timeline.quiet));
    row.measure("p99_ratio_of_swaps", swapped);
    row.measure("p99_ratio_without", quiet);
    row.measure("largest_difference_allowed", sized(1.0, 0.1));
    row.require("a swap is as quiet as any instant", swapped <= quiet + sized(1.0, 0.1));
}

fn window() -> Duration {
    Duration::from_millis(sized(250, 1_000))
}

const MOST_PER_SECOND: u32 = 10_000;
const CONNECTIONS: u32 = 32;
const WEIGHTS: [u16; 5] = [1_000, 10_000, 5_000, 0, 9_000];
