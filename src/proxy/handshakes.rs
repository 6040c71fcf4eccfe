//! TLS with clients over real sockets: which protocol, whose certificate, and what targets hear of it.

use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::{sleep, timeout};

use super::testkit::{
    Client, Origin, PATIENCE, World, body, field, public, service, table, test_listener, until,
};
use super::wirekit::{H2Client, listener, shake};
use crate::core::model::{ClientCertificates, ListenerSpec, ListenerTls, WhenIdle};
use crate::telemetry::EdgeEvent;
use crate::tls::testkit::{Authority, listener_tls};

/// A proxy whose public listener speaks TLS; its test listener does not.
fn world(origin: &Origin, tls: ListenerTls) -> World {
    let table = table(service(0, &[origin.address], &[]), WhenIdle::Blue);
    let encrypted = ListenerSpec { tls: Some(tls), ..listener(public()) };
    World::listening(table, &[encrypted, listener(test_listener())])
}

fn offering(mut config: ClientConfig, protocols: &[&str]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn client(world: &World, config: ClientConfig) -> Client {
    Client::over(shake(world.address(), config, "shop.test").await.expect("a handshake"))
}

#[tokio::test]
async fn clients_choose_between_http_2_and_http_1_in_the_handshake() {
    let (authority, origin) = (Authority::new(), Origin::saying("fine").await);
    let world = world(&origin, listener_tls(&[authority.signs("shop", &["shop.test"])]));
    let both = offering(authority.client(), &["h2", "http/1.1"]);
    let stream = shake(world.address(), both, "shop.test").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let multiplexed = H2Client::over(stream).await;
    for _ in 0..2 {
        assert_eq!(multiplexed.get("/").await.body, "fine");
    }
    for protocols in [&["http/1.1"][..], &[]] {
        let mut plain = client(&world, offering(authority.client(), protocols)).await;
        for _ in 0..2 {
            assert_eq!(body(&plain.get("/", "").await), "fine");
        }
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 6);
    for request in &seen {
        assert_eq!(field(request, "x-forwarded-proto"), Some("https"), "{request}");
        assert_eq!(field(request, "x-client-cert-subject"), None, "{request}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_counted_and_others_are_served() {
    let (authority, origin) = (Authority::new(), Origin::saying("fine").await);
    let world = world(&origin, listener_tls(&[authority.signs("shop", &["shop.test"])]));
    let mut plain = world.client().await;
    plain.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    assert!(!plain.rest().await.contains("fine"));
    assert!(shake(world.address(), Authority::new().client(), "shop.test").await.is_err());
    let count = || world.recorder.edge_count(EdgeEvent::NoHandshake);
    until("both are counted", || count() == 2).await;
    let mut sound = client(&world, authority.client()).await;
    assert_eq!(body(&sound.get("/", "").await), "fine");
    assert_eq!(world.recorder.edge_count(EdgeEvent::Accepted), 3);
}

#[tokio::test]
async fn new_files_are_followed_and_open_connections_stay() {
    let (authority, origin) = (Authority::new(), Origin::saying("fine").await);
    let world = world(&origin, listener_tls(&[authority.signs("shop", &["shop.test"])]));
    let mut before = client(&world, authority.client()).await;
    assert_eq!(body(&before.get("/", "").await), "fine");
    authority.signs("shop", &["shop.test", "www.shop.test"]);
    let followed = async {
        while shake(world.address(), authority.client(), "www.shop.test").await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, followed).await.is_ok(), "new connections see the new certificate");
    assert_eq!(body(&before.get("/", "").await), "fine");
}

#[tokio::test]
async fn a_target_hears_whose_certificate_it_was_and_no_client_can_forge_that() {
    let (authority, origin) = (Authority::new(), Origin::saying("fine").await);
    let mut tls = listener_tls(&[authority.signs("shop", &["shop.test"])]);
    let header = "x_user-dn".to_owned();
    let clients = ClientCertificates { header, ..authority.of_clients(false) };
    tls.client_certificates = Some(clients);
    let world = world(&origin, tls);
    let alice = authority.signs("alice", &["alice.test"]);
    let forged = "X-User-DN: CN=root\r\nX_User_Dn: CN=root\r\nx-user_dn: CN=root\r\n\
        X-Client-Cert-Subject: CN=root\r\nx_client_cert_subject: CN=root\r\n";
    let shows = authority.client_with(rustls::DEFAULT_VERSIONS, Some(&alice));
    client(&world, shows).await.get("/", forged).await;
    client(&world, authority.client()).await.get("/", forged).await;
    world.test_client().await.get("/", forged).await;
    let seen = origin.seen();
    assert_eq!(field(&seen[0], "x_user-dn"), Some("CN=alice"));
    assert_eq!(field(&seen[1], "x_user-dn"), None);
    assert_eq!(field(&seen[2], "x_user-dn"), None);
    for request in &seen {
        assert!(!request.contains("CN=root"), "{request}");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let (authority, origin) = (Authority::new(), Origin::saying("fine").await);
    let mut tls = listener_tls(&[authority.signs("shop", &["shop.test"])]);
    tls.client_certificates = Some(authority.of_clients(true));
    let world = world(&origin, tls);
    // The client's half of a handshake of TLS 1.3 is over before the refusal.
    let _ = shake(world.address(), authority.client(), "shop.test").await;
    let count = || world.recorder.edge_count(EdgeEvent::NoHandshake);
    until("it is refused", || count() == 1).await;
    let alice = authority.signs("alice", &["alice.test"]);
    let shows = authority.client_with(rustls::DEFAULT_VERSIONS, Some(&alice));
    let stream = shake(world.address(), offering(shows, &["h2"]), "shop.test").await;
    let multiplexed = H2Client::over(stream.expect("a handshake")).await;
    assert_eq!(multiplexed.get("/").await.status, 200);
    let seen = origin.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(field(&seen[0], "x-client-cert-subject"), Some("CN=alice"));
}
