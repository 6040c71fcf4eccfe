//! Transports over real sockets: targets that speak HTTP/2 or TLS, and whom the proxy believes.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;

use super::testkit::{Act, Origin, World, body, field, ok, service, status, table, until};
use super::wirekit::{H2Client, H2Origin, Says, h2c_listener, post};
use crate::core::model::{
    ClientIdentity, Side, TargetProtocol, TargetTls, Transport, Verify, WhenIdle,
};
use crate::core::routing::{Link, MeterId, ServiceRoute};
use crate::telemetry::MeterKey;
use crate::tls::testkit::{Authority, listener_tls};
use crate::tls::{Identity, ServerTls};

const FINE: Says =
    Says { headers: &[("x-from", "h2"), ("content-length", "4")], body: "fine", trailers: &[] };

/// A service whose targets are spoken to in this way.
fn speaking(target: SocketAddr, number: u64, transport: Transport) -> ServiceRoute {
    let mut route = service(0, &[target], &[]);
    route.blue.link = Arc::new(Link::new(number, transport));
    route
}

/// TLS that believes an authority alone, and asks for `shop.internal`.
fn believing(authority: &Authority) -> TargetTls {
    TargetTls {
        server_name: Some("shop.internal".to_owned()),
        verify: Verify::Full,
        authorities: Some(Arc::new([authority.der()])),
        identity: None,
    }
}

fn over(protocol: TargetProtocol, tls: TargetTls) -> Transport {
    Transport { protocol, tls: Some(tls), ..Transport::default() }
}

/// What a target shakes hands with, whose certificate is for these names.
fn certified(authority: &Authority, names: &[&str]) -> Arc<ServerConfig> {
    let tls = listener_tls(&[authority.signs("target", names)]);
    ServerTls::load(&tls).expect("loaded").config()
}

fn saying_fine(_: &str, _: usize) -> Vec<Act> {
    ok("fine")
}

#[tokio::test]
async fn a_target_of_http_2_answers_clients_of_both_protocols() {
    let origin = H2Origin::new(FINE, None).await;
    let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    let route = speaking(origin.address, 1, transport);
    let old = World::new(route.clone());
    let mut client = old.client().await;
    for _ in 0..2 {
        let answer = client.get("/a?b", "").await;
        assert_eq!((status(&answer), field(&answer, "x-from")), (200, Some("h2")), "{answer}");
    }
    let sized = "POST /sized HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\n\r\nhello";
    client.send(sized).await;
    client.answer().await;
    let chunked = "POST /chunked HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\n";
    client.send(chunked).await;
    client.answer().await;
    let new = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
    let answer = H2Client::of(&new).await.send(post("/new", &[]), &["hel", "lo", ""]).await;
    assert_eq!(answer.expect("an answer").body, "fine");
    let seen = origin.seen();
    assert_eq!(seen.len(), 5);
    for (request, path) in seen.iter().zip(["/a?b", "/a?b", "/sized", "/chunked", "/new"]) {
        assert_eq!(request.uri, format!("http://shop.test{path}"));
        assert_eq!(request.field("x-forwarded-host"), Some("shop.test"), "{path}");
        assert_eq!(request.field("transfer-encoding"), None, "{path}");
        let expected = if path == "/a?b" { "" } else { "hello" };
        assert_eq!(request.body, expected, "{path}");
    }
}

#[tokio::test]
async fn a_call_of_grpc_passes_with_its_trailers_whose_status_is_what_counts() {
    let well = Says {
        headers: &[("content-type", "application/grpc")],
        body: "message",
        trailers: &[("grpc-status", "0"), ("x-last", "1")],
    };
    let unavailable = Says { trailers: &[("grpc-status", "14")], ..well };
    for (says, code, failed) in [(well, "0", 0), (unavailable, "14", 1)] {
        let origin = H2Origin::new(says, None).await;
        let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
        let route = speaking(origin.address, 1, transport);
        let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
        let key = MeterKey {
            service: "shop".parse().expect("valid"),
            side: Side::Blue,
            target_group: "shop-a".parse().expect("valid"),
        };
        assert_eq!(world.recorder.register(&key), MeterId(0));
        let fields = [("content-type", "application/grpc+proto"), ("te", "trailers")];
        let client = H2Client::of(&world).await;
        let answer = client.send(post("/shop.Cart/Add", &fields), &["call"]).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, "message"));
        assert_eq!(answer.trailer("grpc-status"), Some(code));
        let asked = origin.seen().remove(0);
        assert_eq!((asked.body.as_str(), asked.field("te")), ("call", Some("trailers")));
        let counts = || world.recorder.snapshot(MeterId(0));
        until("the call is counted", || counts().requests() == 1).await;
        assert_eq!(counts().failed(), failed, "grpc-status {code}");
    }
}

