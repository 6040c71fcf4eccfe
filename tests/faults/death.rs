//! One of two green targets is killed under load: what may be repeated is repeated, what was under
//! way on it and may not be repeated fails, and nothing fails once the target is out.
//!
//! It is out by its health checks or by what its answers were, whichever comes first; the second
//! row has no health checks, so that the answers alone must do.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::kit::{Api, Turn, until};
use crate::losses::judge_lost;
use crate::rig::{Method, Plan, Row, Sample, Scene, Target, Traffic, Wire, metric, sized};
use crate::victim::Victim;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_target_costs_only_what_was_under_way_on_it_and_may_not_be_repeated() {
    let _turn = Turn::wait().await;
    kill_checked("SIGKILL of one of two green targets", Wire::Http1).await;
}

/// All that is in flight on it is in one connection, and ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_target_of_http_2_costs_no_more_than_one_of_http_1() {
    let _turn = Turn::wait().await;
    kill_checked("SIGKILL of one of two green targets (HTTP/2)", Wire::Http2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_target_is_ejected_for_its_answers_alone() {
    let _turn = Turn::wait().await;
    let row = Row::begin(
        "SIGKILL of one of two green targets, without health checks",
        format!(
            "lost GET 0; lost POST only those in flight on it at the kill; ejected within {} s for \
             its failures in a row, and none lost after that; doubled POST 0",
            out_within_s()
        ),
    );
    // The defaults of `outlier_ejection`.
    kill(row, "", &["ejected"], Wire::Http1).await;
}

/// Kills it in a service with health checks.
async fn kill_checked(name: &'static str, wire: Wire) {
    let row = Row::begin(
        name,
        format!(
            "lost GET 0; lost POST only those in flight on it at the kill; none after it is out, \
             which it is within {} s; doubled POST 0",
            out_within_s()
        ),
    );
    let checks = ", health_check: { path: /healthz, interval: 250ms, timeout: 1s, \
                  healthy_after: 1, unhealthy_after: 2 }";
    kill(row, checks, &["ejected", "unhealthy"], wire).await;
}

/// Kills it in a service with these health checks; it is out when its health is one of these.
async fn kill(mut row: Row, checks: &str, outs: &[&str], wire: Wire) {
    let blue = Target::sound("blue").await;
    let (mut killed, living) = (Victim::start().await, Victim::start().await);
    let scene = Scene {
        // What blue answers in green's place would hide what is shown here.
        service: format!(", rescue: false{checks}"),
        blue: vec![blue.address()],
        green: vec![killed.address(), living.address()],
        groups: wire.keys(),
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
    let health = is_out(&api, &killed, outs).await;
    let out = Instant::now();
    sleep_until(out + Duration::from_secs(sized(2, 20))).await;
    let ejections =
        metric(&api, "tidegate_ejections_total", &["shop-b", "consecutive_failures"]).await;
    let samples = traffic.stop().await;

    row.measure("out_as", health);
    row.measure("ejections_for_failures", ejections);
    let ejected_alone = outs == ["ejected"];
    row.require("the failures in a row have ejected it", !ejected_alone || ejections == 1);
    judge(&mut row, &samples, (before, after), out);
    judge_lost(&mut row, &samples, &killed, &[living.posts(), posts_at(&blue)].concat());
    let mut posts: HashMap<String, u32> = HashMap::new();
    for path in [killed.posts(), living.posts(), posts_at(&blue)].concat() {
        *posts.entry(path).or_default() += 1;
    }
    let doubled = posts.values().filter(|times| **times > 1).count();
    row.measure("posts_at_targets", posts.len());
    row.measure("posts_doubled", doubled);
    row.require("no POST runs twice", doubled == 0);
    row.end();
}

/// Waits until a target gets no requests any more; gives what its health is then.
async fn is_out(api: &Api, target: &Victim, outs: &[&str]) -> String {
    let address = target.address().to_string();
    let mut health = String::new();
    until("the target is out", async || {
        let green = api.service("shop").await.green;
        let seen = green.targets.iter().find(|seen| seen.address == address);
        health = seen.map(|seen| seen.health.clone()).unwrap_or_default();
        outs.contains(&health.as_str())
    })
    .await;
    health
}

fn judge(row: &mut Row, samples: &[Sample], (before, after): (Instant, Instant), out: Instant) {
    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let gets = failed.iter().filter(|sample| sample.method == Method::Get).count();
    let later = failed.iter().filter(|sample| sample.began > after + closing()).count();
    let after_out = failed.iter().filter(|sample| sample.began > out).count();
    let ms = u64::try_from((out - before).as_millis()).expect("a short time");
    row.measure("requests", samples.len());
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
    row.require("nothing fails after the ejection", after_out == 0);
    let within_s = out_within_s();
    row.require(&format!("it is out within {within_s} s"), ms <= within_s * 1_000);
}

fn posts_at(target: &Target) -> Vec<String> {
    let requests = target.seen().requests();
    requests.iter().filter_map(|seen| seen.strip_prefix("POST ").map(str::to_owned)).collect()
}

/// How soon the target has to be out, in seconds.
fn out_within_s() -> u64 {
    sized(3, 1)
}

/// How long the end of a connection takes to be seen at its other end, on a machine that is busy.
fn closing() -> Duration {
    sized(Duration::from_millis(250), Duration::from_millis(50))
}
