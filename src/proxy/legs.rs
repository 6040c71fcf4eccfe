//! Legs over HTTP/2 to targets, over real sockets: what passes there between clients of both
//! protocols and a target, and what ends at the proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use rustls::ServerConfig;

use super::floods::Raw;
use super::h2kit::{Does, FINE, Seen, Stage, Terms, h2c, to};
use super::streams::raw_frame;
use super::testkit::{
    Origin, World, body, field, named_rule, ok, service, status, table, table_with, until,
};
use super::wirekit::{H2Client, get, h2c_listener, next_hint, post, whole_of};
use crate::core::model::{
    ClientLimits, HostPolicy, RuleActions, Span, TargetProtocol, TargetTls, TrailerPolicy,
    Transport, Verify, WhenIdle,
};
use crate::core::routing::{Link, ServiceRoute};
use crate::tls::ServerTls;
use crate::tls::testkit::{Authority, listener_tls};

/// Says all of it at once.
const HINTED: &[Does] = &[
    Does::Reads,
    Does::Says(103, &[("link", "</a.css>"), ("x-tidegate-error", "no")]),
    Does::Says(102, &[]),
    Does::Says(200, &[("content-length", "4")]),
    Does::Finishes("fine"),
];

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn multiplexed(route: ServiceRoute) -> World {
    World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()])
}

/// Has clients of both protocols hear `HINTED`, twice on a connection.
async fn clients_hear_hints(route: ServiceRoute) {
    let old = World::new(route.clone());
    let mut client = old.client().await;
    for _ in 0..2 {
        let hint = client.get("/", "").await;
        assert_eq!((status(&hint), field(&hint, "link")), (103, Some("</a.css>")));
        assert_eq!(field(&hint, "x-tidegate-error"), None, "only the proxy says that");
        assert_eq!(status(&client.answer().await), 102);
        let answer = client.answer().await;
        assert_eq!((status(&answer), body(&answer)), (200, "fine"));
    }
    let new = multiplexed(route);
    let client = H2Client::of(&new).await;
    for _ in 0..2 {
        let (hints, answer) = client.hinted(get("/")).await.expect("an answer");
        let statuses: Vec<u16> = hints.iter().map(|hint| hint.status().as_u16()).collect();
        assert_eq!(statuses, [103, 102]);
        assert_eq!(hints[0].headers()["link"], "</a.css>");
        assert_eq!(hints[0].headers().len(), 1, "{hints:?}");
        assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    }
}

#[tokio::test]
async fn interim_answers_come_in_front_of_the_final_one_to_clients_of_both_protocols() {
    let origin = Stage::always(HINTED).await;
    clients_hear_hints(to(&origin)).await;
    assert_eq!((origin.seen().len(), origin.connections()), (4, 2));
}

