//! Upgrades whose side departs, or whose proxy does: which are told to leave, and which are cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::course::Stay;
use super::testkit::{
    Act, Origin, World, body, field, ok, service, status, table, until, with_green,
};
use super::upgradekit::{AGREES, ASKS, Target};
use crate::core::model::{Span, WhenIdle};
use crate::core::routing::ServiceRoute;
use crate::telemetry::EdgeEvent;

const OTHER_ASKS: &str =
    "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\n";
const OTHER_AGREES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\n";
/// A close frame that says 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// A service whose requests all go to green, which departs soon after it lost its weight.
fn on_green(target: SocketAddr) -> ServiceRoute {
    let mut route = service(10_000, &[], &[target]);
    route.drain.timeout = Span::from_ms(50);
    route
}

/// Takes the weight away from green.
fn depart(world: &World, route: &ServiceRoute) {
    let mut route = route.clone();
    route.exposure = with_green(0);
    route.generation += 1;
    let generation = route.generation;
    let mut table = table(route, WhenIdle::Refuse);
    table.generation = generation;
    world.table.store(table.into());
}

#[tokio::test]
async fn a_departure_says_1001_between_two_frames_of_a_websocket() {
    let target = Target::new().await;
    let route = on_green(target.address);
    let stay = Stay::with(&route.green.live);
    let world = World::new(route.clone());
    let (mut client, mut at_target, _) = target.upgraded(&world, ASKS, AGREES).await;
    // A whole frame, and the half of another one.
    at_target.send(b"\x81\x02hi\x81\x06hal").await;
    assert_eq!(client.take(9).await, b"\x81\x02hi\x81\x06hal");
    depart(&world, &route);
    until("green has departed", || stay.is_over()).await;
    at_target.send(b"ves\x81\x01!").await;
    let mut rest = client.take(3).await;
    assert_eq!(rest, b"ves");
    client.stream.shutdown().await.expect("half closed");
    rest = client.rest().await;
    // The frame behind the half one passes if it comes in the same read.
    let rest = rest.strip_prefix(b"\x81\x01!").unwrap_or(&rest);
    assert_eq!(rest, GOING_AWAY);
    assert_eq!(at_target.rest().await, b"");
    let count = |event| world.recorder.edge_count(event);
    until("it is counted", || count(EdgeEvent::StreamClosed) == 1).await;
    assert_eq!(count(EdgeEvent::StreamCut), 0);
}

#[tokio::test]
async fn a_departure_ends_an_idle_websocket_at_once_and_leaves_those_of_blue() {
    let (blue, green) = (Target::new().await, Target::new().await);
    let mut route = service(10_000, &[blue.address], &[green.address]);
    route.drain.timeout = Span::from_ms(50);
    let world = World::new(route.clone());
    let (mut on_green, _at_green, _) = green.upgraded(&world, ASKS, AGREES).await;
    depart(&world, &route);
    let (mut on_blue, mut at_blue, _) = blue.upgraded(&world, ASKS, AGREES).await;
    assert_eq!(on_green.take(4).await, GOING_AWAY);
    drop(on_green);
    at_blue.send(b"\x81\x02hi").await;
    assert_eq!(on_blue.take(4).await, b"\x81\x02hi");
    on_blue.send(b"answer").await;
    assert_eq!(at_blue.take(6).await, b"answer");
}

#[tokio::test]
async fn a_departure_cuts_a_frame_that_never_ends_and_any_other_protocol() {
    let target = Target::new().await;
    let route = on_green(target.address);
    let world = World::new(route.clone());
    let (mut stuck, mut at_stuck, _) = target.upgraded(&world, ASKS, AGREES).await;
    at_stuck.send(b"\x81\x06hal").await;
    assert_eq!(stuck.take(5).await, b"\x81\x06hal");
    let (mut other, mut at_other, asked) = target.upgraded(&world, OTHER_ASKS, OTHER_AGREES).await;
    assert_eq!(field(&asked, "upgrade"), Some("chat/2"));
    at_other.send(b"hello").await;
    assert_eq!(other.take(5).await, b"hello");
    depart(&world, &route);
    assert_eq!(other.rest().await, b"");
    assert_eq!(stuck.rest().await, b"");
    let count = |event| world.recorder.edge_count(event);
    until("both are counted", || count(EdgeEvent::StreamCut) == 2).await;
    assert_eq!(count(EdgeEvent::StreamClosed), 0);
}

#[tokio::test]
async fn a_departure_cuts_a_download_and_a_short_answer_is_over_before() {
    let endless = Origin::new(|request, _| {
        if request.starts_with("GET /short ") {
            return ok("short");
        }
        let begun = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegun";
        vec![Act::Send(begun.to_owned()), Act::Wait(Duration::from_secs(600))]
    })
    .await;
    let route = on_green(endless.address);
    let world = World::new(route.clone());
    let mut short = world.client().await;
    assert_eq!(body(&short.get("/short", "").await), "short");
    let mut long = world.client().await;
    long.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    until("it has begun", || endless.seen().len() == 2).await;
    depart(&world, &route);
    let answer = long.rest().await;
    assert_eq!(body(&answer), "begun");
    assert_eq!(world.recorder.edge_count(EdgeEvent::StreamCut), 1);
    // What was idle is no stream: its connection goes on, and blue has no target.
    assert_eq!(status(&short.get("/short", "").await), 503);
}

#[tokio::test]
async fn a_shutdown_says_1001_at_its_deadline_and_cuts_other_protocols() {
    let target = Target::new().await;
    let world = World::new(service(0, &[target.address], &[]));
    let (mut client, mut at_target, _) = target.upgraded(&world, ASKS, AGREES).await;
    let (mut other, _at_other, _) = target.upgraded(&world, OTHER_ASKS, OTHER_AGREES).await;
    at_target.send(b"\x81\x02hi").await;
    assert_eq!(client.take(4).await, b"\x81\x02hi");
    let recorder = Arc::clone(&world.recorder);
    let shutdown = tokio::spawn(world.proxy.shutdown(Duration::from_millis(50)));
    assert_eq!(client.take(4).await, GOING_AWAY);
    drop(client);
    assert_eq!(other.rest().await, b"");
    assert_eq!(shutdown.await.expect("no panic"), 2);
    assert_eq!(recorder.edge_count(EdgeEvent::StreamClosed), 1);
    assert_eq!(recorder.edge_count(EdgeEvent::StreamCut), 1);
}
