//! What clients of HTTP/2 are told besides what h2 says, over real sockets: interim answers (1xx) of
//! targets in front of the final one, and whose answer it is that comes to what was no request.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::floods::{Heard, Raw, get as raw_get};
use super::streams::raw_frame;
use super::testkit::{Act, Origin, PATIENCE, World, field, ok, public, service, table};
use super::wirekit::{H2Client, H2Origin, Says, get, h2c_listener, listener, shake};
use crate::core::model::{ClientLimits, ListenerSpec, Span, TargetProtocol, Transport, WhenIdle};
use crate::core::routing::Link;
use crate::telemetry::EdgeEvent;
use crate::tls::testkit::{Authority, listener_tls};

const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
                    connection: x-hop\r\nx-hop: 1\r\nx-tidegate-error: no\r\n\r\n";
const AT_ONCE: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
                       HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";

/// An origin that sends these, each in a write of its own.
async fn origin(parts: &'static [&'static str]) -> Origin {
    Origin::new(move |_, _| parts.iter().map(|part| Act::Send((*part).to_owned())).collect()).await
}

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn world(origin: &Origin, limits: ClientLimits) -> World {
    let table = table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
    World::listening(table, &[ListenerSpec { limits, ..h2c_listener() }])
}

fn statuses(hints: &[Response<()>]) -> Vec<u16> {
    hints.iter().map(|hint| hint.status().as_u16()).collect()
}

fn link(hint: &Response<()>) -> &str {
    hint.headers()["link"].to_str().expect("ASCII")
}

#[tokio::test]
async fn interim_answers_come_in_front_of_the_final_one() {
    let scripts: [(&'static [&'static str], &[u16]); 5] = [
        (&[HINT, FINAL], &[103]),
        (&[AT_ONCE], &[103]),
        (&[HINT, PROCESSING, HINT, FINAL], &[103, 102, 103]),
        // Nobody waits to be told to go on.
        (&[CONTINUE, HINT, FINAL], &[103]),
        (&[FINAL], &[]),
    ];
    for (parts, expected) in scripts {
        let origin = origin(parts).await;
        let world = world(&origin, ClientLimits::default());
        let client = H2Client::of(&world).await;
        // The second one shows that nothing of the first was left over.
        for _ in 0..2 {
            let (hints, answer) = client.hinted(get("/")).await.expect("an answer");
            assert_eq!(statuses(&hints), expected, "{parts:?}");
            assert_eq!((answer.status, answer.body.as_str()), (200, "fine"), "{parts:?}");
            for hint in hints.iter().filter(|hint| hint.status() == 103) {
                assert_eq!(link(hint), "</a.css>; rel=preload");
                assert_eq!(hint.headers().len(), 1, "{hint:?}");
            }
        }
        for seen in origin.seen() {
            assert_eq!(field(&seen, "x-tidegate-stream"), None, "{seen}");
        }
    }
}

#[tokio::test]
async fn a_hint_is_a_frame_of_its_own_and_comes_over_tls_as_well() {
    let authority = Authority::new();
    let origin = Origin::new(|_, _| {
        vec![
            Act::Send(HINT.to_owned()),
            Act::Wait(Duration::from_millis(500)),
            ok("late").remove(0),
        ]
    })
    .await;
    let routes = || table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
    let clear = World::listening(routes(), &[h2c_listener()]);
    let mut raw = Raw::of(&clear).await;
    raw.send(&raw_get(1)).await;
    let kinds = answers_on(&mut raw, 1).await;
    // The hint, and the answer's header: a frame each.
    assert_eq!(kinds.iter().filter(|frame| frame.kind == 1).count(), 2, "{kinds:?}");
    let tls = Some(listener_tls(&[authority.signs("shop", &["shop.test"])]));
    let world = World::listening(routes(), &[ListenerSpec { tls, ..listener(public()) }]);
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = shake(world.address(), config, "shop.test").await.expect("a handshake");
    let client = H2Client::over(stream).await;
    let (hints, answer) = client.hinted(get("/")).await.expect("an answer");
    assert_eq!((statuses(&hints), answer.body.as_str()), (vec![103], "late"));
}

#[tokio::test]
async fn a_hint_arrives_while_the_answer_is_not_there() {
    let script = |_: &str, _| vec![Act::Send(HINT.to_owned()), Act::Wait(Duration::from_secs(600))];
    let origin = Origin::new(script).await;
    let world = world(&origin, ClientLimits::default());
    let mut client = Raw::of(&world).await;
    client.send(&raw_get(1)).await;
    loop {
        let frame = client.next().await.expect("it goes on");
        if frame.kind == 1 {
            assert_eq!((frame.stream, frame.flags), (1, 0x04));
            assert!(frame.payload.starts_with(b"\x18\x03103"), "{frame:?}");
            break;
        }
    }
}

