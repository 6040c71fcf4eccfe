//! Clients behind something else, over real sockets: the PROXY header, and proxies that are trusted.

use std::net::IpAddr;

use ipnet::IpNet;

use super::testkit::{Origin, World, body, field, public, service, table, until};
use super::wirekit::listener;
use crate::core::model::{ClientLimits, ListenerSpec, WhenIdle};
use crate::telemetry::EdgeEvent;

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";

fn world(origin: &Origin, spec: ListenerSpec) -> World {
    World::listening(table(service(0, &[origin.address], &[]), WhenIdle::Refuse), &[spec])
}

fn networks(all: &[&str]) -> Vec<IpNet> {
    let single = |text: &str| text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = |text: &&str| single(text).or_else(|| text.parse().ok()).expect("a network");
    all.iter().map(network).collect()
}

/// A listener with a balancer in these networks.
fn behind(balancers: &[&str]) -> ListenerSpec {
    ListenerSpec { proxy_protocol: networks(balancers), ..listener(public()) }
}

#[tokio::test]
async fn the_client_is_whom_the_balancer_names_in_either_version() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, behind(&["127.0.0.0/8"]));
    let mut first = world.client().await;
    first.send(&format!("PROXY TCP4 203.0.113.9 10.0.0.1 5000 80\r\n{GET}")).await;
    assert_eq!(body(&first.answer().await), "fine");
    // The header is that of the connection.
    assert_eq!(body(&first.get("/", "").await), "fine");
    let mut second = world.client().await;
    let mut bytes =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x0a\x0a\0\0\x01\x13\x88\0\x50".to_vec();
    bytes.extend(GET.as_bytes());
    // However it is cut.
    for part in bytes.chunks(7) {
        second.send_bytes(part).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(body(&second.answer().await), "fine");
    let clients: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| field(seen, "x-forwarded-for").map(str::to_owned))
        .collect();
    let expected = ["203.0.113.9", "203.0.113.9", "203.0.113.10"];
    assert_eq!(clients, expected.map(|client| Some(client.to_owned())));
}

#[tokio::test]
async fn a_connection_of_a_balancer_without_the_header_is_closed_and_counted() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, behind(&["127.0.0.1"]));
    for bytes in [GET, "PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\nhost: shop.test\r\n\r\n"] {
        let mut client = world.client().await;
        client.send(bytes).await;
        assert_eq!(client.rest().await, "");
    }
    let count = || world.recorder.edge_count(EdgeEvent::NoProxyHeader);
    until("both are counted", || count() == 2).await;
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn whoever_is_no_balancer_is_an_ordinary_client_whose_header_is_not_read() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, behind(&["192.0.2.0/24"]));
    assert_eq!(body(&world.get("").await), "fine");
    assert_eq!(field(&origin.seen()[0], "x-forwarded-for"), Some("127.0.0.1"));
    let mut forger = world.client().await;
    forger.send(&format!("PROXY TCP4 203.0.113.9 10.0.0.1 5000 80\r\n{GET}")).await;
    assert!(!forger.rest().await.contains("fine"));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn connections_are_counted_for_the_client_that_the_balancer_names() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { connections_per_client: 1, ..ClientLimits::default() };
    let world = world(&origin, ListenerSpec { limits, ..behind(&["127.0.0.1"]) });
    let hello = |client: u8| format!("PROXY TCP4 203.0.113.{client} 10.0.0.1 5000 80\r\n{GET}");
    let mut open = Vec::new();
    for number in [1, 2] {
        let mut client = world.client().await;
        client.send(&hello(number)).await;
        assert_eq!(body(&client.answer().await), "fine");
        open.push(client);
    }
    let mut again = world.client().await;
    again.send(&hello(1)).await;
    assert_eq!(again.rest().await, "");
    assert_eq!(world.recorder.edge_count(EdgeEvent::ClientFull), 1);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_as_far_as_the_first_hop_that_nobody_trusts() {
    let origin = Origin::saying("fine").await;
    let trusting = |trusted: &[&str]| ListenerSpec {
        trusted_proxies: networks(trusted),
        ..listener(public())
    };
    let said = "X-Forwarded-For: 9.9.9.9, 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.shop.test\r\n";
    world(&origin, trusting(&["127.0.0.1", "10.0.0.0/8"])).get(said).await;
    world(&origin, trusting(&["192.0.2.0/24"])).get(said).await;
    let seen = origin.seen();
    let check = |n: usize, name, expected| {
        assert_eq!(field(&seen[n], name), Some(expected), "{}", seen[n]);
    };
    check(0, "x-forwarded-for", "203.0.113.9, 10.0.0.2, 127.0.0.1");
    check(0, "x-forwarded-proto", "https");
    check(0, "x-forwarded-host", "www.shop.test");
    check(0, "host", "shop.test");
    check(1, "x-forwarded-for", "127.0.0.1");
    check(1, "x-forwarded-proto", "http");
    check(1, "x-forwarded-host", "shop.test");
}

#[tokio::test]
async fn a_balancer_may_itself_be_behind_a_trusted_proxy() {
    let origin = Origin::saying("fine").await;
    let spec =
        ListenerSpec { trusted_proxies: networks(&["198.51.100.7"]), ..behind(&["127.0.0.1"]) };
    let world = world(&origin, spec);
    for proxy in ["198.51.100.7", "198.51.100.8"] {
        let mut client = world.client().await;
        client.send(&format!("PROXY TCP4 {proxy} 10.0.0.1 5000 80\r\n")).await;
        client.get("/", "X-Forwarded-For: 203.0.113.9\r\n").await;
    }
    let seen = origin.seen();
    assert_eq!(field(&seen[0], "x-forwarded-for"), Some("203.0.113.9, 198.51.100.7"));
    assert_eq!(field(&seen[1], "x-forwarded-for"), Some("198.51.100.8"));
}
