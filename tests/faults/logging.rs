//! Logs that cannot be written: a collector that stops reading, and a disk that is full. What is
//! lost are lines, which are counted; nobody waits.

use std::io::{PipeReader, Read as _};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate::core::rollout::StateName;
use tokio::time::Instant;

use crate::kit::{Api, Tidegate, Turn, dropped_lines, flood_log, until};
use crate::rig::{
    Plan, Row, Sample, Scene, Target, Traffic, baking_at, ends_as, is_full, metric, ms, p99_us,
    sized, tell,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "blocked log pipe",
        "lines are dropped and counted; 0 failed requests, each request, weight change and abort \
         within 1 s; full: p99 at most 1 ms above that before",
    );
    let (blue, green) = (Target::sound("blue").await, Target::sound("green").await);
    let scene =
        Scene { blue: vec![blue.address()], green: vec![green.address()], ..Scene::default() };
    let (mut tidegate, unread) = Tidegate::start_unread(|ports| scene.config(ports)).await;
    let api = tidegate.api();
    let calm = load(&tidegate).await;
    flood_log(&tidegate).await;

    let traffic = Traffic::start(tidegate.public(), plan());
    let mut slowest = Duration::ZERO;
    for weight in ["30%", "70%", "0%"] {
        slowest = slowest.max(timed(api.split("shop", weight)).await);
    }
    for revision in ["v2", "v3"] {
        let id = baking_at(&api, revision, "50%").await;
        // The writer says that it was rolled back, and has to be there for the next one all the same.
        slowest = slowest.max(timed(tell(&api, &id, "abort")).await);
        ends_as(&api, &id, StateName::RolledBack).await;
    }
    slowest = slowest.max(ask_without_a_token(&api).await);
    until("there was enough load", async || traffic.begun() >= enough()).await;
    let blocked = traffic.stop().await;
    judge_requests(&mut row, &blocked);
    judge_p99(&mut row, &calm, &blocked);
    row.measure("slowest_command_ms", ms(slowest));
    row.require("commands are answered within a second", slowest <= BAR);

    let dropped = dropped_lines(&api).await;
    row.measure("lines_dropped", dropped);
    row.require("what is dropped is counted", dropped > 0);
    let reader = Reader::start(unread);
    until("the reader is told what it missed", async || {
        reader.said().contains("log lines were dropped")
    })
    .await;
    tidegate.end().await;
    let said = reader.all();
    row.require("what is said from then on is read", said.contains("draining"));
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_log_on_a_full_disk_costs_no_request() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "access log on a full disk",
        "lines are dropped and counted, every one; 0 failed requests, each within 1 s; full: p99 \
         at most 1 ms above that with room on the disk",
    );
    let blue = Target::sound("blue").await;
    let scene = Scene { blue: vec![blue.address()], ..Scene::default() };
    let logging_to = async |path: &str| {
        let section = format!("access_log: {{ path: {path} }}\n");
        Tidegate::start(|ports| format!("{}{section}", scene.config(ports))).await
    };
    let mut with_room = logging_to("access.log").await;
    let calm = load(&with_room).await;
    with_room.end().await;
    let tidegate = logging_to("/dev/full").await;
    let samples = load(&tidegate).await;
    judge_requests(&mut row, &samples);
    judge_p99(&mut row, &calm, &samples);
    let api = tidegate.api();
    let mut dropped = 0;
    until("every line is counted", async || {
        dropped = metric(&api, "tidegate_access_log_dropped_total", &[]).await;
        dropped >= samples.len() as u64
    })
    .await;
    row.measure("lines_dropped", dropped);
    row.require("each line is counted once", dropped == samples.len() as u64);
    let told = tidegate.home().said().matches("the access log cannot be written").count();
    row.measure("times_told", told);
    row.require("the other log is told once", told == 1);
    row.end();
}

fn plan() -> Plan {
    Plan { per_second: sized(200, 2_000), connections: 16, post_every: 5 }
}

/// How many requests are enough to say something about them.
fn enough() -> u64 {
    u64::from(plan().per_second) * sized(2, 20)
}

async fn load(tidegate: &Tidegate) -> Vec<Sample> {
    let traffic = Traffic::start(tidegate.public(), plan());
    until("there was enough load", async || traffic.begun() >= enough()).await;
    traffic.stop().await
}

async fn timed<T>(command: impl Future<Output = T>) -> Duration {
    let began = Instant::now();
    command.await;
    began.elapsed()
}

/// The longest that somebody waited who is refused, which is told in the log.
async fn ask_without_a_token(api: &Api) -> Duration {
    let stranger = api.with_token(None);
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let asked = async {
            let reply = stranger.ask("GET", "/v1/services", None).await.expect("an answer");
            assert_eq!(reply.status, 401, "{}", reply.body);
        };
        slowest = slowest.max(timed(asked).await);
    }
    slowest
}

fn judge_requests(row: &mut Row, samples: &[Sample]) {
    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let slowest = samples.iter().map(Sample::took).max().unwrap_or(Duration::MAX);
    row.measure("requests", samples.len());
    row.measure("failed", failed.len());
    if let Some(why) = failed.iter().find_map(|sample| sample.failure()) {
        row.measure("failure", why);
    }
    row.measure("slowest_ms", ms(slowest));
    row.require("no request fails", failed.is_empty());
    row.require("each request is answered within a second", slowest <= BAR);
}

fn judge_p99(row: &mut Row, calm: &[Sample], blocked: &[Sample]) {
    let p99 = |samples: &[Sample]| {
        let p99 = p99_us(samples.iter()).expect("there were requests");
        u64::try_from(p99).expect("a short time")
    };
    let (before, after) = (p99(calm), p99(blocked));
    row.measure("p99_us_before", before);
    row.measure("p99_us_blocked", after);
    if is_full() {
        row.require("p99 is at most 1 ms above that before", after <= before + 1_000);
    }
}

/// A collector that reads again.
struct Reader {
    said: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Reader {
    fn start(mut pipe: PipeReader) -> Self {
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let shared = Arc::clone(&said);
        let reading = std::thread::spawn(move || {
            let mut part = vec![0; 64 * 1_024];
            loop {
                match pipe.read(&mut part) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => shared.lock().expect("no panic").extend(&part[..count]),
                }
            }
        });
        Self { said, reading }
    }

    /// What it has read so far.
    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no panic")).into_owned()
    }

    /// What it has read, once the other end is closed.
    fn all(self) -> String {
        let Self { said, reading } = self;
        reading.join().expect("no panic");
        let said = said.lock().expect("no panic");
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// How long anybody may wait.
const BAR: Duration = Duration::from_secs(1);