#[tokio::test]
async fn a_hundred_requests_at_once_get_their_own_hints() {
    let origin = Origin::new(|request, _| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let hint = format!("HTTP/1.1 103 Early Hints\r\nlink: <{path}>\r\n\r\n");
        let mut acts = vec![Act::Send(hint), Act::Wait(Duration::from_millis(100))];
        acts.extend(ok(path));
        acts
    })
    .await;
    let world = world(&origin, ClientLimits::default());
    let client = Arc::new(H2Client::of(&world).await);
    let mut requests = JoinSet::new();
    for n in 0..100 {
        let client = Arc::clone(&client);
        requests.spawn(async move {
            let path = format!("/{n}");
            let (hints, answer) = client.hinted(get(&path)).await.expect("an answer");
            let links: Vec<&str> = hints.iter().map(link).collect();
            assert_eq!((links, answer.body), (vec![format!("<{path}>").as_str()], path));
        });
    }
    let all =
        async { while requests.join_next().await.transpose().expect("no panic").is_some() {} };
    timeout(PATIENCE, all).await.expect("in time");
}

#[tokio::test]
async fn a_tag_that_a_client_makes_up_harms_nobody() {
    let origin = origin(&[HINT, FINAL]).await;
    let world = world(&origin, ClientLimits::default());
    let client = H2Client::of(&world).await;
    for _ in 0..2 {
        let request = Request::get("http://shop.test/")
            .header("x-tidegate-stream", "000000010000000000000000")
            .header("x-tidegate-stream", "1");
        let request = request.body(()).expect("valid");
        let (hints, answer) = client.hinted(request).await.expect("an answer");
        assert_eq!((statuses(&hints), answer.status), (vec![103], 200));
    }
    let plain = World::new(service(0, &[origin.address], &[]));
    plain.get("x-tidegate-stream: 1\r\n").await;
    assert_eq!(origin.seen().len(), 3);
    for seen in origin.seen() {
        assert_eq!(field(&seen, "x-tidegate-stream"), None, "{seen}");
    }
}

#[tokio::test]
async fn a_header_that_ends_inside_of_a_field_is_no_request() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, ClientLimits::default());
    let mut client = Raw::of(&world).await;
    // The value of `a` would go on for as long as the tag is.
    let header = [&[0x82, 0x86, 0x84, 0x01, 0x09][..], b"shop.test", b"\x10\x01a\x2c"].concat();
    client.send(&raw_frame(1, 0x05, 1, &header)).await;
    while !matches!(client.next().await.expect("it is refused").kind, 3 | 7) {}
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn whoever_waits_to_be_told_to_go_on_is_told_once() {
    let expecting = || {
        let request = Request::get("http://shop.test/").header("expect", "100-continue");
        request.body(()).expect("valid")
    };
    let origin = origin(&[CONTINUE, CONTINUE, HINT, FINAL]).await;
    let old = world(&origin, ClientLimits::default());
    let (hints, answer) = H2Client::of(&old).await.hinted(expecting()).await.expect("an answer");
    assert_eq!((statuses(&hints), answer.status), (vec![100, 103], 200));
    // Where the target says nothing, a client of HTTP/2 goes on by itself.
    let target = H2Origin::new(Says { headers: &[], body: "fine", trailers: &[] }, None).await;
    let mut route = service(0, &[target.address], &[]);
    let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    route.blue.link = Arc::new(Link::new(1, transport));
    let new = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
    let (hints, answer) = H2Client::of(&new).await.hinted(expecting()).await.expect("an answer");
    assert_eq!((statuses(&hints), answer.body.as_str()), (Vec::new(), "fine"));
    assert_eq!(target.seen()[0].field("expect"), Some("100-continue"));
}

