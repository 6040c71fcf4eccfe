//! Nobody is there: every target refuses connections, or fails its checks alone. Clients are told at
//! once and told to come back, and are served again as soon as somebody is there.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::kit::{Api, Turn, until};
use crate::rig::{
    Plan, Row, Sample, Scene, Seen, Target, Traffic, answer_with, get, p99_us, read_request, sized,
};

/// A target whose port is taken and refuses connections.
struct Dead {
    address: SocketAddr,
    socket: TcpSocket,
}

/// A target that has come back.
struct Risen {
    seen: Arc<Seen>,
    connections: JoinSet<()>,
}

impl Dead {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("bound");
        Self { address: socket.local_addr().expect("bound"), socket }
    }

    fn rise(self) -> Risen {
        let listener = self.socket.listen(1_024).expect("it listens");
        let seen = Arc::new(Seen::default());
        let mut connections = JoinSet::new();
        connections.spawn(serve_all(listener, Arc::clone(&seen)));
        Risen { seen, connections }
    }
}

async fn serve_all(listener: TcpListener, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&seen)));
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        seen.note(&request);
        if !answer_with(&mut stream, "risen", "ok").await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_service_without_a_living_target_are_told_at_once_and_served_when_one_is_back()
{
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "all targets dead",
        "503 with Retry-After within 50 ms (250 ms in the reduced form); served again within 1 s of \
         the recovery; targets see at most 1.2 times what clients ask",
    );
    let dead = [Dead::new(), Dead::new()];
    let scene = Scene {
        service: CHECKED.to_owned(),
        blue: dead.iter().map(|dead| dead.address).collect(),
        green: Vec::new(),
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    until("it is known that all are down", async || {
        let answer = get(tidegate.public(), "/").await;
        answer.is_ok_and(|answer| answer.field("x-tidegate-error") == Some("targets_down"))
    })
    .await;
    judge_refusals(&mut row, tidegate.public()).await;

    let plan = Plan { per_second: sized(200, 1_000), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load is under way", async || traffic.begun() >= 50).await;
    let recovered = Instant::now();
    let mut risen = dead.map(Dead::rise);
    sleep_until(recovered + Duration::from_secs(sized(3, 20))).await;
    let samples = traffic.stop().await;
    let asked: usize = risen.iter().map(|target| target.seen.count()).sum();
    for target in &mut risen {
        target.connections.abort_all();
    }
    judge_recovery(&mut row, &samples, recovered, asked);
    row.end();
}

async fn judge_refusals(row: &mut Row, public: SocketAddr) {
    let (mut others, mut late, mut slowest) = (0, 0, Duration::ZERO);
    let count = sized(100, 1_000);
    for _ in 0..count {
        let began = Instant::now();
        let answer = get(public, "/").await;
        let took = began.elapsed();
        slowest = slowest.max(took);
        late += u32::from(took > at_once());
        let told = answer.is_ok_and(|a| a.status == 503 && a.field("retry-after").is_some());
        others += u32::from(!told);
    }
    let slowest_ms = u64::try_from(slowest.as_millis()).expect("a short time");
    row.measure("refusal_slowest_ms", slowest_ms);
    row.measure("other_answers", others);
    row.require("every answer is a 503 with Retry-After", others == 0);
    // One in a hundred may be the machine's.
    row.measure("late", late);
    row.require("at once", late * 100 <= count);
}

fn judge_recovery(row: &mut Row, samples: &[Sample], recovered: Instant, asked: usize) {
    let later = recovered + Duration::from_secs(1);
    let lost = samples.iter().filter(|s| s.began >= later && s.failure().is_some());
    let lost = lost.count();
    let first = samples.iter().filter(|s| s.failure().is_none()).map(|s| s.ended).min();
    let back = first.map(|first| first.saturating_duration_since(recovered));
    let offered = samples.iter().filter(|sample| sample.ended >= recovered).count();
    row.measure("requests", samples.len());
    row.measure("failed_later_than_a_second", lost);
    row.measure("offered_after_the_recovery", offered);
    row.measure("asked_of_targets", asked);
    if let Some(back) = back {
        row.measure("first_answer_after_ms", u64::try_from(back.as_millis()).unwrap_or(u64::MAX));
    }
    row.require("served within a second", back.is_some_and(|b| b <= Duration::from_secs(1)));
    row.require("nothing fails later than a second", lost == 0);
    // In tenths: what clients asked, and a fifth more.
    row.require("no storm of retries", asked * 10 <= offered * 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_fail_their_checks_alone_lose_nothing() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "health checks fail, requests do not",
        "0 lost while all targets of a side are unhealthy",
    );
    let target = || Target::start(fails_its_checks);
    let (first, second) = (target().await, target().await);
    let scene = Scene {
        service: CHECKED.to_owned(),
        blue: vec![first.address(), second.address()],
        green: Vec::new(),
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    let plan = Plan { per_second: sized(200, 1_000), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    all_are_unhealthy(&api).await;
    let unhealthy = Instant::now();
    sleep_until(unhealthy + Duration::from_secs(sized(2, 20))).await;
    let samples = traffic.stop().await;
    let lost = samples.iter().filter(|sample| sample.failure().is_some()).count();
    let in_panic = samples.iter().filter(|sample| sample.began > unhealthy).count();
    row.measure("requests", samples.len());
    row.measure("requests_in_the_panic", in_panic);
    row.measure("lost", lost);
    if let Some(p99) = p99_us(samples.iter()) {
        row.measure("p99_us", u64::try_from(p99).unwrap_or(u64::MAX));
    }
    row.require("some are asked in the panic", in_panic > 0);
    row.require("none is lost", lost == 0);
    row.end();
}

async fn fails_its_checks(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        seen.note(&request);
        let stands = if request.path == "/healthz" {
            let ill = b"HTTP/1.1 500 Ill\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(ill).await.is_ok()
        } else {
            answer_with(&mut stream, "ill", "ok").await
        };
        if !stands {
            return;
        }
    }
}

async fn all_are_unhealthy(api: &Api) {
    until("all targets are unhealthy", async || {
        let blue = api.service("shop").await.blue;
        blue.targets.len() == 2 && blue.targets.iter().all(|target| target.health == "unhealthy")
    })
    .await;
}

/// How long a refusal may take.
fn at_once() -> Duration {
    sized(Duration::from_millis(250), Duration::from_millis(50))
}

/// More keys of a service whose targets are checked often.
const CHECKED: &str = ", health_check: { path: /healthz, interval: 250ms, timeout: 500ms, \
                       healthy_after: 1, unhealthy_after: 2 }";
