//! Checks over real sockets of targets that speak TLS or HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::line::Line;
use super::{ProbeTarget, Prober, check};
use crate::core::model::{
    ClientIdentity, FlapDamping, HealthCheck, Probe, Span, StatusRange, Target, TargetGroup,
    TargetGroupName, TargetHealth, TargetProtocol, TargetTls, Transport, Verify,
};
use crate::core::routing::{Link, LiveTargets};
use crate::tls::testkit::{Authority, listener_tls};
use crate::tls::{Identity, ServerTls};

/// A target that answers every check: what its handshake settled, or HTTP/2 in the clear.
async fn target(tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let Some(tls) = tls else {
                    http2(stream).await;
                    return;
                };
                let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice()) {
                    http2(stream).await;
                } else {
                    http1(stream).await;
                }
            });
        }
    });
    address
}

async fn http1(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; 1_024];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let status = if request[..length].starts_with(b"GET /up HTTP/1.1\r\n") { 200 } else { 404 };
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
    // A check that is over has nothing more to hear.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, mut question) = request.into_parts();
    while let Some(Ok(_)) = question.data().await {}
    let path = head.uri.path();
    let status = if path == "/down" { 503 } else { 200 };
    let answer = Response::builder().status(status).body(()).expect("valid");
    let Ok(mut body) = respond.send_response(answer, false) else { return };
    if path == "/grpc.health.v1.Health/Check" {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = body.send_data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false);
        let _ = body.send_trailers(trailers);
    } else {
        let _ = body.send_data(Bytes::from_static(b"ok"), true);
    }
}

fn certified(authority: &Authority) -> Arc<ServerConfig> {
    let tls = listener_tls(&[authority.signs("target", &["shop.internal"])]);
    ServerTls::load(&tls).expect("loaded").config()
}

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

fn http(path: &str) -> Probe {
    Probe::Http { path: path.to_owned(), host: None, expected: StatusRange::SUCCESS }
}

fn grpc() -> Probe {
    Probe::Grpc { service: String::new() }
}

fn asking(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        interval: Span::from_ms(10),
        timeout: Span::from_secs(10),
        healthy_after: 1,
        unhealthy_after: 1,
        flaps: FlapDamping::default(),
    }
}

/// What one check comes to; `None` if it passes.
async fn failure(address: SocketAddr, transport: Transport, probe: Probe) -> Option<String> {
    let line = Line::new(Arc::new(Link::new(1, transport)));
    let checked = check::run(address, &asking(probe), &line).await;
    checked.err().map(|failure| failure.to_string())
}

#[tokio::test]
async fn a_check_speaks_the_protocol_of_its_group() {
    let authority = Authority::new();
    let secured = target(Some(certified(&authority))).await;
    let plain = target(None).await;
    let h2c = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    let (http1, h2) = (
        over(TargetProtocol::Http1, believing(&authority)),
        over(TargetProtocol::H2, believing(&authority)),
    );
    for (address, transport) in [(secured, &http1), (secured, &h2), (plain, &h2c)] {
        for probe in [http("/up"), grpc(), Probe::Tcp] {
            let said = failure(address, transport.clone(), probe.clone()).await;
            assert_eq!(said, None, "{transport:?} {probe:?}");
        }
    }
    for (address, transport) in [(secured, h2), (plain, h2c)] {
        let said = failure(address, transport, http("/down")).await;
        assert_eq!(said.as_deref(), Some("status 503"));
    }
    let said = failure(secured, http1, http("/other")).await;
    assert_eq!(said.as_deref(), Some("status 404"));
}

#[tokio::test]
async fn a_target_that_is_not_to_be_believed_fails_and_the_check_says_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let secured = target(Some(certified(&authority))).await;
    let said =
        async |address: SocketAddr, protocol: TargetProtocol, tls: TargetTls, probe: Probe| {
            failure(address, over(protocol, tls), probe).await.expect("a failure")
        };
    let (base, h2) = (believing(&authority), TargetProtocol::H2);
    let wrong_authority = believing(&stranger);
    let wrong_name = TargetTls { server_name: Some("other.internal".to_owned()), ..base.clone() };
    let by_address = TargetTls { server_name: None, ..base.clone() };
    for protocol in [TargetProtocol::Http1, h2] {
        for probe in [http("/up"), grpc()] {
            let why = said(secured, protocol, wrong_authority.clone(), probe.clone()).await;
            assert!(why.starts_with("TLS: invalid peer certificate: "), "{why}");
            for tls in [&wrong_name, &by_address] {
                let why = said(secured, protocol, tls.clone(), probe.clone()).await;
                assert!(why.starts_with("TLS: ") && why.contains("not valid for name"), "{why}");
            }
        }
    }
    let believes_all = TargetTls { verify: Verify::Nothing, authorities: None, ..wrong_name };
    assert_eq!(failure(secured, over(h2, believes_all), http("/up")).await, None);
    let plain = target(None).await;
    let why = said(plain, h2, base.clone(), http("/up")).await;
    assert!(why.starts_with("TLS: "), "{why}");
    let mut silent = ServerConfig::clone(&certified(&authority));
    silent.alpn_protocols.clear();
    let silent = target(Some(Arc::new(silent))).await;
    let why = said(silent, h2, base, grpc()).await;
    assert_eq!(why, "TLS: the target does not agree to the protocol (ALPN)");
}

#[tokio::test]
async fn a_target_that_asks_for_a_certificate_is_shown_the_groups_own() {
    let authority = Authority::new();
    let mut spec = listener_tls(&[authority.signs("target", &["shop.internal"])]);
    spec.client_certificates = Some(authority.of_clients(true));
    let secured = target(Some(ServerTls::load(&spec).expect("loaded").config())).await;
    let identity = Identity::load(&authority.signs("proxy", &["proxy.internal"])).expect("a pair");
    let identity = ClientIdentity {
        chain: identity.chain().iter().map(|der| der.to_vec()).collect(),
        key: identity.key_der().into(),
    };
    let base = believing(&authority);
    let shows = TargetTls { identity: Some(identity), ..base.clone() };
    for protocol in [TargetProtocol::Http1, TargetProtocol::H2] {
        let with = failure(secured, over(protocol, shows.clone()), http("/up")).await;
        assert_eq!(with, None, "{protocol:?}");
        let without = failure(secured, over(protocol, base.clone()), http("/up")).await;
        assert!(without.is_some(), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_target_is_checked_by_the_transport_that_its_group_has_now() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address = target(Some(certified(&authority))).await;
    let name: TargetGroupName = "g".parse().expect("valid");
    let group = TargetGroup::new(name.clone(), vec![Target { address: address.into() }]);
    let mut live = LiveTargets::default();
    live.register(&group.expect("valid"), TargetHealth::Unknown);
    let target = Arc::clone(live.targets(&name).next().expect("one target"));
    let prober = Prober::start(Handle::current());
    let watch = |tls: TargetTls| {
        let link = Arc::new(Link::new(1, over(TargetProtocol::H2, tls)));
        let check = asking(http("/up"));
        prober.watch(vec![ProbeTarget { target: Arc::clone(&target), check, link }]);
    };
    let becomes = async |health: TargetHealth| {
        let wait = async {
            while target.health() != health {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.expect("in time");
    };
    watch(believing(&stranger));
    becomes(TargetHealth::Unhealthy).await;
    let last = prober.last(&target).expect("checked").last_failure.expect("failed").to_string();
    assert!(last.starts_with("TLS: invalid peer certificate: "), "{last}");
    watch(believing(&authority));
    becomes(TargetHealth::Healthy).await;
    prober.shutdown().await;
}