/// All frames on a stream, up to its end.
async fn answers_on(client: &mut Raw, stream: u32) -> Vec<Heard> {
    let mut frames = Vec::new();
    loop {
        let frame = client.next().await.expect("the connection goes on");
        if frame.stream == stream {
            let is_last = frame.ends_stream() || frame.kind == 3;
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }
}

/// The value of a field that stands in a header by the letter.
fn value_of(header: &[u8], name: &str) -> Option<String> {
    let at = header.windows(name.len()).position(|part| part == name.as_bytes())? + name.len();
    let length = usize::from(*header.get(at)?);
    Some(String::from_utf8_lossy(header.get(at + 1..at + 1 + length)?).into_owned())
}

#[tokio::test]
async fn the_answer_to_what_is_no_request_has_an_id_and_says_whose_it_is() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { header_bytes: 1_024, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut client = Raw::of(&world).await;
    let request = [&[0x82, 0x86, 0x84, 0x01, 0x09][..], b"shop.test"].concat();
    // Fields of 34 bytes each, as they are counted.
    let many = [&request[..], &b"\x00\x01a\x01b".repeat(40)].concat();
    let no_host = vec![0x82, 0x86, 0x84];
    let mut ids = Vec::new();
    for (stream, header, word) in [
        (1, &many, "header_too_large"),
        (5, &no_host, "bad_request"),
        (9, &many, "header_too_large"),
        (13, &no_host, "bad_request"),
    ] {
        client.send(&raw_frame(1, 0x05, stream, header)).await;
        let frames = answers_on(&mut client, stream).await;
        let answer = frames.first().expect("an answer");
        assert_eq!((answer.kind, answer.flags), (1, 0x05), "{answer:?}");
        let field = |name| value_of(&answer.payload, name);
        assert_eq!(field("x-tidegate-error").as_deref(), Some(word), "{answer:?}");
        let id = field("x-request-id").expect("an id");
        assert!(id.len() == 32 && !ids.contains(&id), "{id}");
        ids.push(id);
        // A request of ours is answered as ever on the same connection.
        client.send(&raw_get(stream + 2)).await;
        assert!(answers_on(&mut client, stream + 2).await.len() > 1);
    }
    assert_eq!(world.recorder.edge_count(EdgeEvent::Unreadable), 4);
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test]
async fn a_header_of_just_the_size_that_is_allowed_is_taken() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { header_bytes: 1_024, ..ClientLimits::default() };
    let world = world(&origin, limits);
    let client = H2Client::of(&world).await;
    // As HTTP/2 counts: 32 bytes for each field besides its name and its value.
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop.test")];
    let others: usize = fields.iter().map(|(name, value)| 32 + name.len() + value.len()).sum();
    for (more, expected) in [(0, 200), (1, 431)] {
        let value = "x".repeat(1_023 - others - 32 - "x-large".len() + more);
        let request = Request::get("http://shop.test/").header("x-large", value);
        let status = match client.send(request.body(()).expect("valid"), &[]).await {
            Ok(answer) => answer.status,
            Err(error) => {
                if error.is_reset() {
                    431
                } else {
                    panic!("{error}")
                }
            }
        };
        assert_eq!(status, expected, "{more} more");
    }
}

#[tokio::test]
async fn trailers_of_a_request_are_not_taken_for_another_one() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, ClientLimits::default());
    let mut client = Raw::of(&world).await;
    let header = [&[0x83, 0x86, 0x84, 0x01, 0x09][..], b"shop.test"].concat();
    let upload = [
        raw_frame(1, 0x04, 1, &header),
        raw_frame(0, 0, 1, b"hello"),
        raw_frame(1, 0x05, 1, b"\x00\x03x-t\x011"),
    ];
    client.send(&upload.concat()).await;
    let frames = answers_on(&mut client, 1).await;
    assert_eq!(frames.iter().filter(|frame| frame.kind == 1).count(), 1, "{frames:?}");
    assert!(frames.iter().any(|frame| frame.payload == b"fine"), "{frames:?}");
    let seen = origin.seen();
    assert!(seen.len() == 1 && seen[0].ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{seen:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_an_answer_is_asked_to_leave_and_then_made_to() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits {
        response_write: Span::from_ms(200),
        keepalive: Span::from_ms(300),
        ..ClientLimits::default()
    };
    let world = world(&origin, limits);
    let mut client = Raw::of(&world).await;
    // Nothing may be sent on a stream.
    client.send(&raw_frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    client.send(&raw_get(1)).await;
    let (mut is_reset, mut is_asked) = (false, false);
    while let Some(frame) = client.next().await {
        is_reset |= frame.kind == 3 && frame.stream == 1;
        is_asked |= frame.goaway().is_some();
    }
    assert!(is_reset && is_asked, "reset {is_reset}, asked {is_asked}");
}

#[tokio::test]
async fn a_client_that_was_asked_to_leave_is_left_alone_while_it_says_what_it_takes() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits {
        response_write: Span::from_ms(200),
        keepalive: Span::from_ms(500),
        ..ClientLimits::default()
    };
    let world = world(&origin, limits);
    let mut client = Raw::of(&world).await;
    client.send(&raw_frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    client.send(&raw_get(1)).await;
    while client.next().await.expect("it goes on").goaway().is_none() {}
    // For longer than a silent client has.
    for _ in 0..50 {
        client.send(&raw_frame(8, 0, 0, &[0, 0, 0, 1])).await;
        sleep(Duration::from_millis(50)).await;
    }
    client.send(&raw_frame(6, 0, 0, b"a word!!")).await;
    loop {
        let frame = client.next().await.expect("it is still there");
        if frame.kind == 6 && frame.flags == 1 {
            assert_eq!(frame.payload, b"a word!!");
            break;
        }
    }
    while client.next().await.is_some() {}
}
