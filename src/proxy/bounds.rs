//! The bounds on clients over real sockets: how many they are, and how much they send how fast.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use super::testkit::{Client, Origin, PATIENCE, World, body, field, service, status, table};
use crate::core::model::{ClientLimits, Span, WhenIdle};
use crate::telemetry::EdgeEvent;

fn world(origin: &Origin, limits: ClientLimits) -> World {
    World::with(table(service(0, &[origin.address], &[]), WhenIdle::Refuse), limits)
}

/// What a client gets on a connection of its own; empty if it is closed at once.
async fn asked(mut client: Client) -> String {
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await;
    client.rest().await
}

/// Waits until a new client is served again.
async fn room_again(world: &World) {
    let room = async {
        while asked(world.client().await).await.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, room).await.is_ok(), "a place is free again");
}

#[tokio::test]
async fn a_listener_has_so_many_connections_and_no_more() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, ClientLimits { connections: 2, ..ClientLimits::default() });
    let mut open = vec![world.client().await, world.client().await];
    for client in &mut open {
        assert_eq!(body(&client.get("/", "").await), "fine");
    }
    assert_eq!(asked(world.client().await).await, "");
    assert_eq!(world.recorder.edge_count(EdgeEvent::ListenerFull), 1);
    assert_eq!(world.recorder.edge_count(EdgeEvent::Accepted), 2);
    for client in &mut open {
        assert_eq!(body(&client.get("/", "").await), "fine");
    }
    open.pop();
    room_again(&world).await;
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_others_have_theirs() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { connections_per_client: 1, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut open = world.client().await;
    assert_eq!(body(&open.get("/", "").await), "fine");
    assert_eq!(asked(world.client().await).await, "");
    assert_eq!(world.recorder.edge_count(EdgeEvent::ClientFull), 1);
    let other = TcpSocket::new_v4().expect("a socket");
    other.bind(SocketAddr::from(([127, 0, 0, 2], 0))).expect("bound");
    let other = Client::over(other.connect(world.address()).await.expect("connected"));
    assert_eq!(body(&asked(other).await), "fine");
    drop(open);
    room_again(&world).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read_where_its_length_says_so() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { body_bytes: 1_000, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut announced = world.client().await;
    announced.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1001\r\n\r\n").await;
    let refused = announced.answer().await;
    assert_eq!(
        (status(&refused), field(&refused, "x-tidegate-error")),
        (413, Some("body_too_large"))
    );
    assert!(origin.seen().is_empty());
    let most = "x".repeat(1_000);
    let mut allowed = world.client().await;
    allowed
        .send(&format!("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1000\r\n\r\n{most}"))
        .await;
    assert_eq!(body(&allowed.answer().await), "fine");
}

#[tokio::test]
async fn a_chunked_body_is_refused_once_it_is_too_large() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { body_bytes: 1_000, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let chunk = format!("258\r\n{}\r\n", "x".repeat(0x258));
    let head = "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut allowed = world.client().await;
    allowed.send(&format!("{head}{chunk}0\r\n\r\n")).await;
    assert_eq!(body(&allowed.answer().await), "fine");
    let mut refused = world.client().await;
    refused.send(&format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    let answer = refused.rest().await;
    assert_eq!(
        (status(&answer), field(&answer, "x-tidegate-error")),
        (413, Some("body_too_large"))
    );
    assert_eq!(origin.seen().len(), 1, "the target did not get it as a whole");
}

#[tokio::test]
async fn a_client_that_pauses_inside_of_its_body_is_told_so() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { body_read: Span::from_ms(200), ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 10\r\n\r\nhello").await;
    let answer = client.rest().await;
    assert_eq!(
        (status(&answer), field(&answer, "x-tidegate-error")),
        (408, Some("client_timeout"))
    );
}

#[tokio::test]
async fn a_header_may_be_as_large_as_the_listener_says() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { header_bytes: 2_048, header_count: 5, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let large = world.get(&format!("x-large: {}\r\n", "x".repeat(2_048))).await;
    assert_eq!(
        (status(&large), field(&large, "x-tidegate-error")),
        (431, Some("header_too_large"))
    );
    assert_eq!(status(&world.get(&"x: 1\r\n".repeat(5)).await), 431);
    assert_eq!(body(&world.get(&"x: 1\r\n".repeat(4)).await), "fine");
}
