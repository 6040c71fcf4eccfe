//! HTTP/2 with clients over real sockets: in the clear, and what it becomes at a target of HTTP/1.1.

use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::floods::{Raw, get as raw_get};
use super::testkit::{
    Act, Client, Dead, Origin, PATIENCE, World, field, ok, service, table, until,
};
use super::wirekit::{H2Answer, H2Client, get, h2c_listener, post};
use crate::core::model::{ClientLimits, ListenerSpec, Span, WhenIdle};
use crate::telemetry::EdgeEvent;

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn world(origin: &Origin, limits: ClientLimits) -> World {
    let table = table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
    World::listening(table, &[ListenerSpec { limits, ..h2c_listener() }])
}

#[tokio::test]
async fn requests_reach_a_target_of_http_1_with_their_host_and_body() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, ClientLimits::default());
    let client = H2Client::of(&world).await;
    let answer = client.get("/a?b=c").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    assert_eq!(answer.field("x-tidegate-side"), Some("blue"));
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    let sized = post("/b", &[("content-length", "5")]);
    assert_eq!(client.send(sized, &["he", "llo"]).await.expect("an answer").status, 200);
    let seen = origin.seen();
    assert!(seen[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[1].starts_with("POST /b HTTP/1.1\r\n"), "{}", seen[1]);
    assert!(seen[1].ends_with("\r\n\r\nhello"), "{}", seen[1]);
    for request in &seen {
        let check = |name, expected| assert_eq!(field(request, name), Some(expected), "{request}");
        check("host", "shop.test");
        check("x-forwarded-host", "shop.test");
        check("x-forwarded-for", "127.0.0.1");
        check("x-forwarded-proto", "http");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_body_without_a_length_ends_once_however_its_last_frame_looks() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, ClientLimits::default());
    let client = H2Client::of(&world).await;
    let bodies: [&[&'static str]; 4] = [&["hello"], &["hello", ""], &["", "hello", ""], &[""]];
    for body in bodies {
        let answer = client.send(post("/", &[]), body).await.expect("an answer");
        assert_eq!(answer.body, "fine", "{body:?}");
    }
    let after = client.send(post("/after", &[]), &["hello"]).await.expect("an answer");
    assert_eq!(after.status, 200);
    let seen = origin.seen();
    // A body that ended twice would be the beginning of another request.
    assert_eq!(seen.len(), 5, "{seen:#?}");
    for request in &seen[..3] {
        assert!(request.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{request}");
    }
    assert!(!seen[3].contains("hello"), "{}", seen[3]);
    assert!(seen[4].starts_with("POST /after "), "{}", seen[4]);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn one_stream_does_not_wait_for_another() {
    let origin = Origin::new(|request, _| {
        if request.starts_with("GET /slow ") {
            vec![Act::Wait(Duration::from_secs(600))]
        } else {
            ok("quick")
        }
    })
    .await;
    let world = world(&origin, ClientLimits::default());
    let client = H2Client::of(&world).await;
    let slow = async { client.get("/slow").await };
    let quick = async {
        until("the slow one has begun", || !origin.seen().is_empty()).await;
        client.get("/quick").await
    };
    tokio::select! {
        _ = slow => panic!("nobody answers this"),
        answer = quick => assert_eq!(answer.body, "quick"),
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused_and_its_connection_goes_on() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { header_bytes: 8_192, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let client = H2Client::of(&world).await;
    let large = Request::get("http://shop.test/").header("x-large", "x".repeat(10_000));
    match client.send(large.body(()).expect("valid"), &[]).await {
        Ok(answer) => assert_eq!(answer.status, 431),
        Err(error) => assert!(error.is_reset(), "{error}"),
    }
    assert_eq!(client.get("/").await.body, "fine");
    let many = (0..200).fold(Request::get("http://shop.test/"), |all, _| all.header("x", "1"));
    let answer = client.send(many.body(()).expect("valid"), &[]).await.expect("an answer");
    assert_eq!((answer.status, answer.field("x-tidegate-error")), (431, Some("header_too_large")));
    assert_eq!(client.get("/").await.body, "fine");
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_and_without_a_length() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { body_bytes: 8, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let client = H2Client::of(&world).await;
    let refused = |answer: &H2Answer| {
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.field("x-tidegate-error"), Some("body_too_large"));
    };
    let sized = post("/", &[("content-length", "12")]);
    refused(&client.send(sized, &["hello hello!"]).await.expect("an answer"));
    assert!(origin.seen().is_empty());
    refused(&client.send(post("/", &[]), &["hello ", "hello!"]).await.expect("an answer"));
    let small = client.send(post("/", &[]), &["hello"]).await.expect("an answer");
    assert_eq!(small.status, 200);
}

#[tokio::test]
async fn a_connection_without_a_first_request_in_time_is_closed() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { header: Span::from_ms(200), ..ClientLimits::default() };
    let world = world(&origin, limits);
    let used = H2Client::of(&world).await;
    assert_eq!(used.get("/").await.status, 200);
    let mut greeted = H2Client::of(&world).await;
    greeted.ended().await;
    let stream = TcpStream::connect(world.address()).await.expect("connected");
    // What it reads is the proxy's greeting.
    Client::over(stream).rest().await;
    let count = || world.recorder.edge_count(EdgeEvent::HeaderTimeout);
    until("both are counted", || count() == 2).await;
    assert_eq!(used.get("/").await.status, 200, "the time is for the first request");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let origin = Origin::new(|_, _| [vec![Act::Wait(LATE)], ok("fine")].concat()).await;
    let limits = ClientLimits { keepalive: Span::from_secs(1), ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut client = H2Client::of(&world).await;
    let asked = Instant::now();
    assert_eq!(client.get("/").await.status, 200);
    client.ended().await;
    assert!(
        asked.elapsed() >= LATE + Duration::from_secs(1),
        "its time begins with its answer's end"
    );
    assert_eq!(world.recorder.edge_count(EdgeEvent::HeaderTimeout), 0);
}

#[tokio::test]
async fn a_client_that_takes_its_last_answer_slowly_is_not_idle_before_it_is_silent() {
    const PART: usize = 32 << 10;
    let origin = Origin::new(|_, _| ok(&"x".repeat(32 * PART))).await;
    let limits = ClientLimits { keepalive: Span::from_ms(300), ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut client = Raw::of(&world).await;
    client.send(&raw_get(1)).await;
    let (mut taken, mut told) = (0, 0);
    loop {
        let frame = client.next().await.expect("it is not cut");
        assert_eq!(frame.goaway(), None, "after {taken} bytes");
        if frame.kind == 0 {
            taken += frame.payload.len();
        }
        if frame.ends_stream() {
            break;
        }
        // Its request is long over: all of the answer lies on the way to it.
        if taken - told >= PART {
            sleep(Duration::from_millis(50)).await;
            let more = u32::try_from(taken - told).expect("not much");
            client.send(&raw_frame(8, 0, 0, &more.to_be_bytes())).await;
            told = taken;
        }
    }
    assert_eq!(taken, 32 * PART);
    while client.next().await.expect("it is asked first").goaway().is_none() {}
    // It does not answer, and is made to leave.
    while client.next().await.is_some() {}
}

#[tokio::test]
async fn a_client_has_so_many_streams_at_once_and_further_ones_are_refused() {
    let origin = Origin::new(|_, _| vec![Act::Wait(Duration::from_secs(600))]).await;
    let limits = ClientLimits { h2_streams: 3, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut stream = TcpStream::connect(world.address()).await.expect("connected");
    let header = [&[0x82, 0x86, 0x84, 0x01, 0x09][..], b"shop.test"].concat();
    let mut asked = [PREFACE, &raw_frame(4, 0, 0, &[])].concat();
    for number in 0..5 {
        // END_STREAM and END_HEADERS.
        asked.extend(raw_frame(1, 0x05, 2 * number + 1, &header));
    }
    stream.write_all(&asked).await.expect("sent");
    let mut heard = Vec::new();
    // A frame RST_STREAM that says REFUSED_STREAM, for each of the last two.
    let refusals = [7, 9].map(|stream| raw_frame(3, 0, stream, &[0, 0, 0, 7]));
    let has = |heard: &[u8], part: &[u8]| heard.windows(part.len()).any(|bytes| bytes == part);
    let listen = async {
        while !refusals.iter().all(|refusal| has(&heard, refusal)) {
            let read = stream.read_buf(&mut heard).await.expect("read");
            assert!(read > 0, "the connection ends: {heard:?}");
        }
    };
    timeout(PATIENCE, listen).await.expect("both are refused in time");
    until("the others are at the target", || origin.seen().len() == 3).await;
    assert_eq!(world.proxy.in_flight(), 3);
}

/// A frame by hand: a client of a library keeps to what it is told.
pub(super) fn raw_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    let head = [0, 0, length, kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Just before the third look within a second of idleness, from the connection's beginning.
const LATE: Duration = Duration::from_millis(700);

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn a_shutdown_lets_streams_finish() {
    let origin = Origin::new(|_, _| {
        let mut acts = vec![Act::Wait(Duration::from_millis(300))];
        acts.extend(ok("late"));
        acts
    })
    .await;
    let world = world(&origin, ClientLimits::default());
    let mut client = H2Client::of(&world).await;
    let call = tokio::spawn(async move {
        let answer = client.get("/").await;
        client.ended().await;
        answer
    });
    until("it is in flight", || world.proxy.in_flight() == 1).await;
    assert_eq!(world.proxy.shutdown(Duration::from_secs(8)).await, 0);
    assert_eq!(call.await.expect("no panic").body, "late");
}

#[tokio::test]
async fn what_the_proxy_says_itself_to_a_call_of_grpc_is_in_its_own_words() {
    let dead = Dead::new();
    let table = table(service(0, &[dead.address], &[]), WhenIdle::Refuse);
    let world = World::listening(table, &[h2c_listener()]);
    let client = H2Client::of(&world).await;
    let call = post("/shop.Cart/Add", &[("content-type", "application/grpc"), ("te", "trailers")]);
    let answer = client.send(call, &["message"]).await.expect("an answer");
    assert_eq!((answer.status, answer.trailer("grpc-status")), (200, Some("14")));
    assert_eq!(answer.field("x-tidegate-error"), Some("connect_failed"));
    let plain = client.send(get("/"), &[]).await.expect("an answer");
    assert_eq!((plain.status, plain.field("x-tidegate-error")), (502, Some("connect_failed")));
}
