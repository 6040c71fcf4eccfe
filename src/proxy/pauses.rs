//! Targets that pause over real sockets: one that reads nothing for a while is not dead, and what
//! the system is told of each kind of connection.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use pingora_core::connectors::TransportConnector;
use pingora_http::RequestHeader;
use rustix::net::sockopt::tcp_user_timeout;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

use super::attempt::Attempt;
use super::selection::{AssignedBy, Selection};
use super::testkit::{World, body, service, status};
use crate::core::model::{Side, Span, TargetProtocol, Transport};
use crate::core::routing::{Link, ServiceRoute};

/// More than the buffers of all sockets on a way take.
const MUCH: usize = 32 << 20;
/// Longer than what the system is told, and shorter than any other time.
const PAUSE: Duration = Duration::from_secs(3);

/// An attempt of a request with these fields.
fn attempt(route: &Arc<ServiceRoute>, fields: &[(&'static str, &str)], is_whole: bool) -> Attempt {
    let selection = Selection {
        service: route,
        side: Side::Blue,
        by: AssignedBy::TestListener,
        target: route.pick(Side::Blue, 0, None),
        actions: &Arc::default(),
        scored: false,
        unit: None,
    };
    let mut request = RequestHeader::build(Method::POST, b"/", None).expect("valid");
    for (name, value) in fields {
        request.insert_header(*name, *value).expect("valid");
    }
    let first = Attempt::first(&selection, 0, || unreachable!("not scored")).expect("a target");
    first.for_request(&request, 0, is_whole)
}

/// After how many milliseconds of silence the system ends the connection of an attempt.
async fn user_timeout(attempt: &Attempt) -> u32 {
    let mut peer = attempt.peer();
    let kept: Arc<Mutex<Option<OwnedFd>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |socket: &TcpSocket| {
        let handle = socket.as_fd().try_clone_to_owned().expect("a second handle");
        *keeper.lock().expect("nothing panics in there") = Some(handle);
        Ok(())
    }));
    let stream = TransportConnector::new(None).new_stream(&peer).await.expect("connected");
    let handle = kept.lock().expect("nothing panics in there").take().expect("it was asked");
    let timeout = tcp_user_timeout(&handle).expect("known");
    drop(stream);
    timeout
}

#[tokio::test]
async fn only_a_connection_that_carries_little_ends_when_its_target_reads_nothing_for_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    for protocol in [TargetProtocol::Http1, TargetProtocol::H2c] {
        let mut route = service(0, &[address], &[]);
        route.blue.link = Arc::new(Link::new(1, Transport { protocol, ..Transport::default() }));
        (route.timeouts.unacknowledged, route.timeouts.write) =
            (Span::from_secs(8), Span::from_secs(60));
        let route = Arc::new(route);
        let plain = attempt(&route, &[], true);
        let upload = attempt(&route, &[], false);
        let call = attempt(&route, &[("content-type", "application/grpc")], false);
        let tunnel = attempt(&route, &[("upgrade", "websocket")], true);
        let small = attempt(&route, &[("content-length", "16384")], false);
        let large = attempt(&route, &[("content-length", "16385")], false);
        assert_eq!(user_timeout(&plain).await, 8_000, "{protocol:?}");
        let (much, little): (Vec<_>, Vec<_>) = match protocol {
            TargetProtocol::Http1 => (vec![&upload, &large, &tunnel, &call], vec![&small]),
            // Whoever reads no call reads nothing else, either.
            TargetProtocol::H2c | TargetProtocol::H2 => {
                (vec![&upload, &large, &tunnel], vec![&small, &call])
            }
        };
        for other in little {
            assert_eq!(other.peer().group_key, plain.peer().group_key, "{protocol:?} {other:?}");
        }
        for other in much {
            assert_eq!(user_timeout(other).await, 60_000, "{protocol:?} {other:?}");
            assert_ne!(other.peer().group_key, plain.peer().group_key, "one pool for both");
        }
    }
}

/// A target that reads the beginning of a request, pauses, and then takes all of it.
async fn pausing() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                stream.read_u8().await.expect("a request");
                sleep(PAUSE).await;
                let (mut part, mut read) = (vec![0; 64 * 1_024], 0);
                while read < MUCH {
                    match stream.read(&mut part).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) => read += count,
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntook";
                stream.write_all(answer).await.expect("sent");
                // Until the proxy is done with it.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn an_upload_outlives_a_pause_of_its_target() {
    let mut route = service(0, &[pausing().await], &[]);
    route.timeouts.unacknowledged = Span::from_secs(1);
    let world = World::new(route);
    let mut client = world.client().await;
    let head = format!("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {MUCH}\r\n\r\n");
    client.send(&head).await;
    client.send(&"x".repeat(MUCH)).await;
    let answer = client.answer().await;
    assert_eq!((status(&answer), body(&answer)), (200, "took"));
}
