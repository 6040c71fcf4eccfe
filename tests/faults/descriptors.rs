//! More clients than the process may open files: whoever is in is served, an operator is answered,
//! and all is as before as soon as the crowd has left. And not one file more than are open: whoever is
//! in is served, and whoever comes waits.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::kit::{Tidegate, Turn, until};
use crate::rig::{
    Answer, Client, Plan, Row, Sample, Scene, Target, Traffic, cpu_ms, get, lower_limit_of,
    lower_own_limit, metric, ms, raise_own_limit, restore_limit_of, sized,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_wait_for_descriptors_and_are_served_as_soon_as_there_are_some() {
    let _turn = Turn::wait().await;
    let served_ms: u64 = sized(1_000, 200);
    let mut row = Row::begin(
        "descriptors are gone",
        format!(
            "an existing connection is served; new clients wait, and are served within {served_ms} \
             ms of the release; at most 60 % of one processor meanwhile; told once in the log"
        ),
    );
    let blue = Target::sound("blue").await;
    let scene = Scene { blue: vec![blue.address()], ..Scene::default() };
    let tidegate = scene.start().await;
    let mut client = with_idle_targets(&tidegate).await;

    let before = lower_limit_of(tidegate.id(), NO_FILE_MORE);
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING {
        waiting.spawn(get(tidegate.public(), "/"));
    }
    let (busy_percent, (asked, failures)) =
        tokio::join!(busy_percent(&tidegate), ask_for_a_second(&mut client));
    let is_early = waiting.try_join_next().is_some();
    restore_limit_of(tidegate.id(), before);
    let released = Instant::now();
    let answers: Vec<Result<Answer, String>> = waiting.join_all().await;
    let recovered_ms = ms(released.elapsed());
    let served = answers.iter().flatten().filter(|answer| answer.status == 200).count();
    let told = tidegate.home().said().matches("clients have to wait").count();

    row.measure("requests_of_others", asked);
    row.measure("failed_of_others", failures.clone());
    row.measure("waited", WAITING);
    row.measure("served", served);
    row.measure("served_after_ms", recovered_ms);
    row.measure("busy_percent", busy_percent);
    row.measure("told", told);
    row.require("an existing connection is served", failures.is_empty() && asked > 10);
    row.require("nobody else can be meanwhile", !is_early);
    row.require("whoever waited is served", served == WAITING);
    row.require("that takes no longer than is promised", recovered_ms <= served_ms);
    row.require("it does not spin", busy_percent <= BUSY_PERCENT);
    row.require("the log says so once", told == 1);
    row.require("nothing panics", !tidegate.home().said().contains("panicked"));
    row.end();
}

/// A client's connection to a proxy that has idle connections to its target, so that no request on
/// it needs another descriptor.
async fn with_idle_targets(tidegate: &Tidegate) -> Client {
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::open(tidegate.public()).await.expect("connected"));
    }
    // Some of these are with the target at once.
    for _ in 0..3 {
        for client in &mut clients {
            client.send(REQUEST).await.expect("sent");
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.expect("an answer").status, 200);
        }
    }
    clients.pop().expect("there are some")
}

/// Asks again and again; gives how often, and what came instead of answers.
async fn ask_for_a_second(client: &mut Client) -> (u32, Vec<String>) {
    let (began, mut asked, mut failures) = (Instant::now(), 0, Vec::new());
    while began.elapsed() < Duration::from_secs(1) {
        sleep_until(began + STEP * asked).await;
        match client.ask(REQUEST).await {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => failures.push(answer.head),
            Err(failure) => failures.push(failure),
        }
        asked += 1;
    }
    (asked, failures)
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
/// What is asked on a connection that stands, and how often.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
const STEP: Duration = Duration::from_millis(20);
/// How many clients come while there are no descriptors.
const WAITING: usize = 20;
/// The three that every process has open are all that it may.
const NO_FILE_MORE: u64 = 3;
/// How many files the process may open.
const FILES: u64 = 256;
