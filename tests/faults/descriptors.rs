//! More clients than the process may open files: whoever is in is served, an operator is answered,
//! and all is as before as soon as the crowd has left.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::kit::{Tidegate, Turn, until};
use crate::rig::{
    Client, Plan, Row, Sample, Scene, Target, Traffic, cpu_ms, get, lower_own_limit, metric,
    raise_own_limit, sized,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_descriptors_serves_whom_it_has_and_its_operator() {
    let _turn = Turn::wait().await;
    let recovery_s: u64 = sized(3, 1);
    let mut row = Row::begin(
        "descriptors run out",
        format!(
            "existing connections are served; admin answers within 1 s; recovers within \
             {recovery_s} s after the release; at most 60 % of one processor meanwhile; no panic"
        ),
    );
    let blue = Target::sound("blue").await;
    let scene = Scene {
        listener: ", limits: { header: 60s, connections_per_client: 20000 }".to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    raise_own_limit();
    lower_own_limit(FILES);
    let tidegate = scene.start().await;
    raise_own_limit();
    let plan = Plan { per_second: 100, connections: 8, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load has its connections", async || traffic.begun() > 50).await;

    let mut crowd = Vec::new();
    for _ in 0..sized(400, 1_000) {
        crowd.push(Client::open(tidegate.public()).await.expect("the system takes them"));
    }
    let slowest_ms = ask_operator(&tidegate).await;
    let busy_percent = busy_percent(&tidegate).await;
    let refused =
        metric(&tidegate.api(), "tidegate_edge_events_total", &["\"listener_full\""]).await;
    drop(crowd);
    let released = Instant::now();
    until("a new client is served", async || {
        get(tidegate.public(), "/").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let recovered_ms = u64::try_from(released.elapsed().as_millis()).expect("a short time");
    let samples = traffic.stop().await;

    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let slowest = samples.iter().map(Sample::took).max().unwrap_or(Duration::MAX);
    row.measure("files", FILES);
    row.measure("refused", refused);
    row.measure("requests_of_others", samples.len());
    row.measure("failed_of_others", failed.len());
    row.measure("slowest_of_others_ms", u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX));
    row.measure("slowest_admin_ms", slowest_ms);
    row.measure("recovered_after_ms", recovered_ms);
    row.measure("busy_percent", busy_percent);
    row.require("some had to be refused", refused > 0);
    row.require("existing connections are served", failed.is_empty());
    row.require("the admin API answers within a second", slowest_ms <= 1_000);
    let recovers = format!("{recovery_s} s after the release all is as before");
    row.require(&recovers, recovered_ms <= recovery_s * 1_000);
    row.require("it does not spin", busy_percent <= BUSY_PERCENT);
    row.require("nothing panics", !tidegate.home().said().contains("panicked"));
    row.end();
}

/// The longest that an operator waited, in milliseconds, while the crowd is there.
async fn ask_operator(tidegate: &Tidegate) -> u64 {
    let mut slowest_ms = 0;
    for _ in 0..20 {
        let began = Instant::now();
        tidegate.api().service("shop").await;
        let ms = u64::try_from(began.elapsed().as_millis()).expect("a short time");
        slowest_ms = slowest_ms.max(ms);
    }
    slowest_ms
}

/// How much of one processor the process takes while the crowd is there, in percent.
async fn busy_percent(tidegate: &Tidegate) -> u64 {
    let (began, before) = (Instant::now(), cpu_ms(tidegate.id()));
    sleep_until(began + Duration::from_secs(1)).await;
    let used = cpu_ms(tidegate.id()) - before;
    used * 100 / u64::try_from(began.elapsed().as_millis()).expect("a short time")
}

/// What the load of this test may take of a processor, in percent; who accepts in a circle, without
/// having a descriptor to accept with, takes all of it.
const BUSY_PERCENT: u64 = 60;
/// How many files the process may open.
const FILES: u64 = 256;
