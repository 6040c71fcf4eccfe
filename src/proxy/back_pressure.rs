//! Back-pressure over real sockets: whoever sends faster than the other side reads is slowed down
//! to its speed, and what lies between them is bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::header::TE;
use http::{HeaderValue, Response};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::testkit::{PATIENCE, World, public, service, table};
use super::wirekit::{get, h2c_listener, listener, post};
use crate::core::model::{ListenerSpec, TargetProtocol, TrailerPolicy, Transport, WhenIdle};
use crate::core::routing::Link;

/// What is sent in all, far more than may lie between the two sides.
const ALL: usize = 64 << 20;
/// What may: the buffers of four sockets, which the system lets grow to 4 and 6 MiB, the windows of
/// HTTP/2, and little of the proxy's own.
const BETWEEN: usize = 32 << 20;
const PART: usize = 64 << 10;
/// What a client says that takes trailers.
const TAKES: &str = "connection: te\r\nte: trailers\r\n";
/// Who sends nothing for so long is held up.
const HELD_UP: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

/// Who speaks what, and whether trailers pass.
const PAIRS: [(Speaks, Speaks, TrailerPolicy); 6] = [
    (Speaks::Http1, Speaks::Http1, TrailerPolicy::Drop),
    (Speaks::Http1, Speaks::Http1, TrailerPolicy::Pass),
    (Speaks::Http1, Speaks::Http2, TrailerPolicy::Drop),
    (Speaks::Http2, Speaks::Http1, TrailerPolicy::Drop),
    (Speaks::Http2, Speaks::Http1, TrailerPolicy::Pass),
    (Speaks::Http2, Speaks::Http2, TrailerPolicy::Drop),
];

/// A listener and a service that speak so, to this target.
fn world(client: Speaks, target: Speaks, trailers: TrailerPolicy, address: SocketAddr) -> World {
    let mut route = service(0, &[address], &[]);
    let protocol = match target {
        Speaks::Http1 => TargetProtocol::Http1,
        Speaks::Http2 => TargetProtocol::H2c,
    };
    let transport = Transport { protocol, trailers, ..Transport::default() };
    route.blue.link = Arc::new(Link::new(1, transport));
    let spec: ListenerSpec = match client {
        Speaks::Http1 => listener(public()),
        Speaks::Http2 => h2c_listener(),
    };
    World::listening(table(route, WhenIdle::Refuse), &[spec])
}

/// Counts what went into a connection until nothing more does.
async fn is_held_up(who: &str, sent: &AtomicUsize) -> usize {
    let steady = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(HELD_UP).await;
            let now = sent.load(Ordering::SeqCst);
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    let held_up = timeout(PATIENCE, steady).await.expect("it is held up, or all is sent");
    assert!(held_up < BETWEEN, "{who}: {held_up} bytes were taken for one who reads nothing");
    held_up
}

/// Sends everything over HTTP/1.1, as fast as it can.
async fn pour(stream: &mut (impl AsyncWrite + Unpin), sent: &AtomicUsize) {
    let part = vec![b'x'; PART];
    let mut left = ALL;
    while left > 0 {
        match stream.write(&part[..left.min(PART)]).await {
            Ok(now) if now > 0 => {
                left -= now;
                sent.fetch_add(now, Ordering::SeqCst);
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// Sends everything over HTTP/2, as fast as it can.
async fn pour_into(mut stream: SendStream<Bytes>, sent: &AtomicUsize) {
    let mut left = ALL;
    while left > 0 {
        stream.reserve_capacity(left.min(PART));
        let granted = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(granted)) = granted else { return };
        let now = granted.min(left);
        left -= now;
        if stream.send_data(Bytes::from(vec![b'x'; now]), left == 0).is_err() {
            return;
        }
        sent.fetch_add(now, Ordering::SeqCst);
    }
}

/// Reads a stream to its end; gives how much it was.
async fn drink(stream: &mut RecvStream) -> usize {
    let mut taken = 0;
    while let Some(Ok(part)) = stream.data().await {
        taken += part.len();
        let _ = stream.flow_control().release_capacity(part.len());
    }
    taken
}

/// A target that reads no body until it is told to; gives how much it has read, at the end.
async fn late_reader(
    speaks: Speaks,
    mut reads: watch::Receiver<bool>,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    let taken = Arc::new(AtomicUsize::new(0));
    let total = Arc::clone(&taken);
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.expect("accepted");
        match speaks {
            Speaks::Http1 => {
                let _ = reads.wait_for(|read| *read).await;
                let mut part = vec![0; PART];
                let mut content = 0;
                let mut head = Vec::new();
                // The header ends once; everything behind it is body.
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a header"));
                }
                while content < ALL {
                    let now = stream.read(&mut part).await.expect("read");
                    assert!(now > 0, "the body ends after {content} bytes");
                    content += now;
                }
                total.store(content, Ordering::SeqCst);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.expect("answered");
                let _ = stream.read(&mut part).await;
            }
            Speaks::Http2 => {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let (mut reads, total) = (reads.clone(), Arc::clone(&total));
                    tokio::spawn(async move {
                        let _ = reads.wait_for(|read| *read).await;
                        total.store(drink(&mut request.into_body()).await, Ordering::SeqCst);
                        let _ = respond.send_response(Response::new(()), true);
                    });
                }
            }
        }
    });
    (address, taken)
}

