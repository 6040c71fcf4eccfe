//! The process stands still for a while, as under a debugger or on a machine that is moved: what
//! it missed is no evidence against green, and it is itself again at once.

use std::time::Duration;

use rustix::process::Signal;
use tidegate::admin::json::Rollout;
use tidegate::core::rollout::StateName;
use tokio::time::{Instant, sleep_until};

use crate::kit::{Api, Turn, until};
use crate::rig::{Plan, Row, Sample, Scene, Target, Traffic, baking_at, ms, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standstill_is_over_when_it_is_over_and_takes_no_rollout_back() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "SIGSTOP and SIGCONT",
        "back to normal within 1 s; no rollback from its own gap; 0 lost; the gap counts neither as \
         baked nor against green",
    );
    let (blue, green) = (Target::sound("blue").await, Target::sound("green").await);
    let scene = Scene {
        service: ", health_check: { path: /healthz, interval: 200ms, timeout: 500ms, \
                  healthy_after: 1, unhealthy_after: 2 }"
            .to_owned(),
        blue: vec![blue.address()],
        green: vec![green.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    let rollout = baking_at(&api, "v1", "50%").await;
    let plan = Plan { per_second: sized(200, 1_000), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load is under way", async || traffic.begun() > 200).await;

    let watched_before = watched_ms(&api, &rollout).await;
    let looked = Instant::now();
    tidegate.signal(Signal::STOP);
    // This is the fault: that for so long nothing happens, and no client gives up yet.
    let gap = Duration::from_secs(sized(4, 28));
    sleep_until(Instant::now() + gap).await;
    tidegate.signal(Signal::CONT);
    let awake = Instant::now();
    let normal = awake + Duration::from_secs(1);
    let watched = normal + Duration::from_secs(sized(2, 15));
    let (mut astray, mut states) = (0, 0);
    while Instant::now() < watched {
        let (seen, service) = (api.rollout(&rollout).await, api.service("shop").await);
        states += 1;
        let in_force = service.weights.in_force.green_bp;
        astray += u32::from(seen.state != StateName::Shifting || in_force != 5_000);
    }
    let health = api.service("shop").await;
    let watched = watched_ms(&api, &rollout).await.saturating_sub(watched_before);
    let ran = looked.elapsed().saturating_sub(gap);
    let samples = traffic.stop().await;
    judge_gap(&mut row, &api.rollout(&rollout).await, watched, ms(ran));

    let lost = samples.iter().filter(|sample| sample.failure().is_some()).count();
    let later = samples.iter().filter(|s| s.began >= normal).collect::<Vec<&Sample>>();
    let slowest = later.iter().map(|sample| sample.took()).max().unwrap_or(Duration::MAX);
    let slowest_ms = ms(slowest);
    let answered = samples.iter().filter(|s| s.began < awake).map(|s| s.ended).max();
    let caught_up = answered.map_or(Duration::MAX, |last| last.saturating_duration_since(awake));
    let caught_up_ms = ms(caught_up);
    row.measure("requests", samples.len());
    row.measure("lost", lost);
    row.measure("caught_up_after_ms", caught_up_ms);
    row.measure("slowest_a_second_later_ms", slowest_ms);
    row.measure("looks", states);
    row.measure("looks_at_another_state", astray);
    row.measure("healthy", health.blue.healthy + health.green.healthy);
    row.require("no request is lost", lost == 0);
    row.require("what waited is answered within a second", caught_up_ms <= 1_000);
    row.require("a second later all is as ever", slowest_ms < sized(500, 200));
    row.require("the rollout goes on as it was", astray == 0);
    row.require("all targets count as healthy", health.blue.healthy + health.green.healthy == 2);
    row.end();
}

/// How long the step of a rollout has baked under somebody's eyes.
async fn watched_ms(api: &Api, rollout: &str) -> u64 {
    api.rollout(rollout).await.bake.expect("it bakes").watched_ms
}

/// Of a gap only so much counts as there may be between two looks at a rollout; nobody has seen
/// green in the rest.
fn judge_gap(row: &mut Row, rollout: &Rollout, watched_ms: u64, ran_ms: u64) {
    row.measure("ran_ms", ran_ms);
    row.measure("counted_as_baked_ms", watched_ms);
    row.measure("green_requests", rollout.green_requests);
    row.measure("green_failed", rollout.green_failed);
    row.measure("outcomes_missing", rollout.outcomes_missing);
    row.require("the gap does not count as baked", watched_ms <= ran_ms + LONGEST_LOOK_MS);
    row.require("green was seen to work", rollout.green_requests > 0);
    row.require("nothing of it counts against green", rollout.green_failed == 0);
}

/// Two seconds between two looks still count, and so may the time since the look before.
const LONGEST_LOOK_MS: u64 = 3_000;
