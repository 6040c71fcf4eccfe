//! The process stands still for a while, as under a debugger or on a machine that is moved: what
//! it missed is no evidence against green, and it is itself again at once.

use std::time::Duration;

use rustix::process::Signal;
use tidegate::core::rollout::StateName;
use tokio::time::{Instant, sleep_until};

use crate::kit::{Turn, until};
use crate::rig::{Plan, Row, Sample, Scene, Target, Traffic, baking_at, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standstill_is_over_when_it_is_over_and_takes_no_rollout_back() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "SIGSTOP and SIGCONT",
        "back to normal within 1 s; no rollback from its own gap; 0 lost",
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

    tidegate.signal(Signal::STOP);
    // This is the fault: that for so long nothing happens, and no client gives up yet.
    sleep_until(Instant::now() + Duration::from_secs(sized(3, 28))).await;
    tidegate.signal(Signal::CONT);
    let awake = Instant::now();
    let normal = awake + Duration::from_secs(1);
    let watched = normal + Duration::from_secs(sized(3, 15));
    let (mut astray, mut states) = (0, 0);
    while Instant::now() < watched {
        let (seen, service) = (api.rollout(&rollout).await, api.service("shop").await);
        states += 1;
        let in_force = service.weights.in_force.green_bp;
        astray += u32::from(seen.state != StateName::Shifting || in_force != 5_000);
    }
    let health = api.service("shop").await;
    let samples = traffic.stop().await;

    let lost = samples.iter().filter(|sample| sample.failure().is_some()).count();
    let later = samples.iter().filter(|s| s.began >= normal).collect::<Vec<&Sample>>();
    let slowest = later.iter().map(|sample| sample.took()).max().unwrap_or(Duration::MAX);
    let ms = u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX);
    let answered = samples.iter().filter(|s| s.began < awake).map(|s| s.ended).max();
    let caught_up = answered.map_or(Duration::MAX, |last| last.saturating_duration_since(awake));
    let caught_up_ms = u64::try_from(caught_up.as_millis()).unwrap_or(u64::MAX);
    row.measure("requests", samples.len());
    row.measure("lost", lost);
    row.measure("caught_up_after_ms", caught_up_ms);
    row.measure("slowest_a_second_later_ms", ms);
    row.measure("looks", states);
    row.measure("looks_at_another_state", astray);
    row.measure("healthy", health.blue.healthy + health.green.healthy);
    row.require("no request is lost", lost == 0);
    row.require("what waited is answered within a second", caught_up_ms <= 1_000);
    row.require("a second later all is as ever", ms < sized(500, 200));
    row.require("the rollout goes on as it was", astray == 0);
    row.require("all targets count as healthy", health.blue.healthy + health.green.healthy == 2);
    row.end();
}
