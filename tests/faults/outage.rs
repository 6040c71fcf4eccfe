//! A whole side dies while green has a tenth of the traffic: a dead green is taken back, and a dead
//! blue is stood in for, with the rollout held where it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate::core::rollout::StateName;
use tokio::time::{Instant, sleep};

use crate::kit::{Api, Tidegate, Turn, until};
use crate::losses::judge_lost;
use crate::rig::{
    Method, Plan, Row, Sample, Scene, Target, Traffic, baking_at, ends_as, ms, sized,
};
use crate::victim::Victim;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_green_that_dies_is_taken_back_and_costs_only_what_was_in_flight_on_it() {
    let _turn = Turn::wait().await;
    let within_s: u64 = sized(3, 1);
    let mut row = Row::begin(
        "SIGKILL of all of green at 10 %",
        format!(
            "lost GET 0; lost POST only those in flight on green at the kill; seen within {within_s} s, and \
             rolled back within another {within_s} s; doubled POST 0"
        ),
    );
    let (blue, mut green) = (Target::sound("blue").await, Victim::start().await);
    let tidegate = release(blue.address(), green.address(), "[{ weight: 10%, bake: 1h }]").await;
    let api = tidegate.api();
    let traffic = load(&tidegate).await;
    let rollout = baking_at(&api, "v2", "10%").await;
    let begun = traffic.begun();
    until("green has had some", async || traffic.begun() > begun + 200).await;

    let before = Instant::now();
    green.kill().await;
    let after = Instant::now();
    until("green is out", async || api.service("shop").await.green.healthy == 0).await;
    let seen = Instant::now();
    until("green has no weight", async || api.service("shop").await.weights.in_force.green_bp == 0)
        .await;
    let taken_back = Instant::now();
    ends_as(&api, &rollout, StateName::RolledBack).await;
    let samples = traffic.stop().await;

    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let gets = failed.iter().filter(|sample| sample.method == Method::Get).count();
    let later = failed.iter().filter(|sample| sample.began > after + closing()).count();
    row.measure("requests", samples.len());
    row.measure("failed", failed.len());
    row.measure("failed_gets", gets);
    row.measure("failed_that_began_after_the_kill", later);
    row.measure("seen_after_ms", ms(seen - before));
    row.measure("taken_back_after_ms", ms(taken_back - before));
    if let Some(why) = failed.iter().find_map(|sample| sample.failure()) {
        row.measure("failure", why);
    }
    row.require("no GET fails", gets == 0);
    row.require("nothing fails that was not in flight", later == 0);
    let blue_posts = posts_of(&blue.seen().requests());
    judge_lost(&mut row, &samples, &green, &blue_posts);
    let (seen_ms, taken_back_ms) = (ms(seen - before), ms(taken_back - seen));
    row.require(&format!("it is seen within {within_s} s"), seen_ms <= within_s * 1_000);
    let taken = format!("it is taken back within another {within_s} s");
    row.require(&taken, taken_back_ms <= within_s * 1_000);
    judge_posts(&mut row, &[green.posts(), blue.seen().requests()]);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn green_stands_in_for_a_blue_that_dies_and_the_rollout_is_held() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "SIGKILL of all of blue at 10 %",
        "answers recovered within 2 s, by green; the weight stays, with the hold blue-unhealthy \
         recorded; no promotion; doubled POST 0",
    );
    let (mut blue, green) = (Victim::start().await, Target::sound("green").await);
    // Were it not for the hold, it would be at 100 % before the end of the test.
    let steps = "[{ weight: 10%, bake: 3s }, { weight: 100%, bake: 1h }]";
    let tidegate = release(blue.address(), green.address(), steps).await;
    let api = tidegate.api();
    let traffic = load(&tidegate).await;
    let rollout = baking_at(&api, "v2", "10%").await;

    let before = Instant::now();
    blue.kill().await;
    let watched = before + Duration::from_secs(sized(6, 30));
    let (mut looks, mut moved) = (0, 0);
    while Instant::now() < watched {
        looks += 1;
        moved += u32::from(api.service("shop").await.weights.in_force.green_bp != 1_000);
        sleep(LOOK).await;
    }
    let held = api.rollout(&rollout).await;
    let samples = traffic.stop().await;

    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let last = failed.iter().map(|sample| sample.began).max().unwrap_or(before);
    let recovered_ms = ms(last.saturating_duration_since(before));
    let holds: Vec<&str> = held.holds.iter().map(|hold| hold.kind.as_str()).collect();
    row.measure("requests", samples.len());
    row.measure("failed", failed.len());
    row.measure("recovered_after_ms", recovered_ms);
    row.measure("looks", looks);
    row.measure("looks_at_another_weight", moved);
    row.measure("state", held.state.to_string());
    row.measure("holds", holds.join(" "));
    if let Some(why) = failed.iter().find_map(|sample| sample.failure()) {
        row.measure("failure", why);
    }
    row.require("answers are recovered within two seconds", recovered_ms <= 2_000);
    row.require("somebody is answered after that", last + Duration::from_secs(2) < watched);
    row.require("the weight stays", moved == 0);
    row.require("the rollout is where it was", held.state == StateName::Shifting);
    row.require("it is held, and says why", holds.contains(&"blue-unhealthy"));
    row.require("that is recorded", is_recorded(&api, &rollout, "blue-unhealthy").await);
    judge_posts(&mut row, &[blue.posts(), green.seen().requests()]);
    row.end();
}

