//! Targets that are gone in the middle of an upload, over real sockets: a close or a reset ends it
//! at once, long before any time of the service is over.
//!
//! One that is gone without a word, with its machine or its network, is found out by the system
//! after `write`: an earlier end would also meet one that is alive and reads nothing for a while,
//! which looks the same to the system (`peer`).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testkit::{World, field, service, status, until};
use crate::core::model::{Span, TargetProtocol, Transport};
use crate::core::routing::{Link, LiveTarget, ServiceRoute};

/// Longer than any test waits.
const LONG: Span = Span::from_secs(60);
/// More than the window that a connection of HTTP/2 begins with, and less than sockets buffer.
const MUCH: usize = 1 << 20;

/// How a target leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// It closes, having read all that came.
    Closing,
    /// It closes with something unread, which resets the connection.
    Resetting,
    /// It speaks HTTP/2, and closes without having opened its window.
    ClosingHttp2,
}

async fn leaving(leaves: Leaves) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(leave(stream, leaves));
        }
    });
    address
}

async fn leave(mut stream: TcpStream, leaves: Leaves) {
    match leaves {
        Leaves::Closing => {
            let mut read = Vec::new();
            while !read.ends_with(b"half") {
                if !stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
                    return;
                }
            }
            // Whoever is gone already does not mind.
            let _ = stream.shutdown().await;
        }
        Leaves::Resetting => {
            // The byte behind it is there as well, and is never read.
            stream.read_u8().await.expect("a request");
        }
        Leaves::ClosingHttp2 => {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let _asked = connection.accept().await.expect("a request").expect("a good one");
        }
    }
}

fn route_to(address: SocketAddr, protocol: TargetProtocol) -> ServiceRoute {
    let mut route = service(0, &[address], &[]);
    route.blue.link = Arc::new(Link::new(1, Transport { protocol, ..Transport::default() }));
    (route.timeouts.write, route.timeouts.read) = (LONG, LONG);
    route
}

/// Sends the beginning of an upload, and expects to be told in time that the target is gone.
async fn is_told(route: ServiceRoute, announced: usize, sent: &str) {
    let target: Arc<LiveTarget> = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route);
    let mut client = world.client().await;
    let head = format!("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {announced}\r\n\r\n");
    client.send(&head).await;
    client.send(sent).await;
    let answer = client.answer().await;
    let told = (status(&answer), field(&answer, "x-tidegate-error"));
    assert_eq!(told, (502, Some("target_broken")));
    until("the target is blamed", || target.failures() == 1).await;
}

#[tokio::test]
async fn a_target_that_closes_while_the_client_pauses_ends_the_upload_at_once() {
    let target = leaving(Leaves::Closing).await;
    is_told(route_to(target, TargetProtocol::Http1), MUCH, "half").await;
}

#[tokio::test]
async fn a_target_that_resets_ends_the_upload_at_once() {
    let target = leaving(Leaves::Resetting).await;
    is_told(route_to(target, TargetProtocol::Http1), MUCH, &"x".repeat(MUCH)).await;
}

#[tokio::test]
async fn a_target_of_http_2_that_closes_ends_the_upload_at_once() {
    for sent in ["half".to_owned(), "x".repeat(MUCH)] {
        let target = leaving(Leaves::ClosingHttp2).await;
        is_told(route_to(target, TargetProtocol::H2c), MUCH, &sent).await;
    }
}
