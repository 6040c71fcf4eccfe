//! Clients that are slow on purpose: a header that never ends, a body that hardly comes, an answer
//! that nobody reads, nothing at all. All of them are cut by their deadline, and a good client never
//! notices.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::kit::{Tidegate, Turn, until};
use crate::rig::{
    Bystander, Client, LARGE, Memory, Row, Scene, Speaks, Target, metric, raise_own_limit,
    require_bounded, room_for, sized,
};

/// How slow clients were got rid of.
#[derive(Default)]
struct Cuts {
    cut: usize,
    /// With a 408 before the end.
    told: usize,
    /// Never.
    left: usize,
    last: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_drip_their_headers_are_cut_by_the_deadline() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "slow headers",
        "all cut by the deadline; a good client served within 1 s throughout; full: memory of the \
         proxy at most 200 MB and 20 KB for each connection",
    );
    let blue = Target::sound("blue").await;
    let deadline = Duration::from_secs(sized(1, 10));
    let connections = sized(100, 10_000);
    let scene = Scene {
        listener: format!(
            ", limits: {{ header: {}s, connections_per_client: 20000 }}",
            deadline.as_secs()
        ),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let memory = Memory::watch(tidegate.id());
    let bystander = Bystander::start(tidegate.public(), Speaks::Http1);
    let drip = Drip {
        head: "GET / HTTP/1.1\r\nhost: shop.test\r\nx-slow: ",
        pause: Duration::from_millis(sized(100, 1_000)),
        patience: deadline * 3,
    };
    let cuts = drip.run(&tidegate, connections).await;
    bystander.stop(&mut row, "").await;
    cuts.judge(&mut row, connections, deadline + LEEWAY);
    let counted =
        metric(&tidegate.api(), "tidegate_edge_events_total", &["\"header_timeout\""]).await;
    row.measure("counted", counted);
    row.require("all are counted", counted >= connections as u64);
    row.measure("requests_at_target_of_others", blue.seen().count());
    require_bounded(&mut row, &memory, OF_A_HEADER_KIB, connections);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_drip_their_bodies_are_cut_by_the_least_rate() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "slow bodies",
        "all cut with the first part after the ten seconds of grace, which begin with the first of \
         all; a good client served within 1 s throughout; memory of the proxy at most 200 MB and \
         128 KB for each; full: 10 000, or as many as the limit of open files permits",
    );
    let blue = Target::sound("blue").await;
    // Each has a connection to its target as well.
    let connections = room_for(sized(50, 10_000), 2);
    let scene = Scene {
        listener: ", limits: { body_rate: 1000, connections_per_client: 20000 }".to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let memory = Memory::watch(tidegate.id());
    let bystander = Bystander::start(tidegate.public(), Speaks::Http1);
    let drip = Drip {
        head: "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1000000\r\n\r\n",
        pause: Duration::from_millis(sized(500, 2_000)),
        patience: GRACE * 3,
    };
    let cuts = drip.run(&tidegate, connections).await;
    bystander.stop(&mut row, "").await;
    cuts.judge(&mut row, connections, drip.pause + GRACE + drip.pause + LEEWAY);
    row.measure("told_with_408", cuts.told);
    require_bounded(&mut row, &memory, OF_A_BODY_KIB, connections);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_their_answer_are_cut() {
    // An answer that nobody reads fills the system's buffers first, some 5 MiB for each of these
    // clients on the loopback: ten thousand of them are a row of HTTP/2 (`slow_http2`), whose
    // windows keep it out of these.
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "slow readers",
        "all cut after response_write; a good client served within 1 s throughout; memory of the \
         proxy at most 200 MB and 512 KB for each",
    );
    let blue = Target::large("blue").await;
    let connections = sized(20, 200);
    let scene = Scene {
        listener: ", limits: { response_write: 1s, connections_per_client: 20000 }".to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let memory = Memory::watch(tidegate.id());
    let bystander = Bystander::start(tidegate.public(), Speaks::Http1);
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::open(tidegate.public()).await.expect("connected");
        client.send("GET /large HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.expect("sent");
        clients.push(client);
    }
    until("the target has all the requests", async || {
        let requests = blue.seen().requests();
        requests.iter().filter(|line| *line == "GET /large").count() == connections
    })
    .await;
    // The fault itself: for this long nobody reads.
    sleep_until(Instant::now() + UNREAD).await;
    bystander.stop(&mut row, "").await;
    let mut whole = 0;
    for mut client in clients {
        whole += usize::from(client.rest().await.len() as u64 > LARGE);
    }
    row.measure("connections", connections);
    require_bounded(&mut row, &memory, OF_AN_ANSWER_KIB, connections);
    row.measure("answers_that_came_whole", whole);
    row.require("all were cut, and none got its answer whole", whole == 0);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_are_cut() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "silent clients",
        "new connections cut by the deadline of a header, used ones after keepalive; a good client \
         served within 1 s throughout",
    );
    let blue = Target::sound("blue").await;
    let connections = sized(50, 2_000);
    let scene = Scene {
        listener: ", limits: { header: 1s, keepalive: 1s, connections_per_client: 20000 }"
            .to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let bystander = Bystander::start(tidegate.public(), Speaks::Http1);
    for (about, is_used) in [("new", false), ("used", true)] {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let mut client = Client::open(tidegate.public()).await.expect("connected");
            if is_used {
                let asked = client.ask(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
                assert_eq!(asked.expect("an answer").status, 200);
            }
            let began = Instant::now();
            clients.spawn(async move {
                let said = timeout(SILENCE * 3, client.rest()).await.ok()?;
                said.is_empty().then(|| began.elapsed())
            });
        }
        let ends: Vec<Option<Duration>> = clients.join_all().await;
        let cut = ends.iter().flatten().count();
        let last = ends.iter().flatten().max().copied().unwrap_or_default();
        let ms = u64::try_from(last.as_millis()).expect("a short time");
        row.measure(&format!("{about}_connections"), connections);
        row.measure(&format!("{about}_cut_without_a_word"), cut);
        row.measure(&format!("{about}_last_cut_after_ms"), ms);
        row.require(&format!("{about}: all are cut"), cut == connections);
        row.require(&format!("{about}: all are cut in time"), last <= SILENCE + LEEWAY);
    }
    bystander.stop(&mut row, "").await;
    row.end();
}

/// Clients that send their head at once and then a byte now and then.
#[derive(Clone, Copy)]
struct Drip {
    head: &'static str,
    pause: Duration,
    /// After which a client is taken for one that is never cut.
    patience: Duration,
}

impl Drip {
    async fn run(self, tidegate: &Tidegate, connections: usize) -> Cuts {
        let (address, api) = (tidegate.public(), tidegate.api());
        let opening = Arc::new(Semaphore::new(64));
        let mut clients = JoinSet::new();
        for opened in 0..connections {
            if opened > 0 && opened % UNACCEPTED == 0 {
                until("those before are accepted", async || {
                    let labels = ["\"accepted\""];
                    metric(&api, "tidegate_edge_events_total", &labels).await >= opened as u64
                })
                .await;
            }
            let turn = Arc::clone(&opening).acquire_owned().await.expect("never closed");
            clients.spawn(async move {
                let client = Client::open(address).await;
                drop(turn);
                self.drip(client.expect("connected")).await
            });
        }
        let mut cuts = Cuts::default();
        while let Some(ended) = clients.join_next().await {
            match ended.expect("no panic") {
                Some((after, told)) => {
                    cuts.cut += 1;
                    cuts.told += usize::from(told);
                    cuts.last = cuts.last.max(after);
                }
                None => cuts.left += 1,
            }
        }
        cuts
    }

    /// After how long it was cut, and whether with a 408; `None` if it never was.
    async fn drip(self, client: Client) -> Option<(Duration, bool)> {
        let began = Instant::now();
        let (reading, mut writing) = client.into_stream().into_split();
        if writing.write_all(self.head.as_bytes()).await.is_err() {
            return Some((began.elapsed(), false));
        }
        let mut due = began + self.pause;
        let said = loop {
            tokio::select! {
                () = sleep_until(due) => {
                    if began.elapsed() > self.patience {
                        return None;
                    }
                    due += self.pause;
                    // That it cannot be sent is seen by the reading half.
                    let _ = writing.write_all(b"x").await;
                }
                ready = reading.readable() => {
                    if ready.is_err() {
                        break Vec::new();
                    }
                    let mut said = vec![0; 1_024];
                    match reading.try_read(&mut said) {
                        Ok(length) => {
                            said.truncate(length);
                            break said;
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break Vec::new(),
                    }
                }
            }
        };
        Some((began.elapsed(), said.starts_with(b"HTTP/1.1 408 ")))
    }
}

impl Cuts {
    fn judge(&self, row: &mut Row, connections: usize, by: Duration) {
        let ms = u64::try_from(self.last.as_millis()).expect("a short time");
        row.measure("connections", connections);
        row.measure("cut", self.cut);
        row.measure("never_cut", self.left);
        row.measure("last_cut_after_ms", ms);
        row.require("all are cut", self.cut == connections);
        row.require("all are cut by the deadline", self.last <= by);
    }
}

/// What a connection without a request may take of the proxy.
const OF_A_HEADER_KIB: u64 = 20;
/// What one may take with a request: as much again for the connection to its target, the request in
/// both of its forms, and a buffer of 64 KiB for its body.
const OF_A_BODY_KIB: u64 = 128;
/// What one may take whose answer waits: the same, and some buffers of 64 KiB of the answer between
/// the one who reads it and the one who writes it.
const OF_AN_ANSWER_KIB: u64 = 512;
/// How many connections may wait to be accepted. They are opened faster than anybody accepts, and a
/// queue that is full (`net.core.somaxconn`, 4096 by default) turns everybody away: that is a flood of
/// SYNs, which is the system's affair, and not what is tried here.
const UNACCEPTED: usize = 1_000;
/// How long clients do not read, of which one second is allowed.
const UNREAD: Duration = Duration::from_secs(4);
/// How long a connection may be silent: the whole time of a header, or that of an idle connection
/// and of a header together.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a body may be slow at its beginning.
const GRACE: Duration = Duration::from_secs(10);
/// For a machine that is busy.
const LEEWAY: Duration = Duration::from_secs(2);
