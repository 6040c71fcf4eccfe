//! Services of which one group speaks HTTP/1.1 and the other HTTP/2, over real sockets: what one
//! fails at the other answers, with all that the first was sent.

use std::net::SocketAddr;
use std::sync::Arc;

use super::h2kit::{Does, FINE, Stage};
use super::legs::{check_upload, upload};
use super::testkit::{Act, Origin, World, body, service, status};
use crate::core::model::{RetryMethod, TargetProtocol, TrailerPolicy, Transport};
use crate::core::routing::{Link, ServiceRoute};

/// A service whose requests all go to green, and whose targets speak these.
fn on_green(
    (blue, blue_speaks): (SocketAddr, TargetProtocol),
    (green, green_speaks): (SocketAddr, TargetProtocol),
) -> ServiceRoute {
    let link = |number, protocol| {
        let trailers = TrailerPolicy::Pass;
        Arc::new(Link::new(number, Transport { protocol, trailers, ..Transport::default() }))
    };
    let mut route = service(10_000, &[blue], &[green]);
    route.blue.link = link(1, blue_speaks);
    route.green.link = link(2, green_speaks);
    route.retries.methods = vec![RetryMethod::Put];
    route
}

/// Sends a small PUT, one with trailers, a POST, and a PUT too large to be kept; the answers.
async fn upload_all(world: &World) -> [(u16, String); 4] {
    let sized = |method: &str, content: &str| {
        let length = content.len();
        format!(
            "{method} / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {length}\r\n\r\n{content}"
        )
    };
    let large = "x".repeat(100_000);
    let requests =
        [sized("PUT", "small"), upload("PUT"), sized("POST", "once"), sized("PUT", &large)];
    let mut answers = Vec::new();
    for request in requests {
        let mut client = world.client().await;
        client.send(&request).await;
        let answer = client.answer().await;
        answers.push((status(&answer), body(&answer).to_owned()));
    }
    answers.try_into().expect("as many as requests")
}

fn are_rescued_while_they_may_be(answers: &[(u16, String); 4]) {
    let answers = answers.each_ref().map(|(status, content)| (*status, content.as_str()));
    assert_eq!(answers, [(200, "fine"), (200, "fine"), (503, "busy"), (503, "busy")]);
}

#[tokio::test]
async fn blue_of_http_1_1_rescues_what_green_of_http_2_fails_at_with_its_whole_body() {
    const BUSY: &[Does] =
        &[Does::Reads, Does::Says(503, &[("content-length", "4")]), Does::Finishes("busy")];
    let (blue, green) = (Origin::saying("fine").await, Stage::always(BUSY).await);
    let route =
        on_green((blue.address, TargetProtocol::Http1), (green.address, TargetProtocol::H2c));
    are_rescued_while_they_may_be(&upload_all(&World::new(route)).await);
    let tried = green.seen();
    assert_eq!(tried.len(), 4);
    check_upload(&tried[1], Some("s u m"));
    let seen = blue.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].ends_with("\r\n\r\nsmall"), "{seen:?}");
    assert!(seen[1].ends_with("\r\n\r\n5\r\nhello\r\n0\r\nx-sum: s u m\r\n\r\n"), "{seen:?}");
}

#[tokio::test]
async fn blue_of_http_2_rescues_what_green_of_http_1_1_fails_at_with_its_whole_body() {
    const BUSY: &str = "HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy";
    let green = Origin::new(|_, _| vec![Act::Send(BUSY.to_owned())]).await;
    let blue = Stage::always(FINE).await;
    let route =
        on_green((blue.address, TargetProtocol::H2c), (green.address, TargetProtocol::Http1));
    are_rescued_while_they_may_be(&upload_all(&World::new(route)).await);
    assert_eq!(green.seen().len(), 4);
    let seen = blue.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].body, "small");
    check_upload(&seen[1], Some("s u m"));
}