#[tokio::test]
async fn a_target_is_believed_whose_certificate_is_for_the_name_and_of_the_authority() {
    let authority = Authority::new();
    let tls = certified(&authority, &["shop.internal"]);
    let origin = Origin::over_tls(Arc::clone(&tls), saying_fine).await;
    let transport = over(TargetProtocol::Http1, believing(&authority));
    let world = World::new(speaking(origin.address, 1, transport));
    let mut client = world.client().await;
    for _ in 0..2 {
        assert_eq!(body(&client.get("/", "").await), "fine");
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(field(&origin.seen()[0], "x-forwarded-proto"), Some("http"));
    let multiplexed = H2Origin::new(FINE, Some(tls)).await;
    let transport = over(TargetProtocol::H2, believing(&authority));
    let world = World::new(speaking(multiplexed.address, 1, transport));
    assert_eq!(field(&world.get("").await, "x-from"), Some("h2"));
    assert_eq!(multiplexed.seen()[0].uri, "https://shop.test/");
}

#[tokio::test]
async fn nobody_else_is_believed_unless_nothing_is_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let named = Origin::over_tls(certified(&authority, &["shop.internal"]), saying_fine).await;
    let addressed = Origin::over_tls(certified(&authority, &["127.0.0.1"]), saying_fine).await;
    let base = believing(&authority);
    let other_name = TargetTls { server_name: Some("other.internal".to_owned()), ..base.clone() };
    let by_address = TargetTls { server_name: None, ..base.clone() };
    let other_authority =
        TargetTls { authorities: believing(&stranger).authorities, ..base.clone() };
    let system = TargetTls { authorities: None, ..base.clone() };
    let nothing = TargetTls { verify: Verify::Nothing, ..system.clone() };
    let nothing_by_address = TargetTls { server_name: None, ..nothing.clone() };
    let check = async |origin: &Origin, tls: &TargetTls, expected: u16| {
        let before = origin.seen().len();
        let world =
            World::new(speaking(origin.address, 1, over(TargetProtocol::Http1, tls.clone())));
        let answer = world.get("").await;
        assert_eq!(status(&answer), expected, "{tls:?}\n{answer}");
        if expected == 502 {
            assert_eq!(field(&answer, "x-tidegate-error"), Some("connect_failed"), "{tls:?}");
            assert_eq!(origin.seen().len(), before, "{tls:?}");
        }
    };
    check(&named, &base, 200).await;
    check(&named, &other_name, 502).await;
    check(&named, &by_address, 502).await;
    check(&named, &other_authority, 502).await;
    check(&named, &system, 502).await;
    check(&named, &nothing, 200).await;
    check(&named, &nothing_by_address, 200).await;
    check(&addressed, &by_address, 200).await;
    check(&addressed, &base, 502).await;
}

#[tokio::test]
async fn a_connection_that_was_believed_without_proof_is_not_used_by_a_link_that_asks_for_it() {
    let authority = Authority::new();
    let origin = Origin::over_tls(certified(&authority, &["shop.internal"]), saying_fine).await;
    let full =
        TargetTls { server_name: Some("other.internal".to_owned()), ..believing(&authority) };
    let nothing = TargetTls { verify: Verify::Nothing, authorities: None, ..full.clone() };
    let route = speaking(origin.address, 1, over(TargetProtocol::Http1, nothing));
    let world = World::new(route.clone());
    let mut client = world.client().await;
    assert_eq!(body(&client.get("/", "").await), "fine");
    let mut strict = route.clone();
    strict.blue.link = Arc::new(Link::new(2, over(TargetProtocol::Http1, full)));
    world.table.store(table(strict, WhenIdle::Refuse).into());
    assert_eq!(status(&world.get("").await), 502);
    world.table.store(table(route, WhenIdle::Refuse).into());
    assert_eq!(body(&client.get("/", "").await), "fine");
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn a_target_that_asks_for_a_certificate_is_shown_the_groups_own() {
    let authority = Authority::new();
    let mut spec = listener_tls(&[authority.signs("target", &["shop.internal"])]);
    spec.client_certificates = Some(authority.of_clients(true));
    let config = ServerTls::load(&spec).expect("loaded").config();
    let origin = Origin::over_tls(config, saying_fine).await;
    let files = authority.signs("proxy", &["proxy.internal"]);
    let identity = Identity::load(&files).expect("a pair");
    let identity = ClientIdentity {
        chain: identity.chain().iter().map(|der| der.to_vec()).collect(),
        key: identity.key_der().into(),
    };
    let shows = TargetTls { identity: Some(identity), ..believing(&authority) };
    let with = World::new(speaking(origin.address, 1, over(TargetProtocol::Http1, shows)));
    assert_eq!(body(&with.get("").await), "fine");
    let transport = over(TargetProtocol::Http1, believing(&authority));
    let without = World::new(speaking(origin.address, 1, transport));
    assert_eq!(status(&without.get("").await), 502);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn an_upgrade_passes_to_a_target_over_tls() {
    let authority = Authority::new();
    let script = |request: &str, _: usize| {
        let asked = field(request, "upgrade").unwrap_or_default();
        let agrees = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {asked}\r\n\r\nhello"
        );
        vec![Act::Send(agrees), Act::Close]
    };
    let origin = Origin::over_tls(certified(&authority, &["shop.internal"]), script).await;
    let transport = over(TargetProtocol::Http1, believing(&authority));
    let world = World::new(speaking(origin.address, 1, transport));
    let mut client = world.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n")
        .await;
    let answer = client.rest().await;
    assert_eq!((status(&answer), body(&answer)), (101, "hello"), "{answer}");
}