#[tokio::test]
async fn interim_answers_come_from_a_target_over_tls_as_well() {
    let authority = Authority::new();
    let tls = Some(certified(&authority));
    let origin = Stage::on(Terms { tls, ..Terms::default() }, |_, _| HINTED).await;
    clients_hear_hints(over_tls(origin.address, &authority)).await;
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_the_final_answer_alone_and_no_chunks() {
    const UNSIZED: &[Does] = &[
        Does::Says(103, &[("link", "</a.css>")]),
        Does::Says(200, &[]),
        Does::Sends("fi"),
        Does::Finishes("ne"),
    ];
    let origin = Stage::always(UNSIZED).await;
    let world = World::new(to(&origin));
    let mut client = world.client().await;
    client.send("GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n").await;
    let heard = client.rest().await;
    assert_eq!((status(&heard), heard.matches("HTTP/1.").count()), (200, 1), "{heard}");
    assert_eq!(field(&heard, "transfer-encoding"), None, "{heard}");
    assert_eq!(body(&heard), "fine");
}

#[tokio::test]
async fn a_hint_arrives_while_the_answer_is_not_there() {
    const HINT_FIRST: &[Does] =
        &[Does::Says(103, &[("link", "</a.css>")]), Does::Waits, Does::Ends(204, &[])];
    let origin = Stage::always(HINT_FIRST).await;
    let (old, new) = (World::new(to(&origin)), multiplexed(to(&origin)));
    let mut first = old.client().await;
    assert_eq!(status(&first.get("/", "").await), 103);
    let second = H2Client::of(&new).await;
    let (mut answer, _) = second.begin(get("/"), true).await;
    assert_eq!(next_hint(&mut answer).await.expect("a hint").status(), 103);
    origin.go_on();
    assert_eq!(status(&first.answer().await), 204);
    assert_eq!(whole_of(answer).await.expect("an answer").status, 204);
}

#[tokio::test]
async fn more_interim_answers_than_a_target_may_give_are_a_broken_answer_on_their_stream_alone() {
    static TOO_MANY: [Does; 34] = {
        let mut acts = [Does::Says(103, &[]); 34];
        acts[33] = Does::Stays;
        acts
    };
    let origin = Stage::new(|_, number| if number == 0 { &TOO_MANY[..] } else { FINE }).await;
    let world = World::new(to(&origin));
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await;
    let heard = client.rest().await;
    assert!(heard.contains("HTTP/1.1 502 ") && !heard.contains("HTTP/1.1 200 "), "{heard}");
    until("it is counted", || world.recorder.overflow().broken == 1).await;
    until("its stream is reset", || origin.resets().len() == 1).await;
    assert_eq!(body(&world.get("").await), "fine");
    assert_eq!(origin.connections(), 1);
}

const EXPECTS: &str = "POST / HTTP/1.1\r\nhost: shop.test\r\nexpect: 100-continue\r\n\
    content-length: 4\r\n\r\n";

#[tokio::test]
async fn a_target_tells_clients_of_both_protocols_once_to_go_on() {
    const WELCOMING: &[Does] = &[
        Does::Says(100, &[("x-from", "target")]),
        Does::Reads,
        Does::Says(200, &[("content-length", "4")]),
        Does::Finishes("fine"),
    ];
    let origin = Stage::always(WELCOMING).await;
    let old = World::new(to(&origin));
    let mut client = old.client().await;
    for _ in 0..2 {
        client.send(EXPECTS).await;
        let told = client.answer().await;
        assert_eq!((status(&told), field(&told, "x-from")), (100, Some("target")), "{told}");
        client.send("body").await;
        let answer = client.answer().await;
        assert_eq!((status(&answer), body(&answer)), (200, "fine"));
    }
    let new = multiplexed(to(&origin));
    let client = H2Client::of(&new).await;
    for _ in 0..2 {
        let asks = post("/", &[("expect", "100-continue")]);
        let (mut answer, mut sending) = client.begin(asks, false).await;
        let told = next_hint(&mut answer).await.expect("the word");
        assert_eq!(told.status(), 100);
        sending.send_data(Bytes::from_static(b"body"), true).expect("sent");
        assert!(next_hint(&mut answer).await.is_none(), "nobody is told twice");
        assert_eq!(whole_of(answer).await.expect("an answer").body, "fine");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 4);
    for asked in &seen {
        let found = (asked.field("expect"), asked.body.as_str());
        assert_eq!(found, (Some("100-continue"), "body"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_client_whose_expectation_a_target_refuses_hears_that_and_nothing_else() {
    const REFUSES: &[Does] = &[Does::Ends(417, &[("content-length", "0")])];
    let origin = Stage::always(REFUSES).await;
    let limits = ClientLimits { body_drain: Span::from_ms(200), ..ClientLimits::default() };
    let old = World::with(table(to(&origin), WhenIdle::Refuse), limits);
    let mut client = old.client().await;
    client.send(EXPECTS).await;
    assert_eq!(status(&client.answer().await), 417);
    client.half_close().await;
    assert_eq!(client.rest().await, "");
    let new = multiplexed(to(&origin));
    let client = H2Client::of(&new).await;
    let asks = post("/", &[("expect", "100-continue")]);
    let (mut answer, _sending) = client.begin(asks, false).await;
    assert!(next_hint(&mut answer).await.is_none(), "nobody is told to go on");
    assert_eq!(whole_of(answer).await.expect("an answer").status, 417);
}

/// A request with trailers, of which some are never one.
pub(super) fn upload(method: &str) -> String {
    format!(
        "{method} / HTTP/1.1\r\nhost: shop.test\r\n\
         trailer: x-sum, host, x_forwarded_for, X-Forwarded-For, transfer-encoding\r\n\
         transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: s u m\r\nhost: evil.test\r\n\
         x_forwarded_for: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nTransfer-Encoding: gzip\r\n\
         x-unnamed: 1\r\n\r\n"
    )
}

pub(super) fn check_upload(asked: &Seen, sum: Option<&str>) {
    assert_eq!((asked.body.as_str(), asked.trailer("x-sum")), ("hello", sum), "{asked:?}");
    assert_eq!(asked.trailers.len(), usize::from(sum.is_some()), "{asked:?}");
    assert_eq!(asked.field("x-forwarded-for"), Some("127.0.0.1"), "{asked:?}");
}

#[tokio::test]
async fn announced_trailers_of_requests_reach_targets_of_http_2_where_their_group_lets_them_pass() {
    for (policy, sum) in [(TrailerPolicy::Pass, Some("s u m")), (TrailerPolicy::Drop, None)] {
        let origin = Stage::always(FINE).await;
        let mut route = to(&origin);
        route.blue.link = h2c(1, policy);
        let world = World::new(route);
        let mut client = world.client().await;
        for _ in 0..2 {
            client.send(&upload("POST")).await;
            let answer = client.answer().await;
            assert_eq!((status(&answer), body(&answer)), (200, "fine"));
        }
        let seen = origin.seen();
        assert_eq!(seen.len(), 2);
        for asked in &seen {
            check_upload(asked, sum);
        }
    }
}

#[tokio::test]
async fn a_call_of_grpc_that_ends_with_its_header_is_one_frame_to_its_client_and_is_counted() {
    const TRAILERS_ONLY: &[Does] =
        &[Does::Ends(200, &[("content-type", "application/grpc"), ("grpc-status", "14")])];
    let origin = Stage::always(TRAILERS_ONLY).await;
    let world = multiplexed(to(&origin));
    let mut raw = Raw::of(&world).await;
    // A POST of `/` with `content-type` and `te`, by the letter.
    let call = [
        &[0x83, 0x86, 0x84, 0x01, 0x09][..],
        b"shop.test",
        b"\x0f\x10\x10application/grpc",
        b"\x00\x02te\x08trailers",
    ];
    raw.send(&raw_frame(1, 0x05, 1, &call.concat())).await;
    let mut kinds = Vec::new();
    loop {
        let frame = raw.next().await.expect("the connection goes on");
        // Its header, its body, or its reset.
        if frame.stream == 1 && [0, 1, 3].contains(&frame.kind) {
            kinds.push(frame.kind);
            if frame.ends_stream() || frame.kind == 3 {
                break;
            }
        }
    }
    assert_eq!(kinds, [1]);
    until("it is counted", || world.recorder.overflow().requests() == 1).await;
    assert_eq!(world.recorder.overflow().failed(), 1, "by its grpc-status");
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let client = H2Client::of(&world).await;
    let answer = client.send(post("/shop.Cart/Add", &fields), &[]).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.field("grpc-status"), Some("14"));
    assert!(answer.trailers.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_path_of_other_bytes_than_ascii_is_refused_and_reaches_no_target() {
    let origin = Stage::always(FINE).await;
    let route = to(&origin);
    let target = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route);
    for path in [&b"/\xff"[..], b"/a\x80?b", "/\u{e9}".as_bytes()] {
        let mut client = world.client().await;
        let asks = [&b"GET "[..], path, b" HTTP/1.1\r\nhost: shop.test\r\n\r\n"].concat();
        client.send_bytes(&asks).await;
        let answer = client.answer().await;
        let told = (status(&answer), field(&answer, "x-tidegate-error"));
        assert_eq!(told, (400, Some("bad_request")), "{answer}");
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!((target.failures(), target.in_flight()), (0, 0));
    assert_eq!(body(&world.get("").await), "fine");
}

#[tokio::test]
async fn a_question_about_the_whole_of_a_target_reaches_it_as_such() {
    let origin = Stage::always(FINE).await;
    let world = World::new(to(&origin));
    let mut client = world.client().await;
    client.send("OPTIONS * HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    assert_eq!(body(&client.answer().await), "fine");
    let asked = origin.seen().remove(0);
    assert_eq!((asked.method, asked.path.as_str()), (Method::OPTIONS, "*"));
}

#[tokio::test]
async fn a_target_is_named_the_host_that_the_rule_says_and_as_its_authority_alone() {
    let origin = Stage::always(FINE).await;
    let address = origin.address.to_string();
    for (host, expected) in [
        (HostPolicy::Preserve, "shop.test:8080"),
        (HostPolicy::Target, address.as_str()),
        (HostPolicy::Literal("inner.test:81".to_owned()), "inner.test:81"),
    ] {
        let mut rule = named_rule("shop.test");
        rule.actions = Arc::new(RuleActions { host, ..RuleActions::default() });
        let table = || table_with(std::slice::from_ref(&rule), to(&origin), WhenIdle::Refuse);
        let old = World::with(table(), ClientLimits::default());
        let mut client = old.client().await;
        for asks in ["GET / HTTP/1.1", "GET http://shop.test:8080/ HTTP/1.1"] {
            client.send(&format!("{asks}\r\nhost: shop.test:8080\r\n\r\n")).await;
            assert_eq!(body(&client.answer().await), "fine");
        }
        let new = World::listening(table(), &[h2c_listener()]);
        let asks = Request::get("http://shop.test:8080/").body(()).expect("valid");
        let answer = H2Client::of(&new).await.send(asks, &[]).await.expect("an answer");
        assert_eq!(answer.body, "fine");
        let seen = origin.seen();
        for asked in &seen[seen.len() - 3..] {
            assert_eq!(asked.authority.as_deref(), Some(expected), "{asked:?}");
            assert_eq!((asked.field("host"), asked.path.as_str()), (None, "/"), "{asked:?}");
            assert_eq!(asked.field("x-forwarded-host"), Some("shop.test:8080"), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn fields_of_one_hop_never_reach_a_target_of_http_2_and_harm_no_request() {
    const HOP: &str = "connection: keep-alive, upgrade, http2-settings, x-secret, te\r\n\
        keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAAQAAP__\r\nx-secret: 1\r\nte: gzip\r\n";
    let origin = Stage::always(FINE).await;
    let world = World::new(to(&origin));
    let mut client = world.client().await;
    assert_eq!(body(&client.get("/", HOP).await), "fine");
    let hop = "connection: keep-alive, x-secret\r\nkeep-alive: timeout=5\r\nx-secret: 1\r\n\
        proxy-connection: keep-alive\r\ntransfer-encoding: chunked\r\n";
    client
        .send(&format!("POST / HTTP/1.1\r\nhost: shop.test\r\n{hop}\r\n4\r\nbody\r\n0\r\n\r\n"))
        .await;
    assert_eq!(body(&client.answer().await), "fine");
    let seen = origin.seen();
    assert_eq!(seen[1].body, "body");
    for asked in &seen {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "x-secret",
            "te",
        ] {
            assert_eq!(asked.field(name), None, "{name} in {asked:?}");
        }
    }
}

#[tokio::test]
async fn cookies_and_what_a_client_of_http_2_takes_reach_a_target_of_http_2() {
    let origin = Stage::always(FINE).await;
    let world = multiplexed(to(&origin));
    let client = H2Client::of(&world).await;
    let asks = Request::get("http://shop.test/")
        .header("cookie", "a=b")
        .header("cookie", "c=d; e=f")
        .header("te", "trailers");
    let answer = client.send(asks.body(()).expect("valid"), &[]).await.expect("an answer");
    assert_eq!(answer.body, "fine");
    let asked = origin.seen().remove(0);
    let cookies = asked.headers.get_all("cookie").into_iter();
    let cookies: Vec<&str> = cookies.map(|cookie| cookie.to_str().expect("ASCII")).collect();
    assert_eq!(cookies.join("; "), "a=b; c=d; e=f", "in one field, or in several");
    assert_eq!(asked.field("te"), Some("trailers"));
}

/// What a target shakes hands with that is believed by the service of [`over_tls`].
fn certified(authority: &Authority) -> Arc<ServerConfig> {
    let tls = listener_tls(&[authority.signs("target", &["shop.internal"])]);
    ServerTls::load(&tls).expect("loaded").config()
}

/// A service whose target speaks HTTP/2 over TLS.
fn over_tls(target: SocketAddr, authority: &Authority) -> ServiceRoute {
    let tls = TargetTls {
        server_name: Some("shop.internal".to_owned()),
        verify: Verify::Full,
        authorities: Some(Arc::new([authority.der()])),
        identity: None,
    };
    let protocol = TargetProtocol::H2;
    let mut route = service(0, &[target], &[]);
    let transport = Transport { protocol, tls: Some(tls), ..Transport::default() };
    route.blue.link = Arc::new(Link::new(1, transport));
    route
}

#[tokio::test]
async fn a_target_over_tls_that_does_not_agree_to_http_2_is_not_connected_to() {
    let authority = Authority::new();
    for agrees in [vec![b"http/1.1".to_vec()], Vec::new()] {
        let mut config = ServerConfig::clone(&certified(&authority));
        config.alpn_protocols = agrees;
        let origin = Origin::over_tls(Arc::new(config), |_, _| ok("fine")).await;
        let route = over_tls(origin.address, &authority);
        let target = Arc::clone(&route.blue.targets[0]);
        let world = World::new(route);
        let answer = world.get("").await;
        let told = (status(&answer), field(&answer, "x-tidegate-error"));
        assert_eq!(told, (502, Some("connect_failed")), "{answer}");
        until("it is counted", || world.recorder.overflow().connect_errors == 1).await;
        until("the target is told", || target.failures() == 1).await;
        assert!(origin.seen().is_empty(), "{:?}", origin.seen());
    }
}
