//! Second attempts over real sockets: who is asked again, who answers, and what it counts as.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testkit::{
    Act, Client, Origin, World, body, field, ok, service, status, until, with_green,
};
use crate::core::model::{
    RetryMethod, RetryPolicy, RetryStatus, Side, Span, TargetProtocol, Transport, Weight,
};
use crate::core::routing::{Link, LiveService, MeterId, ServiceRoute};
use crate::telemetry::MeterKey;

const UNAVAILABLE: &str = "HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy";

/// An origin that answers 503.
async fn unavailable() -> Origin {
    Origin::new(|_, _| vec![Act::Send(UNAVAILABLE.to_owned())]).await
}

/// An origin that never answers.
async fn silent() -> Origin {
    Origin::new(|_, _| vec![Act::Wait(Duration::from_secs(600))]).await
}

/// A service whose requests all go to green, which is counted apart from blue.
fn on_green(blue: &[&Origin], green: &[&Origin]) -> ServiceRoute {
    let addresses = |origins: &[&Origin]| origins.iter().map(|o| o.address).collect::<Vec<_>>();
    let mut route = service(10_000, &addresses(blue), &addresses(green));
    route.green.meter = MeterId(1);
    route
}

fn world(route: ServiceRoute) -> World {
    let world = World::new(route);
    for (side, group) in [(Side::Blue, "shop-a"), (Side::Green, "shop-b")] {
        world.recorder.register(&MeterKey {
            service: "shop".parse().expect("valid"),
            side,
            target_group: group.parse().expect("valid"),
        });
    }
    world
}

/// Second attempts after a first one on a side: retries, rescues, and those without a budget.
fn retries(world: &World, side: Side) -> [u64; 3] {
    let meter = match side {
        Side::Blue => MeterId(0),
        Side::Green => MeterId(1),
    };
    world.recorder.copies(meter).retries
}

/// Waits until green has so many requests, so many of them failed, so many of these rescued.
async fn green_counts(world: &World, requests: u64, failed: u64, rescued: u64) {
    until("green's requests are counted", || {
        let counts = world.recorder.snapshot(MeterId(1));
        (counts.requests(), counts.failed(), counts.rescued) == (requests, failed, rescued)
    })
    .await;
}

async fn send(client: &mut Client, method: &str, fields: &str, content: &str) -> String {
    let length = content.len();
    client
        .send(&format!(
            "{method} / HTTP/1.1\r\nhost: shop.test\r\n{fields}content-length: {length}\r\n\r\n\
             {content}"
        ))
        .await;
    client.answer().await
}

#[tokio::test]
async fn blue_answers_for_a_green_that_answers_5xx_and_green_is_to_blame() {
    let (blue, green) = (Origin::saying("blue").await, unavailable().await);
    let world = world(on_green(&[&blue], &[&green]));
    let mut client = world.client().await;
    for _ in 0..3 {
        let answer = client.get("/", "").await;
        assert_eq!((status(&answer), body(&answer)), (200, "blue"));
        assert_eq!(field(&answer, "x-tidegate-side"), Some("blue"));
    }
    assert_eq!((blue.seen().len(), green.seen().len()), (3, 3));
    assert_eq!(retries(&world, Side::Green), [0, 3, 0]);
    green_counts(&world, 3, 3, 3).await;
    let counts = world.recorder.snapshot(MeterId(1));
    assert_eq!(counts.by_class[4], 3, "as the status that green answered with");
    assert_eq!(world.recorder.snapshot(MeterId(0)).requests(), 0, "blue was assigned none");
}

