//! Mirrors over real sockets to greens that speak TLS or HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::carrier::{Carrier, Ride};
use super::testkit::{Origin, World, body, field, ok, service, until, with_green};
use super::wirekit::{H2Origin, Says, get};
use crate::core::model::{
    MirrorPolicy, Side, Span, TargetProtocol, TargetTls, Transport, Verify, Weight,
};
use crate::core::routing::{Link, MeterId};
use crate::telemetry::MeterKey;
use crate::tls::ServerTls;
use crate::tls::testkit::{Authority, listener_tls};

const FINE: Says = Says { headers: &[("content-length", "4")], body: "fine", trailers: &[] };

fn certified(authority: &Authority) -> Arc<ServerConfig> {
    let tls = listener_tls(&[authority.signs("target", &["shop.internal"])]);
    ServerTls::load(&tls).expect("loaded").config()
}

fn over(protocol: TargetProtocol, authority: &Authority) -> Transport {
    let tls = TargetTls {
        server_name: Some("shop.internal".to_owned()),
        verify: Verify::Full,
        authorities: Some(Arc::new([authority.der()])),
        identity: None,
    };
    Transport { protocol, tls: Some(tls), ..Transport::default() }
}

/// A world whose blue's requests are all mirrored to a green that is spoken to in this way.
fn world(blue: &Origin, green: SocketAddr, transport: Transport) -> World {
    let mut route = service(0, &[blue.address], &[green]);
    route.exposure = with_green(0);
    route.exposure.green_exists = true;
    route.green.meter = MeterId(1);
    route.green.link = Arc::new(Link::new(1, transport));
    let (share, timeout) = (Weight::FULL, Span::from_secs(5));
    route.mirror = Some(MirrorPolicy { share, timeout, concurrency: 8 });
    let world = World::new(route);
    for (side, group) in [(Side::Blue, "shop-a"), (Side::Green, "shop-b")] {
        world.recorder.register(&MeterKey {
            service: "shop".parse().expect("valid"),
            side,
            target_group: group.parse().expect("valid"),
        });
    }
    world
}

/// Copies by their outcome: the second are answers of 2xx, the sixth failures.
fn copies(world: &World) -> [u64; 8] {
    world.recorder.copies(MeterId(1)).mirrored
}

/// Sends two requests to blue, whose copies come to this.
async fn mirrors(world: &World, outcome: usize) {
    let mut client = world.client().await;
    for count in 1..=2 {
        assert_eq!(body(&client.get("/cart?a=b", "x-end: 1\r\n").await), "blue");
        let what = format!("copy {count} is counted");
        until(&what, || copies(world).iter().sum::<u64>() == count).await;
    }
    assert_eq!(copies(world)[outcome], 2, "{:?}", copies(world));
}

#[tokio::test]
async fn a_green_of_http_2_sees_what_blue_answers_with_the_host_that_visitors_name() {
    let (blue, authority) = (Origin::saying("blue").await, Authority::new());
    let plain = H2Origin::new(FINE, None).await;
    let secured = H2Origin::new(FINE, Some(certified(&authority))).await;
    let h2c = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    for (green, transport, scheme) in
        [(plain, h2c, "http"), (secured, over(TargetProtocol::H2, &authority), "https")]
    {
        mirrors(&world(&blue, green.address, transport), 1).await;
        let seen = green.seen();
        assert_eq!(seen.len(), 2);
        for copy in &seen {
            assert_eq!(copy.uri, format!("{scheme}://shop.test/cart?a=b"));
            assert_eq!(copy.field("host"), None);
            assert_eq!(copy.field("x-tidegate-mirror"), Some("1"));
            assert_eq!((copy.field("x-end"), copy.body.as_str()), (Some("1"), ""));
        }
    }
}

#[tokio::test]
async fn a_green_of_http_1_over_tls_sees_what_blue_answers() {
    let (blue, authority) = (Origin::saying("blue").await, Authority::new());
    let green = Origin::over_tls(certified(&authority), |_, _| ok("green")).await;
    mirrors(&world(&blue, green.address, over(TargetProtocol::Http1, &authority)), 1).await;
    let seen = green.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].starts_with("GET /cart?a=b HTTP/1.1\r\n"), "{seen:?}");
    assert_eq!(field(&seen[0], "host"), Some("shop.test"));
}

#[tokio::test]
async fn a_green_that_is_not_to_be_believed_sees_no_copy() {
    let (blue, authority, stranger) =
        (Origin::saying("blue").await, Authority::new(), Authority::new());
    let http1 = Origin::over_tls(certified(&authority), |_, _| ok("green")).await;
    let h2 = H2Origin::new(FINE, Some(certified(&authority))).await;
    mirrors(&world(&blue, http1.address, over(TargetProtocol::Http1, &stranger)), 5).await;
    mirrors(&world(&blue, h2.address, over(TargetProtocol::H2, &stranger)), 5).await;
    assert_eq!((http1.seen().len(), h2.seen().len()), (0, 0));
}

/// A target of HTTP/2 that answers everything but `/hung`: its address, how many requests it got,
/// and how many connections.
async fn hanging() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    let (asked, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, accepted) = (Arc::clone(&asked), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                let mut held = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    if request.uri().path() != "/hung" {
                        respond.send_response(Response::new(()), true).expect("sent");
                    }
                    held.push(respond);
                }
            });
        }
    });
    (address, asked, connections)
}

#[tokio::test]
async fn a_copy_without_an_answer_casts_doubt_on_its_own_connection_alone() {
    let (address, asked, connections) = hanging().await;
    let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    let link = Link::new(1, transport);
    let route = service(0, &[address], &[]);
    let target = &route.blue.targets[0];
    let carrier = Carrier::of(&link).await.expect("made");
    let mut rides = [Ride::default(), Ride::default()];
    for (before, ride) in rides.iter_mut().enumerate() {
        tokio::select! {
            _ = carrier.exchange(target, get("/hung"), ride) => panic!("nobody answers this"),
            () = until("it is asked", || asked.load(Ordering::SeqCst) > before) => {}
        }
    }
    for ride in &rides {
        carrier.doubt(target, ride);
        let answer = carrier.exchange(target, get("/"), &mut Ride::default()).await;
        assert_eq!(answer, Some(200));
        assert_eq!(connections.load(Ordering::SeqCst), 2);
    }
}