/// Starts a process whose rollouts take these steps.
async fn release(blue: SocketAddr, green: SocketAddr, steps: &str) -> Tidegate {
    let scene = Scene {
        service: ", health_check: { path: /healthz, interval: 250ms, timeout: 1s, \
                  healthy_after: 1, unhealthy_after: 2 }"
            .to_owned(),
        blue: vec![blue],
        green: vec![green],
        ..Scene::default()
    };
    let steps = format!("steps: {steps}");
    Tidegate::start(|ports| {
        let config = scene.config(ports);
        let stepped = config.replace("steps: [{ weight: 50%, bake: 1h }]", &steps);
        assert_ne!(stepped, config, "the scene has other steps");
        stepped
    })
    .await
}

async fn load(tidegate: &Tidegate) -> Traffic {
    let plan = Plan { per_second: sized(250, 1_000), connections: 32, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load is under way", async || traffic.begun() > 100).await;
    traffic
}

/// Whether the ledger has an entry about this hold of a rollout.
async fn is_recorded(api: &Api, rollout: &str, hold: &str) -> bool {
    let entries = api.ledger(Some(rollout)).await;
    entries.iter().any(|entry| entry.detail.contains(hold))
}

/// The paths of the POSTs among what a target has seen.
fn posts_of(seen: &[String]) -> Vec<String> {
    seen.iter().filter_map(|line| line.strip_prefix("POST ").map(str::to_owned)).collect()
}

/// Requires that no POST ran twice, by what targets have seen.
fn judge_posts(row: &mut Row, seen: &[Vec<String>]) {
    let mut posts: HashMap<&str, u32> = HashMap::new();
    for line in seen.iter().flatten().filter(|line| *line != "GET /") {
        *posts.entry(line.strip_prefix("POST ").unwrap_or(line)).or_default() += 1;
    }
    let doubled = posts.values().filter(|times| **times > 1).count();
    row.measure("posts_at_targets", posts.len());
    row.measure("posts_doubled", doubled);
    row.require("no POST runs twice", doubled == 0);
}

/// How long the end of a connection takes to be seen at its other end, on a machine that is busy.
fn closing() -> Duration {
    sized(Duration::from_millis(250), Duration::from_millis(50))
}

/// The time between two looks at a service.
const LOOK: Duration = Duration::from_millis(20);