#[tokio::test]
async fn a_small_put_is_rescued_with_its_body_where_the_service_says_so_and_a_post_never() {
    let (blue, green) = (Origin::saying("blue").await, unavailable().await);
    let mut route = on_green(&[&blue], &[&green]);
    route.retries.methods = vec![RetryMethod::Put];
    let world = world(route);
    let mut client = world.client().await;
    let answer = send(&mut client, "PUT", "", "small").await;
    assert_eq!(body(&answer), "blue");
    assert!(blue.seen()[0].ends_with("\r\n\r\nsmall"), "{:?}", blue.seen());
    let answer = send(&mut client, "POST", "", "small").await;
    assert_eq!((status(&answer), body(&answer)), (503, "busy"));
    let answer = send(&mut client, "DELETE", "", "").await;
    assert_eq!(status(&answer), 503);
    assert_eq!((blue.seen().len(), green.seen().len()), (1, 3));
    green_counts(&world, 3, 3, 1).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_to_keep_is_not_rescued() {
    let (blue, green) = (Origin::saying("blue").await, unavailable().await);
    let mut route = on_green(&[&blue], &[&green]);
    route.retries.methods = vec![RetryMethod::Put];
    let world = world(route);
    let answer = send(&mut world.client().await, "PUT", "", &"x".repeat(100_000)).await;
    assert_eq!((status(&answer), body(&answer)), (503, "busy"));
    assert!(blue.seen().is_empty());
}

#[tokio::test]
async fn streams_and_test_listeners_are_not_rescued_nor_is_anything_when_switched_off() {
    let (blue, green) = (Origin::saying("blue").await, unavailable().await);
    let mut route = on_green(&[&blue], &[&green]);
    route.exposure = with_green(10_000);
    route.exposure.green_exists = true;
    let on = world(route.clone());
    let grpc = on.get("content-type: application/grpc+proto\r\n").await;
    assert_eq!((status(&grpc), body(&grpc)), (503, "busy"));
    let tested = on.test_client().await.get("/", "").await;
    assert_eq!((status(&tested), body(&tested)), (503, "busy"));
    route.retries = RetryPolicy { rescue: false, ..RetryPolicy::default() };
    let off = world(route);
    assert_eq!(status(&off.get("").await), 503);
    assert!(blue.seen().is_empty());
    assert_eq!(retries(&off, Side::Green), [0, 0, 0]);
}

#[tokio::test]
async fn green_answers_itself_where_blue_has_no_target() {
    let green = unavailable().await;
    let world = world(on_green(&[], &[&green]));
    let answer = world.get("").await;
    assert_eq!((status(&answer), body(&answer)), (503, "busy"));
    green_counts(&world, 1, 1, 0).await;
}

#[tokio::test]
async fn what_blue_fails_after_a_rescue_was_seen_to_fail() {
    let (blue, green) = (unavailable().await, unavailable().await);
    let world = world(on_green(&[&blue], &[&green]));
    let answer = world.get("").await;
    assert_eq!(field(&answer, "x-tidegate-side"), Some("blue"));
    assert_eq!(status(&answer), 503);
    assert_eq!((blue.seen().len(), green.seen().len()), (1, 1));
    green_counts(&world, 1, 1, 0).await;
}

#[tokio::test]
async fn blue_answers_for_a_green_that_breaks_off_before_its_answer() {
    let blue = Origin::saying("blue").await;
    let green = Origin::new(|_, _| vec![Act::Close]).await;
    let world = world(on_green(&[&blue], &[&green]));
    assert_eq!(body(&world.get("").await), "blue");
    let answer = send(&mut world.client().await, "POST", "", "once").await;
    assert_eq!(field(&answer, "x-tidegate-error"), Some("target_broken"));
    assert_eq!((blue.seen().len(), green.seen().len()), (1, 2));
    green_counts(&world, 2, 2, 1).await;
}

#[tokio::test]
async fn without_a_budget_the_503_of_green_passes() {
    let (blue, green) = (Origin::saying("blue").await, unavailable().await);
    let mut route = on_green(&[&blue], &[&green]);
    route.retries.budget = Weight::from_bp(5_000).expect("in range");
    route.live = Arc::new(LiveService::new(0));
    let world = world(route);
    let mut client = world.client().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(status(&client.get("/", "").await));
    }
    assert_eq!(statuses, [503, 200, 503, 200], "half a second attempt comes with each request");
    assert_eq!(retries(&world, Side::Green), [0, 2, 2]);
    green_counts(&world, 4, 4, 2).await;
}

#[tokio::test]
async fn the_timeout_of_a_first_try_leads_to_the_second_target() {
    let (slow, quick) = (silent().await, Origin::saying("quick").await);
    let mut route = service(0, &[slow.address, quick.address], &[]);
    route.timeouts.per_try = Some(Span::from_ms(100));
    let world = world(route);
    let mut client = world.client().await;
    for _ in 0..4 {
        assert_eq!(body(&client.get("/", "").await), "quick");
    }
    assert!(!slow.seen().is_empty());
    let [retried, rescued, exhausted] = retries(&world, Side::Blue);
    assert_eq!((retried, rescued, exhausted), (slow.seen().len() as u64, 0, 0));
}

#[tokio::test]
async fn blue_answers_for_a_green_that_is_too_slow() {
    let (blue, green) = (Origin::saying("blue").await, silent().await);
    let mut route = on_green(&[&blue], &[&green]);
    route.timeouts.read = Span::from_ms(300);
    let world = world(route);
    assert_eq!(body(&world.get("").await), "blue");
    until("the timeout is counted", || {
        let counts = world.recorder.snapshot(MeterId(1));
        (counts.timeouts, counts.rescued) == (1, 1)
    })
    .await;
}