/// A client that uploads everything; the receiver tells the status of its answer.
async fn uploader(speaks: Speaks, world: &World, sent: &Arc<AtomicUsize>) -> watch::Receiver<u16> {
    let (answered, status) = watch::channel(0);
    let sent = Arc::clone(sent);
    let mut stream = TcpStream::connect(world.address()).await.expect("connected");
    match speaks {
        Speaks::Http1 => {
            let head = format!(
                "POST / HTTP/1.1\r\nhost: shop.test\r\n{TAKES}content-length: {ALL}\r\n\r\n"
            );
            tokio::spawn(async move {
                stream.write_all(head.as_bytes()).await.expect("sent");
                pour(&mut stream, &sent).await;
                let mut line = [0; 12];
                stream.read_exact(&mut line).await.expect("an answer");
                let code = String::from_utf8_lossy(&line[9..]).parse().unwrap_or(1);
                answered.send_replace(code);
            });
        }
        Speaks::Http2 => {
            let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            let mut sender = sender.ready().await.expect("ready");
            tokio::spawn(async move {
                // Without its length an HTTP/1.1 target would be given, and count, chunks.
                let length = ALL.to_string();
                let request = post("/", &[("content-length", &length), ("te", "trailers")]);
                let (answer, body) = sender.send_request(request, false).expect("sent");
                pour_into(body, &sent).await;
                let code = answer.await.map_or(1, |answer| answer.status().as_u16());
                answered.send_replace(code);
            });
        }
    }
    status
}

#[tokio::test]
async fn a_client_that_uploads_faster_than_its_target_reads_is_slowed_down_and_loses_nothing() {
    for (client, target, trailers) in PAIRS {
        let (read, reads) = watch::channel(false);
        let (address, taken) = late_reader(target, reads).await;
        let world = world(client, target, trailers, address);
        let sent = Arc::new(AtomicUsize::new(0));
        let mut status = uploader(client, &world, &sent).await;
        is_held_up(&format!("an upload, {client:?} to {target:?}"), &sent).await;
        read.send_replace(true);
        let answered = timeout(PATIENCE * 3, status.wait_for(|status| *status > 0)).await;
        let answered = *answered.expect("answered in time").expect("the client is there");
        assert_eq!(answered, 200, "{client:?} to {target:?}");
        assert_eq!(taken.load(Ordering::SeqCst), ALL, "{client:?} to {target:?}");
    }
}

/// A target that answers with everything at once.
async fn eager(speaks: Speaks, sent: &Arc<AtomicUsize>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    let sent = Arc::clone(sent);
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.expect("accepted");
        match speaks {
            Speaks::Http1 => {
                stream.read_u8().await.expect("a request");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.expect("sent");
                pour(&mut stream, &sent).await;
            }
            Speaks::Http2 => {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let sent = Arc::clone(&sent);
                    tokio::spawn(async move {
                        let body = respond.send_response(Response::new(()), false);
                        pour_into(body.expect("a stream"), &sent).await;
                    });
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_target_that_answers_faster_than_its_client_reads_is_slowed_down() {
    for (client, target, trailers) in PAIRS {
        let sent = Arc::new(AtomicUsize::new(0));
        let world = world(client, target, trailers, eager(target, &sent).await);
        let mut stream = TcpStream::connect(world.address()).await.expect("connected");
        let what = format!("a download, {target:?} to {client:?}, {trailers:?}");
        match client {
            Speaks::Http1 => {
                let asks = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{TAKES}\r\n");
                stream.write_all(asks.as_bytes()).await.expect("sent");
                is_held_up(&what, &sent).await;
            }
            Speaks::Http2 => {
                let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
                tokio::spawn(connection);
                let mut sender = sender.ready().await.expect("ready");
                let mut request = get("/");
                request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
                let (answer, _) = sender.send_request(request, true).expect("sent");
                let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
                is_held_up(&what, &sent).await;
                drop(answer);
            }
        }
    }
}
