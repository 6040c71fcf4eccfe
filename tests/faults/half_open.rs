//! A target whose machine is gone without a word: no end of its connections, no reset, and no
//! acknowledgement. What waits in the pool must not wait for a client to find that out.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::kit::{Turn, report, until};
use crate::rig::{Link, Method, Plan, Row, Scene, Traffic, get, ms, sized};
use crate::victim::Victim;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_gone_without_a_word_is_noticed_before_its_connections_are_used() {
    let _turn = Turn::wait().await;
    let link = match Link::set_up() {
        Ok(link) => link,
        Err(why) => return report(&format!("skipped, half-open connections: {why}")),
    };
    let mut row = Row::begin(
        "half-open TCP: a target is gone without FIN and RST",
        "its idle connections are given up within 10 s; what was in flight on it ends within 10 s; \
         after that 0 lost GET, 0 lost POST",
    );
    let (gone, living) = (Victim::start_beyond(&link).await, Victim::start().await);
    // No health checks: what notices is the connection itself. The full form has the default.
    let unacknowledged = sized(", unacknowledged: 2s", "");
    let scene = Scene {
        service: format!(", timeouts: {{ connect: 500ms{unacknowledged} }}"),
        blue: vec![gone.address(), living.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let public = tidegate.public();
    // Many at once, so that many connections wait afterwards.
    until("connections wait in the pool", async || {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(get(public, "/"));
        }
        clients.join_all().await.iter().all(Result::is_ok) && link.established() >= POOLED
    })
    .await;
    row.measure("idle_connections", link.established());

    link.lose_everything();
    let lost = Instant::now();
    // One for each target at least: the one that is gone has one of them in flight.
    let mut in_flight = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        in_flight.spawn(async move { (get(public, "/").await, lost.elapsed()) });
    }
    let limit = Duration::from_secs(10);
    while link.established() > 0 && lost.elapsed() < limit + Duration::from_secs(5) {
        sleep(Duration::from_millis(20)).await;
    }
    let noticed_ms = ms(lost.elapsed());
    let left = link.established();
    let ended = in_flight.join_all().await;
    let slowest = ended.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let answered =
        ended.iter().filter(|(answer, _)| answer.as_ref().is_ok_and(|answer| answer.status == 200));
    row.measure("noticed_after_ms", noticed_ms);
    row.measure("connections_left", left);
    row.measure("in_flight", ended.len());
    row.measure("in_flight_answered", answered.count());
    row.measure("in_flight_ended_after_ms", ms(slowest));
    row.require("no connection to it is left", left == 0);
    row.require("within ten seconds", noticed_ms <= ms(limit));
    row.require("what was in flight ends within ten seconds", slowest <= limit);

    let plan = Plan { per_second: 20, connections: 4, post_every: 5 };
    let traffic = Traffic::start(public, plan);
    until("many were answered", async || traffic.begun() >= sized(40, 200)).await;
    let samples = traffic.stop().await;
    let failed = |method: Method| {
        samples.iter().filter(|s| s.method == method && s.failure().is_some()).count()
    };
    row.measure("requests_after_that", samples.len());
    row.measure("lost_gets", failed(Method::Get));
    row.measure("lost_posts", failed(Method::Post));
    if let Some(why) = samples.iter().find_map(|sample| sample.failure()) {
        row.measure("failure", why);
    }
    row.require("no GET is lost after that", failed(Method::Get) == 0);
    row.require("no POST is lost after that", failed(Method::Post) == 0);
    row.end();
}

const CLIENTS: usize = 24;
/// The fewest connections that wait at the beginning.
const POOLED: usize = 4;
/// Requests that are sent into the silence.
const IN_FLIGHT: usize = 8;