#[tokio::test]
async fn a_request_to_green_is_counted_when_it_begins_and_when_it_is_over() {
    let (blue, green) = (Origin::saying("blue").await, silent().await);
    let mut route = on_green(&[&blue], &[&green]);
    route.timeouts.read = Span::from_secs(2);
    let world = world(route);
    let counted = || {
        let counts = world.recorder.snapshot(MeterId(1));
        (counts.begun, counts.requests())
    };
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut client = world.client().await;
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
        until("it is in flight", || counted() == (number, 0)).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(body(&client.answer().await), "blue");
    }
    until("all are over", || counted() == (3, 3)).await;
    assert_eq!(world.recorder.snapshot(MeterId(0)).begun, 0, "blue has none of it");
}

#[tokio::test]
async fn another_target_of_blue_is_asked_only_after_the_statuses_that_are_listed() {
    let failing = unavailable().await;
    let sound = Origin::saying("sound").await;
    let mut route = service(0, &[failing.address, sound.address], &[]);
    let plain = world(route.clone());
    let mut client = plain.client().await;
    let mut statuses = [status(&client.get("/", "").await), status(&client.get("/", "").await)];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503], "one after the other");
    route.retries.on_status = vec![RetryStatus::ServiceUnavailable];
    let listed = world(route);
    let mut client = listed.client().await;
    for _ in 0..4 {
        assert_eq!(body(&client.get("/", "").await), "sound");
    }
    assert!(retries(&listed, Side::Blue)[0] > 0);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_rescued() {
    let blue = Origin::saying("blue").await;
    let green = Origin::new(|_, _| {
        let begun = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nAAAA";
        vec![Act::Send(begun.to_owned()), Act::Wait(Duration::from_millis(200)), Act::Close]
    })
    .await;
    let world = world(on_green(&[&blue], &[&green]));
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    let answer = client.rest().await;
    assert_eq!(body(&answer), "AAAA");
    assert!(blue.seen().is_empty());
    green_counts(&world, 1, 1, 0).await;
}

#[tokio::test]
async fn a_connection_is_kept_over_a_rescue() {
    let blue = Origin::saying("blue").await;
    let green = Origin::new(|_, n| match n {
        0 => vec![Act::Send(UNAVAILABLE.to_owned())],
        _ => ok("green"),
    })
    .await;
    let world = world(on_green(&[&blue], &[&green]));
    let mut client = world.client().await;
    assert_eq!(body(&client.get("/", "").await), "blue");
    assert_eq!(body(&client.get("/", "").await), "green");
}

/// A service whose green speaks HTTP/2, and is there alone.
fn on_green_of_http_2(blue: &Origin, green: SocketAddr) -> ServiceRoute {
    let mut route = service(10_000, &[blue.address], &[green]);
    route.green.meter = MeterId(1);
    let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    route.green.link = Arc::new(Link::new(1, transport));
    route
}

/// A target of HTTP/2 that refuses every stream.
async fn refusing() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(Reason::REFUSED_STREAM);
                }
            });
        }
    });
    address
}

/// A target of HTTP/2 that takes nothing on its first connection, and answers on the others.
async fn leaving() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let (first, _) = socket.accept().await.expect("accepted");
        tokio::spawn(say_goodbye(first));
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = Response::builder().header("content-length", 5).body(());
                    let head = head.expect("valid");
                    let mut body = respond.send_response(head, false).expect("sent");
                    body.send_data(Bytes::from_static(b"green"), true).expect("sent");
                }
            });
        }
    });
    address
}

/// Waits for a request, and ends the connection without having taken it.
async fn say_goodbye(mut stream: TcpStream) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    stream.read_exact(&mut [0; 24]).await.expect("a preface");
    stream.write_all(&SETTINGS).await.expect("sent");
    let mut head = [0; 9];
    while head[3] != HEADERS {
        stream.read_exact(&mut head).await.expect("a frame");
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        stream.read_exact(&mut vec![0; length]).await.expect("its payload");
    }
    stream.write_all(&GOAWAY).await.expect("sent");
    // Until the proxy is done with it.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn blue_answers_for_a_green_that_refuses_streams_and_green_has_failed() {
    let blue = Origin::saying("blue").await;
    let world = world(on_green_of_http_2(&blue, refusing().await));
    assert_eq!(body(&world.get("").await), "blue");
    green_counts(&world, 1, 1, 1).await;
}

#[tokio::test]
async fn green_answers_itself_over_another_connection_when_one_ends_in_good_order() {
    let blue = Origin::saying("blue").await;
    let world = world(on_green_of_http_2(&blue, leaving().await));
    assert_eq!(body(&world.get("").await), "green");
    assert!(blue.seen().is_empty());
    green_counts(&world, 1, 0, 0).await;
}
