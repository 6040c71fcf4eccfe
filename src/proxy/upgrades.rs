//! Upgrades over real sockets, byte by byte: what passes and what survives.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::testkit::{Act, Origin, PATIENCE, World, body, field, ok, service, status, until};
use super::upgradekit::{AGREES, ASKS, End, Target};
use crate::core::model::{MemoryLimit, Side, Span, TargetProtocol, Transport};
use crate::core::routing::{Link, MeterId};
use crate::telemetry::MeterKey;

/// How many requests are in flight at most without one being refused for want of memory.
const ALWAYS_LET_IN: u64 = 64;

#[tokio::test]
async fn an_upgrade_passes_with_what_came_too_early_on_both_sides() {
    let target = Target::new().await;
    let world = World::new(service(0, &[target.address], &[]));
    let key = MeterKey {
        service: "shop".parse().expect("valid"),
        side: Side::Blue,
        target_group: "shop-a".parse().expect("valid"),
    };
    assert_eq!(world.recorder.register(&key), MeterId(0));
    let mut client = End::to(world.address()).await;
    client.send(format!("{ASKS}early").as_bytes()).await;
    let mut at_target = target.accept().await;
    let asked = at_target.head().await;
    for (name, expected) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("host", "shop.test"),
        ("sec-websocket-version", "13"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(field(&asked, name), Some(expected), "{asked}");
    }
    at_target.send(format!("{AGREES}\u{1}first").as_bytes()).await;
    let agreed = client.head().await;
    assert!(agreed.starts_with("HTTP/1.1 101 "), "{agreed}");
    assert_eq!(field(&agreed, "upgrade"), Some("websocket"));
    assert_eq!(field(&agreed, "connection"), Some("Upgrade"));
    assert_eq!(field(&agreed, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(field(&agreed, "x-tidegate-side"), Some("blue"));
    assert_eq!(client.take(6).await, b"\x01first");
    assert_eq!(at_target.take(5).await, b"early");
    for n in 0..100_u8 {
        client.send(&[n; 300]).await;
        assert_eq!(at_target.take(300).await, [n; 300]);
        at_target.send(&[n, 0, n]).await;
        assert_eq!(client.take(3).await, [n, 0, n]);
    }
    let counts = || world.recorder.snapshot(MeterId(0)).by_class;
    until("the upgrade is counted while its tunnel stands", || counts()[0] == 1).await;
    assert_eq!(world.proxy.in_flight(), 1);
    drop(client);
    assert_eq!(at_target.rest().await, b"");
    drop(at_target);
    until("the tunnel has ended", || world.proxy.in_flight() == 0).await;
    assert_eq!(counts(), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn three_hundred_upgrades_in_a_row_all_survive() {
    let target = Target::new().await;
    let world = World::new(service(0, &[target.address], &[]));
    let _echo = target.echo();
    for n in 0..300_u32 {
        let mut client = End::to(world.address()).await;
        client.send(ASKS.as_bytes()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "), "{n}");
        for part in [n.to_be_bytes(), (!n).to_be_bytes()] {
            client.send(&part).await;
            assert_eq!(client.take(4).await, part, "{n}");
        }
    }
}

#[tokio::test]
async fn much_passes_in_both_directions_at_once() {
    let target = Target::new().await;
    let world = World::new(service(0, &[target.address], &[]));
    let _echo = target.echo();
    let mut client = End::to(world.address()).await;
    client.send(ASKS.as_bytes()).await;
    client.head().await;
    let sent: Vec<u8> =
        (0..4_000_000_u32).map(|n| n.to_be_bytes()[3] ^ n.to_be_bytes()[2]).collect();
    let (mut from, mut to) = client.stream.into_split();
    let all = sent.clone();
    let sending = tokio::spawn(async move {
        to.write_all(&all).await.expect("sent");
        to
    });
    let mut back = client.buffer;
    while back.len() < sent.len() {
        let read = timeout(PATIENCE, from.read_buf(&mut back)).await.expect("in time");
        assert!(read.is_ok_and(|bytes| bytes > 0), "ended after {} bytes", back.len());
    }
    assert!(back == sent, "another content");
    drop(sending.await.expect("no panic"));
}

#[tokio::test]
async fn an_answer_that_is_no_101_passes_and_the_connection_goes_on() {
    let origin = Origin::new(|request, _| {
        if request.contains("pgrade") {
            let reply = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nx-why: age\r\n\r\nno";
            vec![Act::Send(reply.to_owned())]
        } else {
            ok("fine")
        }
    })
    .await;
    let world = World::new(service(0, &[origin.address], &[]));
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(ASKS).await;
        let answer = client.answer().await;
        assert_eq!((status(&answer), body(&answer)), (403, "no"));
        assert_eq!(field(&answer, "x-why"), Some("age"));
        assert_eq!(body(&client.get("/", "").await), "fine");
    }
}

#[tokio::test]
async fn a_target_that_breaks_off_is_asked_once() {
    let broken = Origin::new(|_, _| vec![Act::Close]).await;
    let world = World::new(service(0, &[broken.address], &[]));
    let mut client = world.client().await;
    client.send(ASKS).await;
    let answer = client.answer().await;
    assert_eq!((status(&answer), field(&answer, "x-tidegate-error")), (502, Some("target_broken")));
    assert_eq!(broken.seen().len(), 1);
}

#[tokio::test]
async fn a_target_of_http_2_is_not_asked_for_an_upgrade() {
    let target = Target::new().await;
    let mut route = service(0, &[target.address], &[]);
    let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    route.blue.link = Arc::new(Link::new(1, transport));
    let world = World::new(route);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let answer = client.answer().await;
    let error = field(&answer, "x-tidegate-error");
    assert_eq!((status(&answer), error), (501, Some("upgrade_not_served")));
}

#[tokio::test]
async fn each_end_hears_that_the_other_has_ended() {
    let target = Target::new().await;
    let world = World::new(service(0, &[target.address], &[]));
    let (mut client, mut at_target, _) = target.upgraded(&world, ASKS, AGREES).await;
    at_target.send(b"bye").await;
    drop(at_target);
    assert_eq!(client.rest().await, b"bye");
    let (mut client, mut at_target, _) = target.upgraded(&world, ASKS, AGREES).await;
    client.send(b"last").await;
    client.stream.shutdown().await.expect("half closed");
    assert_eq!(at_target.rest().await, b"last");
    // The target may still finish what it has.
    at_target.send(b"answer").await;
    drop(at_target);
    assert_eq!(client.rest().await, b"answer");
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let target = Target::new().await;
    let mut route = service(0, &[target.address], &[]);
    route.timeouts.stream_idle = Span::from_ms(200);
    let world = World::new(route);
    let (mut client, mut at_target, _) = target.upgraded(&world, ASKS, AGREES).await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(at_target.rest().await, b"");
    until("it is over", || world.proxy.in_flight() == 0).await;
}

#[tokio::test]
async fn where_memory_is_short_open_tunnels_keep_out_further_ones_and_nobody_else() {
    let origin = Origin::new(|request, _| {
        if request.contains("pgrade") {
            vec![Act::Send(AGREES.to_owned()), Act::Wait(Duration::from_secs(600))]
        } else {
            ok("fine")
        }
    })
    .await;
    let world = World::new(service(0, &[origin.address], &[]));
    world.recorder.pressure().choose(MemoryLimit::Bytes(1));
    world.recorder.pressure().observe(1, None);
    let mut open = Vec::new();
    for number in 1..=ALWAYS_LET_IN {
        let mut client = End::to(world.address()).await;
        client.send(ASKS.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{number}: {head}");
        open.push(client);
    }
    assert_eq!(body(&world.get("").await), "fine");
    let mut further = world.client().await;
    further.send(ASKS).await;
    let answer = further.answer().await;
    assert_eq!((status(&answer), field(&answer, "x-tidegate-error")), (503, Some("overloaded")));
    assert_eq!(world.proxy.in_flight(), ALWAYS_LET_IN, "they are all still open");
    drop(open);
}
