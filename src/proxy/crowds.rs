//! Crowds at targets of HTTP/2, over real sockets: how many connections they take, and that whoever
//! leaves one takes nobody along.

use std::net::SocketAddr;
use std::sync::Arc;

use h2::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::h2kit::{Does, FINE, LATE, Stage, Terms, h2c, to};
use super::streams::raw_frame;
use super::testkit::{PATIENCE, World, service, table, until};
use super::upgradekit::End;
use super::wirekit::{H2Client, get, h2c_listener, whole_of};
use crate::core::model::{TrailerPolicy, WhenIdle};

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn world(origin: &Stage) -> World {
    World::listening(table(to(origin), WhenIdle::Refuse), &[h2c_listener()])
}

/// So many requests at once, a hundred on a connection, and their statuses.
async fn crowd(world: &World, count: usize) -> JoinSet<u16> {
    let mut requests = JoinSet::new();
    let mut client = Arc::new(H2Client::of(world).await);
    for number in 1..=count {
        let asks = Arc::clone(&client);
        requests.spawn(async move { asks.get("/").await.status });
        if number % 100 == 0 {
            client = Arc::new(H2Client::of(world).await);
        }
    }
    requests
}

async fn statuses(requests: JoinSet<u16>) -> Vec<u16> {
    timeout(PATIENCE, requests.join_all()).await.expect("none is held up")
}

#[tokio::test]
async fn a_crowd_that_comes_while_a_connection_is_made_gets_as_few_as_will_do() {
    let terms = Terms { is_slow: true, ..Terms::default() };
    let origin = Stage::on(terms, |_, _| FINE).await;
    let world = world(&origin);
    let requests = crowd(&world, 300).await;
    until("all have come", || world.proxy.in_flight() == 300).await;
    until("connections are being made", || origin.connections() == 3).await;
    origin.go_on();
    assert_eq!(statuses(requests).await, vec![200; 300]);
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn a_crowd_at_a_target_that_takes_few_at_once_waits_for_connections_and_for_no_answer() {
    let terms = Terms { streams: Some(2), ..Terms::default() };
    let origin = Stage::on(terms, |_, _| LATE).await;
    let world = world(&origin);
    let requests = crowd(&world, 20).await;
    until("none waits for another's end", || origin.seen().len() == 20).await;
    assert_eq!(origin.connections(), 10);
    origin.go_on();
    assert_eq!(statuses(requests).await, vec![200; 20]);
}

#[tokio::test]
async fn whoever_leaves_many_downloads_takes_nobody_along() {
    const ENDLESS: &[Does] = &[Does::Says(200, &[]), Does::Pours(64 << 20), Does::Finishes("")];
    let script = |path: &str, _| if path == "/late" { LATE } else { ENDLESS };
    let origin = Stage::on(Terms::default(), script).await;
    let world = world(&origin);
    let staying = H2Client::of(&world).await;
    let (late, _) = staying.begin(get("/late"), true).await;
    until("it is at the target", || origin.seen().len() == 1).await;
    for round in 1..=20 {
        let leaving = H2Client::of(&world).await;
        let mut downloads = Vec::new();
        for _ in 0..60 {
            downloads.push(leaving.begin(get("/download"), true).await);
        }
        until("all are at the target", || origin.seen().len() == 1 + 60 * round).await;
        drop(downloads);
        until("they are over", || world.proxy.in_flight() == 1).await;
    }
    origin.go_on();
    assert_eq!(whole_of(late).await.expect("an answer").body, "fine");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_reset_without_an_error_ends_no_answer_that_has_not_ended() {
    const CUT: &[Does] =
        &[Does::Says(200, &[]), Does::Sends("half"), Does::Waits, Does::Resets(Reason::NO_ERROR)];
    let origin = Stage::always(CUT).await;
    let old = World::new(to(&origin));
    let mut client = End::to(old.address()).await;
    client.send(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    let new = world(&origin);
    let multiplexed = H2Client::of(&new).await;
    let (answer, _) = multiplexed.begin(get("/"), true).await;
    until("both are at the target", || origin.seen().len() == 2).await;
    origin.go_on();
    let rest = client.rest().await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("half") && !rest.ends_with("0\r\n\r\n"), "{rest}");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("a header");
    let mut content = answer.into_body();
    let cut = async {
        loop {
            match content.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return error.is_reset() && error.reason() != Some(Reason::NO_ERROR);
                }
                None => return false,
            }
        }
    };
    assert!(timeout(PATIENCE, cut).await.expect("in time"), "it must not look whole");
    for world in [&old, &new] {
        until("it is counted", || world.recorder.overflow().broken == 1).await;
    }
}

/// A target that answers one request whole, wants no more of it (RFC 9113, section 8.1), and says all
/// of that in one go.
async fn in_a_hurry() -> SocketAddr {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.expect("accepted");
        stream.write_all(&SETTINGS).await.expect("sent");
        stream.read_exact(&mut [0; 24]).await.expect("a preface");
        let mut head = [0; 9];
        while head[3] != 1 {
            stream.read_exact(&mut head).await.expect("a frame");
            let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
            stream.read_exact(&mut vec![0; length]).await.expect("its payload");
        }
        let answer = [
            // A header that says 200, the body with the end, and a reset without an error.
            raw_frame(1, 0x04, 1, &[0x88]),
            raw_frame(0, 0x01, 1, b"whole"),
            raw_frame(3, 0, 1, &[0; 4]),
        ];
        stream.write_all(&answer.concat()).await.expect("sent");
        // Until the proxy is done with it.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    address
}

#[tokio::test]
async fn an_answer_that_has_ended_is_whole_although_a_reset_follows() {
    let mut route = service(0, &[in_a_hurry().await], &[]);
    route.blue.link = h2c(1, TrailerPolicy::Drop);
    let world = World::new(route);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 4\r\n\r\n").await;
    assert!(client.rest().await.ends_with("\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"));
    until("it is counted", || world.recorder.overflow().requests() == 1).await;
    assert_eq!(world.recorder.overflow().failed(), 0);
}
