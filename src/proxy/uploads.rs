//! Uploads over real sockets: whom a body on its way waits for, who is told, and who is blamed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::testkit::{
    Act, Origin, PATIENCE, World, body, field, ok, service, status, table, until,
};
use super::wirekit::{H2Client, H2Origin, Says, h2c_listener, post};
use super::word::SILENCE;
use crate::core::model::{
    ClientLimits, ListenerSpec, RetryMethod, Side, Span, TargetProtocol, TargetTls, Transport,
    Verify, WhenIdle,
};
use crate::core::routing::{Link, LiveTarget, MeterId, ServiceRoute};
use crate::telemetry::MeterKey;

const SHORT: Span = Span::from_ms(200);
const LONG: Span = Span::from_secs(60);
/// More than the window that a connection of HTTP/2 begins with.
const MUCH: usize = 1 << 20;

/// What a target of HTTP/2 that never answers takes of a body.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// What it must: its window stays closed.
    Nothing,
    All,
}

/// A target of HTTP/2 that never answers.
struct Hung {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Hung {
    async fn new(takes: Takes) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(hang(stream, takes, Arc::clone(&count)));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn hang(stream: TcpStream, takes: Takes, asked: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut held = Vec::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        asked.fetch_add(1, Ordering::SeqCst);
        held.push(respond);
        let mut content = request.into_body();
        tokio::spawn(async move {
            match takes {
                Takes::Nothing => std::future::pending().await,
                Takes::All => {
                    while let Some(Ok(part)) = content.data().await {
                        let _ = content.flow_control().release_capacity(part.len());
                    }
                }
            }
        });
    }
}

fn h2c(number: u64) -> Arc<Link> {
    Arc::new(Link::new(number, Transport { protocol: TargetProtocol::H2c, ..Transport::default() }))
}

fn over_http2(address: SocketAddr) -> ServiceRoute {
    let mut route = service(0, &[address], &[]);
    route.blue.link = h2c(1);
    route
}

fn only_target(route: &ServiceRoute) -> Arc<LiveTarget> {
    Arc::clone(&route.blue.targets[0])
}

/// A world with a listener of HTTP/1.1, and whose requests are counted.
fn counted(route: ServiceRoute, limits: ClientLimits) -> World {
    let world = World::with(table(route, WhenIdle::Refuse), limits);
    for (side, group) in [(Side::Blue, "shop-a"), (Side::Green, "shop-b")] {
        world.recorder.register(&MeterKey {
            service: "shop".parse().expect("valid"),
            side,
            target_group: group.parse().expect("valid"),
        });
    }
    world
}

fn words(answer: &str) -> (u16, Option<&str>) {
    (status(answer), field(answer, "x-tidegate-error"))
}

fn request(method: &str, fields: &str, length: usize) -> String {
    format!("{method} / HTTP/1.1\r\nhost: shop.test\r\n{fields}content-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_target_of_http_2_that_takes_no_more_of_a_body_is_a_504_and_is_blamed() {
    let hung = Hung::new(Takes::Nothing).await;
    let mut route = over_http2(hung.address);
    (route.timeouts.write, route.timeouts.read) = (SHORT, LONG);
    let target = only_target(&route);
    let world = counted(route, ClientLimits { body_drain: SHORT, ..ClientLimits::default() });
    let mut client = world.client().await;
    client.send(&request("POST", "", MUCH)).await;
    client.send(&"x".repeat(MUCH)).await;
    assert_eq!(words(&client.answer().await), (504, Some("target_timeout")));
    until("the target is told", || target.failures() == 1).await;
    until("it is counted", || world.recorder.snapshot(MeterId(0)).timeouts == 1).await;
    assert_eq!(hung.asked(), 1);
}

#[tokio::test]
async fn a_target_of_http_2_that_never_answers_a_body_is_a_504_for_clients_of_both_protocols() {
    let hung = Hung::new(Takes::All).await;
    let mut route = over_http2(hung.address);
    route.timeouts.read = SHORT;
    let target = only_target(&route);
    let world = counted(route.clone(), ClientLimits::default());
    let mut client = world.client().await;
    client.send(&request("POST", "", 4)).await;
    client.send("body").await;
    assert_eq!(words(&client.answer().await), (504, Some("target_timeout")));
    until("it is counted", || world.recorder.snapshot(MeterId(0)).timeouts == 1).await;
    let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
    let client = H2Client::of(&world).await;
    let answer = client.send(post("/", &[]), &["bo", "dy"]).await.expect("an answer");
    assert_eq!((answer.status, answer.field("x-tidegate-error")), (504, Some("target_timeout")));
    until("the target is told", || target.failures() == 2).await;
    assert_eq!(hung.asked(), 2, "a POST is not repeated");
}

#[tokio::test]
async fn blue_answers_an_upload_that_may_be_repeated_and_that_green_never_answers() {
    let (blue, hung) = (Origin::saying("blue").await, Hung::new(Takes::All).await);
    let mut route = service(10_000, &[blue.address], &[hung.address]);
    route.green.link = h2c(1);
    route.green.meter = MeterId(1);
    route.timeouts.read = SHORT;
    route.retries.methods = vec![RetryMethod::Put];
    let world = counted(route, ClientLimits::default());
    let mut client = world.client().await;
    client.send(&request("PUT", "", 5)).await;
    client.send("small").await;
    assert_eq!(body(&client.answer().await), "blue");
    assert!(blue.seen()[0].ends_with("\r\n\r\nsmall"), "{:?}", blue.seen());
    until("it is counted", || {
        let green = world.recorder.snapshot(MeterId(1));
        (green.timeouts, green.rescued) == (1, 1)
    })
    .await;
}

#[tokio::test]
async fn blue_answers_an_upload_whose_client_was_told_to_go_on() {
    let (blue, hung) = (Origin::saying("blue").await, Hung::new(Takes::All).await);
    let mut route = service(10_000, &[blue.address], &[hung.address]);
    route.green.link = h2c(1);
    route.timeouts.read = SHORT;
    route.retries.methods = vec![RetryMethod::Put];
    let world = counted(route, ClientLimits::default());
    let mut client = world.client().await;
    client.send(&request("PUT", "expect: 100-continue\r\n", 5)).await;
    assert_eq!(status(&client.answer().await), 100);
    client.send("small").await;
    assert_eq!(body(&client.answer().await), "blue");
    assert!(blue.seen()[0].ends_with("\r\n\r\nsmall"), "{:?}", blue.seen());
}

#[tokio::test]
async fn the_time_of_a_first_try_holds_for_an_upload_to_a_target_of_http_2() {
    let (blue, hung) = (Origin::saying("blue").await, Hung::new(Takes::All).await);
    let mut route = service(10_000, &[blue.address], &[hung.address]);
    route.green.link = h2c(1);
    (route.timeouts.read, route.timeouts.per_try) = (LONG, Some(SHORT));
    route.retries.methods = vec![RetryMethod::Put];
    let world = counted(route, ClientLimits::default());
    let mut client = world.client().await;
    client.send(&request("PUT", "", 5)).await;
    client.send("small").await;
    assert_eq!(body(&client.answer().await), "blue");
}

#[tokio::test]
async fn a_second_target_has_all_the_time_that_connecting_may_take() {
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let hung = Hung::new(Takes::All).await;
    let mut route = service(10_000, &[mute.local_addr().expect("bound")], &[hung.address]);
    route.green.link = h2c(1);
    // It shakes hands with nobody.
    let tls =
        TargetTls { server_name: None, verify: Verify::Nothing, authorities: None, identity: None };
    let transport =
        Transport { protocol: TargetProtocol::H2, tls: Some(tls), ..Transport::default() };
    route.blue.link = Arc::new(Link::new(2, transport));
    (route.timeouts.read, route.timeouts.connect) = (SHORT, Span::from_ms(2_500));
    route.retries.methods = vec![RetryMethod::Put];
    let target = only_target(&route);
    let world = counted(route, ClientLimits::default());
    let mut client = world.client().await;
    client.send(&request("PUT", "", 5)).await;
    client.send("small").await;
    assert_eq!(words(&client.answer().await), (504, Some("connect_timeout")));
    until("the target is told", || target.failures() == 1).await;
    assert_eq!(hung.asked(), 1);
}

#[tokio::test]
async fn a_client_of_http_2_that_stops_inside_its_body_is_told_so_and_no_target_is_blamed() {
    let hung = Hung::new(Takes::All).await;
    let route = over_http2(hung.address);
    let target = only_target(&route);
    let limits = ClientLimits { body_read: SHORT, body_drain: SHORT, ..ClientLimits::default() };
    let listener = ListenerSpec { limits, ..h2c_listener() };
    let world = World::listening(table(route, WhenIdle::Refuse), &[listener]);
    let stream = TcpStream::connect(world.address()).await.expect("connected");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut sender = sender.ready().await.expect("ready");
    let (answer, mut sending) = sender.send_request(post("/", &[]), false).expect("sent");
    sending.send_data(Bytes::from_static(b"half"), false).expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
    assert_eq!(answer.status(), 408);
    until("the request is over", || target.in_flight() == 0).await;
    assert_eq!(target.failures(), 0);
}

/// A target that takes a whole request before it says anything.
async fn ignoring() -> (Origin, ServiceRoute) {
    let origin = Origin::new(|_, _| {
        let mut acts = vec![Act::Send("HTTP/1.1 100 Continue\r\n\r\n".to_owned())];
        acts.extend(ok("whole"));
        acts
    })
    .await;
    let route = service(0, &[origin.address], &[]);
    (origin, route)
}

#[tokio::test]
async fn a_client_hears_once_to_go_on_although_its_target_says_so_too_late() {
    let (origin, mut route) = ignoring().await;
    // Less than the client waits.
    route.timeouts.read = Span::from_ms(800);
    let target = only_target(&route);
    let world = counted(route, ClientLimits::default());
    let mut client = world.client().await;
    // The second one shows that nothing of the first was left over.
    for _ in 0..2 {
        client.send(&request("POST", "expect: 100-Continue\r\n", 4)).await;
        assert_eq!(status(&client.answer().await), 100);
        client.send("body").await;
        let answer = client.answer().await;
        assert_eq!((status(&answer), body(&answer)), (200, "whole"));
    }
    assert!(origin.seen().iter().all(|request| request.ends_with("\r\n\r\nbody")));
    assert_eq!(field(&origin.seen()[0], "expect"), Some("100-Continue"));
    assert_eq!(target.failures(), 0);
}

#[tokio::test]
async fn a_client_that_heard_from_the_proxy_to_go_on_and_does_not_is_the_one_to_blame() {
    for (body_read, read) in [(SHORT, LONG), (LONG, SHORT)] {
        let (_origin, mut route) = ignoring().await;
        route.timeouts.read = read;
        let target = only_target(&route);
        let limits = ClientLimits { body_read, body_drain: SHORT, ..ClientLimits::default() };
        let world = counted(route, limits);
        let mut client = world.client().await;
        client.send(&request("POST", "expect: 100-continue\r\n", 4)).await;
        assert_eq!(status(&client.answer().await), 100);
        assert_eq!(words(&client.answer().await), (408, Some("client_timeout")), "{read}");
        until("the request is over", || target.in_flight() == 0).await;
        assert_eq!(target.failures(), 0);
    }
}

#[tokio::test]
async fn nobody_is_told_to_go_on_after_the_proxys_own_answer_or_without_having_asked() {
    let (origin, route) = ignoring().await;
    let limits = ClientLimits {
        body_read: Span::from_ms(1_500),
        body_drain: Span::from_ms(1_500),
        ..ClientLimits::default()
    };
    let world = counted(route, limits);
    let mut client = world.client().await;
    let asks = request("POST", "expect: 100-continue\r\n", 4);
    client.send(&asks.replace("shop.test", "other.test")).await;
    let heard = client.rest().await;
    assert_eq!((status(&heard), heard.matches("HTTP/1.1 ").count()), (404, 1), "{heard}");
    let mut client = world.client().await;
    client.send(&request("POST", "expect: something, 100-continue\r\n", 4)).await;
    assert_eq!(words(&client.answer().await), (408, Some("client_timeout")));
    let mut client = world.client().await;
    client.send(&asks.replace("HTTP/1.1", "HTTP/1.0")).await;
    client.send("body").await;
    assert_eq!(status(&client.rest().await), 200);
    let seen = origin.seen();
    assert_eq!(field(seen.last().expect("a request"), "expect"), None);
}

#[tokio::test]
async fn a_client_that_was_told_to_go_on_and_does_not_is_the_one_to_blame() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let route = service(0, &[socket.local_addr().expect("bound")], &[]);
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.expect("accepted");
        stream.read_u8().await.expect("a request");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.expect("sent");
        // Until the proxy is done with it.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let target = only_target(&route);
    let limits = ClientLimits { body_read: SHORT, body_drain: SHORT, ..ClientLimits::default() };
    let world = counted(route, limits);
    let mut client = world.client().await;
    client.send(&request("POST", "expect: 100-continue\r\n", 4)).await;
    assert_eq!(status(&client.answer().await), 100);
    assert_eq!(words(&client.answer().await), (408, Some("client_timeout")));
    until("the request is over", || target.in_flight() == 0).await;
    assert_eq!(target.failures(), 0);
}

#[tokio::test]
async fn a_client_hears_from_the_proxy_to_go_on_to_a_target_of_http_2_that_says_nothing() {
    const FINE: Says = Says { headers: &[("content-length", "4")], body: "fine", trailers: &[] };
    let origin = H2Origin::new(FINE, None).await;
    let world = counted(over_http2(origin.address), ClientLimits::default());
    let mut client = world.client().await;
    let began = Instant::now();
    client.send(&request("POST", "expect: 100-continue\r\n", 4)).await;
    assert_eq!(status(&client.answer().await), 100);
    assert!(began.elapsed() >= SILENCE, "the target has its time to say so");
    client.send("body").await;
    assert_eq!(body(&client.answer().await), "fine");
    let asked = origin.seen().remove(0);
    assert_eq!((asked.body.as_str(), asked.field("expect")), ("body", Some("100-continue")));
}
