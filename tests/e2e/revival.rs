//! What runs through the proxy does not notice that an upgrade failed, and neither does it miss
//! what comes afterwards.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidegate::admin::json::Rollout;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{FakeSuccessor, Origin, PATIENCE, Shop, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_from_before_an_upgrade_that_failed_is_told_to_leave_at_a_rollback() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let api = tidegate.api();
    let shop = api.service("shop").await;
    let id = api.roll_out(&shop, "v2").await.expect("it starts").id.to_string();
    let half = Weight::from_bp(5_000).expect("in range");
    until("green has half", async || api.service("shop").await.weights.in_force.green == half)
        .await;
    let mut on_blue = Chat::open_at("shop-a", tidegate.public()).await;
    let mut on_green = Chat::open_at("shop-b", tidegate.public()).await;

    let mut fake = FakeSuccessor::take(tidegate.home()).await;
    fake.pause().await;
    assert!(on_green.echoes().await, "nothing stops it while the store is another's");
    drop(fake);
    assert_eq!(api.service("shop").await.weights.in_force.green, half, "it is decided again");
    // The proxy looks at the table ten times a second: only what it has seen can mislead it.
    let revived = Instant::now();
    while revived.elapsed() < SEVERAL_LOOKS {
        assert!(on_green.echoes().await, "there is no reason to leave yet");
        sleep(Duration::from_millis(20)).await;
    }

    let abort = format!("/v1/rollouts/{id}/abort");
    let aborted: Rollout = api.change("POST", &abort, &json!({})).await.expect("aborted");
    assert_eq!(aborted.id.to_string(), id);
    let goodbye = timeout(PATIENCE, on_green.next_frame()).await;
    assert_eq!(goodbye.expect("it is told to leave"), GOING_AWAY);
    assert!(on_blue.echoes().await, "the other side goes on");
    until("it is rolled back", async || api.rollout(&id).await.state == StateName::RolledBack)
        .await;
}

/// An open WebSocket.
struct Chat {
    stream: TcpStream,
}

impl Chat {
    /// Opens one at a target: the proxy draws, and is asked until it draws that one.
    async fn open_at(target: &str, address: SocketAddr) -> Self {
        let mut opened = None;
        until("the proxy draws the side", async || {
            let (chat, at) = Self::open(address).await;
            opened = (at == target).then_some(chat);
            opened.is_some()
        })
        .await;
        let mut opened: Self = opened.expect("it was waited for");
        assert!(opened.echoes().await, "it works");
        opened
    }

    /// Opens one; gives the name of its target, too.
    async fn open(address: SocketAddr) -> (Self, String) {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = "GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: Upgrade\r\n\
                       upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGlkZWdhdGUtcmV2aXZhbA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let head = timeout(PATIENCE, head_of(&mut stream)).await.expect("answered in time");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let head = head.to_ascii_lowercase();
        let target = head.lines().find_map(|line| line.strip_prefix("x-origin: "));
        let target = target.expect("the target says its name").trim().to_owned();
        (Self { stream }, target)
    }

    /// Whether a message comes back.
    async fn echoes(&mut self) -> bool {
        self.stream.write_all(&QUESTION).await.expect("sent");
        let mut answer = [0; ANSWER.len()];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut answer)).await;
        read.is_ok_and(|read| read.is_ok()) && answer == ANSWER
    }

    /// The next frame, of the length that a goodbye has.
    async fn next_frame(&mut self) -> [u8; 4] {
        let mut frame = [0; 4];
        self.stream.read_exact(&mut frame).await.expect("a frame");
        frame
    }
}

/// Reads the head of an answer, and not a byte more.
async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    String::from_utf8_lossy(&head).into_owned()
}

const SHOP: Shop = Shop {
    service: "\
strategy: half
min_green: 0
drain_timeout: 1s
",
    file: "\
strategies:
  half: { steps: [{ weight: 50%, bake: 1h }] }
",
};

const SEVERAL_LOOKS: Duration = Duration::from_millis(500);
/// `ping` in a text frame of a client, whose mask is zero.
const QUESTION: [u8; 10] = [0x81, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
/// The same of a server.
const ANSWER: [u8; 6] = [0x81, 0x04, b'p', b'i', b'n', b'g'];
/// A server's close that says 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
