//! One of two green targets is killed under load: what may be repeated is repeated, what was under
//! way and may not be repeated fails, and nothing fails once the target is out.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::kit::{Api, Turn, until};
use crate::rig::{Method, Plan, Row, Sample, Scene, Target, Traffic, sized};
use crate::victim::Victim;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_target_costs_only_what_was_under_way_on_it_and_may_not_be_repeated() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "SIGKILL of one of two green targets",
        "lost GET 0; lost POST only those in flight at the kill; none after the ejection, which \
         comes within 1 s; doubled POST 0",
    );
    let blue = Target::sound("blue").await;
    let (mut killed, living) = (Victim::start().await, Victim::start().await);
    let scene = Scene {
        // What blue answers in green's place would hide what is shown here.
        service: ", rescue: false, health_check: { path: /healthz, interval: 250ms, timeout: 1s, \
                  healthy_after: 1, unhealthy_after: 2 }"
            .to_owned(),
        blue: vec![blue.address()],
        green: vec![killed.address(), living.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "50%").await;
    let plan = Plan { per_second: sized(250, 1_000), connections: 32, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    let warm = u64::from(plan.per_second) * 2;
    until("the load is under way", async || traffic.begun() >= warm).await;

    let before = Instant::now();
    killed.kill().await;
    let after = Instant::now();
    is_out(&api, &killed).await;
    let out = Instant::now();
    sleep_until(out + Duration::from_secs(sized(2, 20))).await;
    let samples = traffic.stop().await;

    judge(&mut row, &samples, (before, after), out);
    let mut posts: HashMap<String, u32> = HashMap::new();
    for post in [killed.posts(), living.posts(), blue.seen().requests()].concat() {
        let path = post.strip_prefix("POST ").unwrap_or(&post).to_owned();
        *posts.entry(path).or_default() += 1;
    }
    posts.remove("GET /");
    let doubled = posts.values().filter(|times| **times > 1).count();
    row.measure("posts_at_targets", posts.len());
    row.measure("posts_doubled", doubled);
    row.require("no POST runs twice", doubled == 0);
    row.end();
}

/// Waits until a target gets no requests any more.
async fn is_out(api: &Api, target: &Victim) {
    let address = target.address().to_string();
    until("the target is out", async || {
        let green = api.service("shop").await.green;
        let seen = green.targets.iter().find(|seen| seen.address == address);
        seen.is_some_and(|seen| seen.health == "ejected" || seen.health == "unhealthy")
    })
    .await;
}

fn judge(row: &mut Row, samples: &[Sample], (before, after): (Instant, Instant), out: Instant) {
    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let in_flight = samples.iter().filter(|s| s.began <= before && s.ended >= before).count();
    let gets = failed.iter().filter(|sample| sample.method == Method::Get).count();
    let later = failed.iter().filter(|sample| sample.began > after + closing()).count();
    let after_out = failed.iter().filter(|sample| sample.began > out).count();
    let ms = u64::try_from((out - before).as_millis()).expect("a short time");
    row.measure("requests", samples.len());
    row.measure("in_flight_at_the_kill", in_flight);
    row.measure("failed", failed.len());
    row.measure("failed_gets", gets);
    row.measure("failed_that_began_after_the_kill", later);
    row.measure("failed_after_the_ejection", after_out);
    row.measure("out_after_ms", ms);
    if let Some(why) = failed.iter().find_map(|sample| sample.failure()) {
        row.measure("failure", why);
    }
    row.require("no GET fails", gets == 0);
    row.require("nothing fails that was not in flight", later == 0);
    row.require("at most what was in flight fails", failed.len() <= in_flight);
    row.require("nothing fails after the ejection", after_out == 0);
    row.require("it is out within a second", ms <= 1_000);
}

/// How long the end of a connection takes to be seen at its other end, on a machine that is busy.
fn closing() -> Duration {
    sized(Duration::from_millis(250), Duration::from_millis(50))
}
