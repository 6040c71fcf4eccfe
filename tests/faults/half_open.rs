//! A target whose machine is gone without a word: no end of its connections, no reset, and no
//! acknowledgement. What waits in the pool must not wait for a client to find that out.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::kit::{Turn, until};
use crate::rig::{
    Answer, Link, Method, Plan, Row, Sample, Scene, Traffic, Wire, get, ms, post, sized,
};
use crate::victim::Victim;

/// How a request ended that was sent into the silence.
struct End {
    method: Method,
    answer: Result<Answer, String>,
    took: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_gone_without_a_word_is_noticed_before_its_connections_are_used() {
    let _turn = Turn::wait().await;
    lose_a_target("half-open TCP: a target is gone without FIN and RST", Wire::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_of_http_2_that_is_gone_without_a_word_is_noticed_as_soon() {
    let _turn = Turn::wait().await;
    lose_a_target("half-open TCP: a target is gone without FIN and RST (HTTP/2)", Wire::Http2)
        .await;
}

async fn lose_a_target(name: &'static str, wire: Wire) {
    let mut row = Row::begin(
        name,
        "its idle connections, those that carried bodies too, are given up within 10 s; what was \
         in flight on it, GET or POST, ends within 10 s; after that 0 lost GET, 0 lost POST",
    );
    let link = match Link::set_up() {
        Ok(link) => link,
        Err(why) => return row.skip(why),
    };
    let (gone, living) = (Victim::start_beyond(&link).await, Victim::start().await);
    // No health checks: what notices is the connection itself. The full form has the default.
    let unacknowledged = sized(", unacknowledged: 2s", "");
    let scene = Scene {
        service: format!(", timeouts: {{ connect: 500ms{unacknowledged} }}"),
        blue: vec![gone.address(), living.address()],
        groups: wire.keys(),
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let public = tidegate.public();
    let pooled = match wire {
        Wire::Http1 => POOLED,
        // One carries them all.
        Wire::Http2 => 1,
    };
    // Many at once, so that many connections wait afterwards.
    until("connections wait in the pool", async || {
        let ends = ask_both(public, CLIENTS).join_all().await;
        ends.iter().all(|end| end.answer.is_ok()) && link.established() >= pooled
    })
    .await;
    row.measure("idle_connections", link.established());

    link.lose_everything();
    let lost = Instant::now();
    // One for each target at least: the one that is gone has one of them in flight.
    let in_flight = ask_both(public, IN_FLIGHT);
    while link.established() > 0 && lost.elapsed() < LIMIT + Duration::from_secs(5) {
        sleep(Duration::from_millis(20)).await;
    }
    let noticed_ms = ms(lost.elapsed());
    let left = link.established();
    row.measure("noticed_after_ms", noticed_ms);
    row.measure("connections_left", left);
    row.require("no connection to it is left", left == 0);
    row.require("within ten seconds", noticed_ms <= ms(LIMIT));
    judge_in_flight(&mut row, &in_flight.join_all().await);

    let plan = Plan { per_second: 20, connections: 4, post_every: 5 };
    let traffic = Traffic::start(public, plan);
    until("many were answered", async || traffic.begun() >= sized(40, 200)).await;
    judge_later(&mut row, &traffic.stop().await);
    row.end();
}

/// Sends so many GETs, and as many POSTs with a small body, all at once.
fn ask_both(address: SocketAddr, of_each: usize) -> JoinSet<End> {
    let mut clients = JoinSet::new();
    for method in [Method::Get, Method::Post] {
        for _ in 0..of_each {
            clients.spawn(async move {
                let began = Instant::now();
                let answer = match method {
                    Method::Get => get(address, "/").await,
                    Method::Post => post(address, "/", BODY).await,
                };
                End { method, answer, took: began.elapsed() }
            });
        }
    }
    clients
}

fn judge_in_flight(row: &mut Row, ends: &[End]) {
    for (about, method) in [("gets", Method::Get), ("posts", Method::Post)] {
        let of_it = || ends.iter().filter(move |end| end.method == method);
        let answered =
            of_it().filter(|end| end.answer.as_ref().is_ok_and(|answer| answer.status == 200));
        let slowest = of_it().map(|end| end.took).max().unwrap_or_default();
        row.measure(&format!("{about}_in_flight"), of_it().count());
        row.measure(&format!("{about}_in_flight_answered"), answered.count());
        row.measure(&format!("{about}_in_flight_ended_after_ms"), ms(slowest));
        row.require(&format!("{about} in flight end within ten seconds"), slowest <= LIMIT);
    }
}

fn judge_later(row: &mut Row, samples: &[Sample]) {
    row.measure("requests_after_that", samples.len());
    for (about, method) in [("get", Method::Get), ("post", Method::Post)] {
        let of_it = || samples.iter().filter(move |sample| sample.method == method);
        let lost = of_it().filter(|sample| sample.failure().is_some()).count();
        let slowest = of_it().map(Sample::took).max().unwrap_or_default();
        row.measure(&format!("lost_{about}s"), lost);
        row.measure(&format!("slowest_{about}_ms"), ms(slowest));
        row.require(&format!("no {about} is lost after that"), lost == 0);
        row.require(&format!("no {about} hangs after that"), slowest <= LIMIT);
    }
    if let Some(why) = samples.iter().find_map(|sample| sample.failure()) {
        row.measure("failure", why);
    }
}

/// How many of each method are sent at once before.
const CLIENTS: usize = 24;
/// The fewest connections that wait at the beginning.
const POOLED: usize = 4;
/// Requests of each method that are sent into the silence.
const IN_FLIGHT: usize = 8;
/// The length of a small body.
const BODY: usize = 1_024;
/// How soon a target has to be noticed that is gone.
const LIMIT: Duration = Duration::from_secs(10);
