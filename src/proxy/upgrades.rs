//! Upgrades over real sockets, byte by byte: what passes, what survives, and how tunnels end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::course::Stay;
use super::testkit::{
    Act, Origin, PATIENCE, World, body, field, ok, service, status, table, until, with_green,
};
use crate::core::model::{MemoryLimit, Side, Span, TargetProtocol, Transport, WhenIdle};
use crate::core::routing::{Link, MeterId, ServiceRoute};
use crate::telemetry::{EdgeEvent, MeterKey};

const ASKS: &str = "GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    sec-websocket-version: 13\r\n\r\n";
const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OTHER_ASKS: &str =
    "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\n";
const OTHER_AGREES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\n";
/// A close frame that says 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// How many requests are in flight at most without one being refused for want of memory.
const ALWAYS_LET_IN: u64 = 64;

/// One end of a connection.
struct End {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl End {
    fn of(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.expect("connected"))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("something comes in time").is_ok_and(|bytes| bytes > 0)
    }

    /// A header, up to its empty line.
    async fn head(&mut self) -> String {
        loop {
            let end = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).expect("text");
            }
            assert!(self.more().await, "ended inside of a header");
        }
    }

    /// The next bytes.
    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await, "ended after {:?}", self.buffer);
        }
        self.buffer.drain(..count).collect()
    }

    /// Everything up to the end.
    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }
}

/// A target that the test plays itself.
struct Target {
    socket: TcpListener,
    address: SocketAddr,
}

impl Target {
    async fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        Self { socket, address }
    }

    async fn accept(&self) -> End {
        let accepted = timeout(PATIENCE, self.socket.accept()).await;
        End::of(accepted.expect("a connection in time").expect("a connection").0)
    }

    /// Asks for an upgrade through the proxy and agrees to it; both ends and what the target read.
    async fn upgraded(&self, world: &World, asks: &str, agrees: &str) -> (End, End, String) {
        let mut client = End::to(world.address()).await;
        client.send(asks.as_bytes()).await;
        let mut target = self.accept().await;
        let asked = target.head().await;
        target.send(agrees.as_bytes()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        (client, target, asked)
    }

    /// Agrees to every upgrade and sends everything back, from now on.
    fn echo(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.socket.accept().await {
                tokio::spawn(async move {
                    let mut end = End::of(stream);
                    end.head().await;
                    end.send(AGREES.as_bytes()).await;
                    let early = std::mem::take(&mut end.buffer);
                    end.send(&early).await;
                    let (mut from, mut to) = end.stream.split();
                    // However the tunnel ends.
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        })
    }
}

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
