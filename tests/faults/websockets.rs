//! Open WebSockets through a promotion and a rollback: those of the group that loses its weight
//! live on for the drain timeout and are then closed in their own protocol; the others never
//! notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate::core::rollout::StateName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::kit::{PATIENCE, Tidegate, Turn};
use crate::rig::{
    Client, Row, Scene, Seen, Target, baking_at, ends_as, metric, raise_own_limit, read_request,
    sized, tell,
};

/// An open WebSocket.
pub(crate) struct Socket {
    stream: TcpStream,
    /// The name of the target at its other end.
    target: String,
}

/// How the WebSockets of a group that had to go have ended.
#[derive(Default)]
struct Farewells {
    /// With 1001, in its time.
    clean: usize,
    /// Before the drain timeout was over.
    early: usize,
    /// In any other way.
    cut: usize,
    last_ms: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_outlive_a_promotion_and_a_rollback_and_are_closed_cleanly() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "open WebSockets through promotion and rollback",
        "0 forced closes within drain_timeout; all closed with 1001 after it; the others untouched",
    );
    let (a, b) = (echo("shop-a").await, echo("shop-b").await);
    let scene = Scene {
        service: ", drain_timeout: 2s, min_green: 0".to_owned(),
        blue: vec![a.address()],
        green: vec![b.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();

    let first = baking_at(&api, "v1", "50%").await;
    let (leaving, staying) = open_both(&tidegate, "shop-a").await;
    row.measure("through_promotion", leaving.len() + staying.len());
    let changed = Instant::now();
    tell(&api, &first, "promote").await;
    judge(&mut row, "promotion", &farewells(leaving, changed).await);
    let staying = still_echo(&mut row, "promotion", staying).await;
    ends_as(&api, &first, StateName::Succeeded).await;
    drop(staying);

    let second = baking_at(&api, "v2", "50%").await;
    let (leaving, staying) = open_both(&tidegate, "shop-a").await;
    row.measure("through_rollback", leaving.len() + staying.len());
    let changed = Instant::now();
    tell(&api, &second, "abort").await;
    judge(&mut row, "rollback", &farewells(leaving, changed).await);
    drop(still_echo(&mut row, "rollback", staying).await);
    ends_as(&api, &second, StateName::RolledBack).await;

    let cut = metric(&api, "tidegate_edge_events_total", &["\"stream_cut\""]).await;
    row.measure("counted_as_cut", cut);
    row.require("none is counted as cut", cut == 0);
    row.end();
}

/// Opens all of them; gives those at the target that is going to leave, and the others.
async fn open_both(tidegate: &Tidegate, leaving: &str) -> (Vec<Socket>, Vec<Socket>) {
    let mut opened = Vec::new();
    for _ in 0..sized(100, 1_000) {
        opened.push(open(tidegate.public()).await);
    }
    for socket in &mut opened {
        assert!(echoes(socket).await, "a WebSocket does not work before anything happened");
    }
    let parted: (Vec<Socket>, Vec<Socket>) =
        opened.into_iter().partition(|socket| socket.target == leaving);
    assert!(!parted.0.is_empty() && !parted.1.is_empty(), "at half the weight both have some");
    parted
}

/// Opens one.
pub(crate) async fn open(address: SocketAddr) -> Socket {
    let mut client = Client::open(address).await.expect("connected");
    let request = "GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: Upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGlkZWdhdGUtZmF1bHRzIQ==\r\n\r\n";
    client.send(request).await.expect("sent");
    let head = timeout(PATIENCE, client.head()).await.expect("in time").expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let head = head.to_ascii_lowercase();
    let named = head.lines().find_map(|line| line.strip_prefix("x-origin: "));
    let target = named.expect("the target says its name").trim().to_owned();
    Socket { stream: client.into_stream(), target }
}

/// Whether a message comes back.
pub(crate) async fn echoes(socket: &mut Socket) -> bool {
    let exchange = async {
        socket.stream.write_all(&QUESTION).await?;
        let mut answer = [0; ANSWER.len()];
        socket.stream.read_exact(&mut answer).await.map(|_| answer == ANSWER)
    };
    timeout(PATIENCE, exchange).await.is_ok_and(|echoed| echoed.unwrap_or(false))
}

async fn still_echo(row: &mut Row, about: &str, mut sockets: Vec<Socket>) -> Vec<Socket> {
    let mut dead = 0;
    for socket in &mut sockets {
        dead += usize::from(!echoes(socket).await);
    }
    row.measure(&format!("{about}_lost_on_the_other_side"), dead);
    row.require(&format!("{about}: the other side keeps all of its own"), dead == 0);
    sockets
}

/// Waits for the end of each.
async fn farewells(sockets: Vec<Socket>, changed: Instant) -> Farewells {
    let mut ends = JoinSet::new();
    for mut socket in sockets {
        ends.spawn(async move {
            let mut frame = [0; GOING_AWAY.len()];
            let read = timeout(PATIENCE, socket.stream.read_exact(&mut frame)).await;
            let after = changed.elapsed();
            let is_clean = read.is_ok_and(|read| read.is_ok()) && frame == GOING_AWAY;
            // The client's own close, after which the proxy has nothing more to say.
            let _ = socket.stream.write_all(&CLOSING).await;
            let mut rest = Vec::new();
            let end = timeout(PATIENCE, socket.stream.read_to_end(&mut rest)).await;
            (is_clean && end.is_ok_and(|end| end.is_ok()) && rest.is_empty(), after)
        });
    }
    let mut farewells = Farewells::default();
    while let Some(end) = ends.join_next().await {
        let (is_clean, after) = end.expect("no panic");
        farewells.clean += usize::from(is_clean);
        farewells.cut += usize::from(!is_clean);
        farewells.early += usize::from(after < DRAIN_TIMEOUT);
        let ms = u64::try_from(after.as_millis()).expect("a short time");
        farewells.last_ms = farewells.last_ms.max(ms);
    }
    farewells
}

fn judge(row: &mut Row, about: &str, farewells: &Farewells) {
    let Farewells { clean, early, cut, last_ms } = farewells;
    row.measure(&format!("{about}_closed_with_1001"), *clean);
    row.measure(&format!("{about}_closed_early"), *early);
    row.measure(&format!("{about}_cut"), *cut);
    row.measure(&format!("{about}_last_after_ms"), *last_ms);
    row.require(&format!("{about}: none before the drain timeout"), *early == 0);
    row.require(&format!("{about}: all with 1001"), *cut == 0);
    row.require(&format!("{about}: all soon after the drain timeout"), *last_ms < 10_000);
}

/// A target that sends every message back.
async fn echo(name: &'static str) -> Target {
    Target::start(move |stream, seen| serve(stream, seen, name)).await
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>, name: &'static str) {
    let mut buffer = Vec::new();
    let Some(request) = read_request(&mut stream, &mut buffer).await else { return };
    seen.note(&request);
    be_socket(stream, name).await;
}

/// Changes the protocol of a connection, and sends every message back.
pub(crate) async fn be_socket(mut stream: TcpStream, name: &str) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         x-origin: {name}\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut question = [0; QUESTION.len()];
    while stream.read_exact(&mut question).await.is_ok() {
        if stream.write_all(&ANSWER).await.is_err() {
            return;
        }
    }
}

/// `ping` in a text frame of a client, whose mask is zero.
const QUESTION: [u8; 10] = [0x81, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
/// The same of a server.
const ANSWER: [u8; 6] = [0x81, 0x04, b'p', b'i', b'n', b'g'];
/// A server's close that says 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// A client's answer to it.
const CLOSING: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
