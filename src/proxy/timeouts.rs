//! The bounds on time in every phase of a request, over real sockets: who was slow is told, and
//! nobody else is blamed. The header's deadline is tested with `deadline`, an answer that does not
//! come with `phases`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::testkit::{Act, Client, Origin, World, field, service, status, table, until};
use crate::core::model::{ClientLimits, Span, WhenIdle};
use crate::core::routing::{LiveTarget, ServiceRoute};

const SHORT: Span = Span::from_ms(100);

/// More than the buffers of all sockets on a way take.
const MUCH: usize = 32 << 20;

/// A port where connections are waited for in vain: its queue is full, and nobody takes them out.
struct Full {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Full {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("bound");
        let mut queue = Vec::new();
        while let Ok(stream) = timeout(SHORT.into(), TcpStream::connect(address)).await {
            queue.push(stream.expect("connected"));
            assert!(queue.len() < 64, "the queue is never full");
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

fn only_target(route: &ServiceRoute) -> Arc<LiveTarget> {
    Arc::clone(&route.blue.targets[0])
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {length}\r\n\r\n")
}

async fn is_closed(client: &mut Client) {
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_pauses_inside_its_body_is_told_so_and_no_target_is_blamed() {
    let origin = Origin::saying("whole").await;
    let route = service(0, &[origin.address], &[]);
    let target = only_target(&route);
    let limits = ClientLimits { body_read: SHORT, body_drain: SHORT, ..ClientLimits::default() };
    let world = World::with(table(route, WhenIdle::Refuse), limits);
    let mut client = world.client().await;
    client.send(&post(10)).await;
    client.send("half").await;
    let answer = client.answer().await;
    assert_eq!(
        (status(&answer), field(&answer, "x-tidegate-error")),
        (408, Some("client_timeout"))
    );
    is_closed(&mut client).await;
    until("the request is over", || target.in_flight() == 0).await;
    assert_eq!(target.failures(), 0);
    assert!(origin.seen().is_empty(), "it never had the whole request");
}

#[tokio::test]
async fn a_target_that_takes_no_connection_in_time_is_a_504() {
    let full = Full::new().await;
    let mut route = service(0, &[full.address], &[]);
    route.timeouts.connect = SHORT;
    let target = only_target(&route);
    let world = World::new(route);
    let answer = world.get("").await;
    assert_eq!(
        (status(&answer), field(&answer, "x-tidegate-error")),
        (504, Some("connect_timeout"))
    );
    until("the target is told", || target.failures() == 1).await;
}

#[tokio::test]
async fn a_target_that_takes_no_body_in_time_is_a_504_and_not_the_clients_fault() {
    // The system takes the connection, and what its buffers hold, for a target that reads nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut route = service(0, &[deaf.local_addr().expect("bound")], &[]);
    route.timeouts.write = SHORT;
    route.timeouts.read = Span::from_ms(500);
    let target = only_target(&route);
    let world = World::new(route);
    let mut client = world.client().await;
    client.send(&post(MUCH)).await;
    client.send(&"x".repeat(MUCH)).await;
    let answer = client.answer().await;
    assert_eq!(
        (status(&answer), field(&answer, "x-tidegate-error")),
        (504, Some("target_timeout"))
    );
    is_closed(&mut client).await;
    until("the target is told", || target.failures() == 1).await;
}

#[tokio::test]
async fn a_client_that_takes_no_answer_in_time_is_cut_off_and_no_target_is_blamed() {
    let origin = Origin::new(|_, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n");
        vec![Act::Send(head), Act::Send("x".repeat(MUCH)), Act::Wait(Duration::from_secs(600))]
    })
    .await;
    let route = service(0, &[origin.address], &[]);
    let target = only_target(&route);
    let limits = ClientLimits { response_write: SHORT, ..ClientLimits::default() };
    let world = World::with(table(route, WhenIdle::Refuse), limits);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    until("the target answers", || origin.seen().len() == 1).await;
    until("the request is over", || target.in_flight() == 0).await;
    let rest = client.rest().await;
    assert!(rest.starts_with("HTTP/1.1 200 "), "{}", &rest[..rest.len().min(80)]);
    assert!(rest.len() < MUCH, "it had all of it");
    assert_eq!(target.failures(), 0);
}
