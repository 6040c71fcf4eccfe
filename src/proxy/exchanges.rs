//! Exchanges over real sockets: which trailers pass between clients and targets of HTTP/1.1, and that
//! nothing else is different for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::TE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::testkit::{
    Act, Dead, Origin, PATIENCE, World, body, field, service, status, table, until,
};
use super::wirekit::{H2Client, get, h2c_listener, post};
use crate::core::model::{Span, TargetTls, TrailerPolicy, Transport, Verify, WhenIdle};
use crate::core::routing::{Link, ServiceRoute};
use crate::tls::ServerTls;
use crate::tls::testkit::{Authority, listener_tls};

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
/// The same answer, however it arrives.
const SUMMED: [&[&str]; 3] = [
    &[HEAD, "4\r\nfine\r\n0\r\nx-sum: s u m\r\ncontent-length: 9\r\nx-tidegate-side: no\r\n\r\n"],
    &[HEAD, "4\r\nfine\r\n0\r\n", "x-sum: s u m\r\n", "set-cookie: a=b\r\n\r\n"],
    &[HEAD, "4\r\nfine\r\n", "0\r\nX-Sum:s u m \r", "\n\r\n"],
];
const CHUNKS: &str = "\r\n\r\n4\r\nfine\r\n0\r\nx-sum: s u m\r\n\r\n";
const LAST: &str =
    "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: te, close\r\nte: trailers\r\n\r\n";

/// The service whose groups let trailers pass.
fn passing(mut route: ServiceRoute) -> ServiceRoute {
    let transport = Transport { trailers: TrailerPolicy::Pass, ..Transport::default() };
    route.blue.link = Arc::new(Link::new(1, transport.clone()));
    route.green.link = Arc::new(Link::new(2, transport));
    route
}

fn acts(parts: &[&str]) -> Vec<Act> {
    parts.iter().map(|part| Act::Send((*part).to_owned())).collect()
}

/// An origin that says this to everything.
async fn saying(parts: &'static [&'static str]) -> Origin {
    Origin::new(move |_, _| acts(parts)).await
}

/// A world whose only target is this one, and lets trailers pass.
fn world(origin: &Origin) -> World {
    World::new(passing(service(0, &[origin.address], &[])))
}

/// All that a client hears that takes trailers, and whose request is its last one.
async fn heard(world: &World) -> String {
    let mut client = world.client().await;
    client.send(LAST).await;
    client.rest().await
}

#[tokio::test]
async fn trailers_of_answers_reach_clients_of_http_1_1_that_take_them() {
    for parts in SUMMED {
        let origin = saying(parts).await;
        let world = world(&origin);
        let mut client = world.client().await;
        client.send(&format!("{}{LAST}", LAST.replace(", close", ""))).await;
        let heard = client.rest().await;
        assert_eq!(heard.matches(CHUNKS).count(), 2, "{heard}");
        assert!(heard.ends_with(CHUNKS), "{heard}");
        assert_eq!(field(&heard, "trailer"), Some("x-sum"));
        assert_eq!(field(&heard, "x-tidegate-side"), Some("blue"));
        let seen = origin.seen();
        for asked in &seen {
            let hop = (field(asked, "te"), field(asked, "connection"));
            assert_eq!(hop, (Some("trailers"), Some("te")), "{asked}");
            assert_eq!(field(asked, "x-forwarded-for"), Some("127.0.0.1"), "{asked}");
        }
        assert_eq!((seen.len(), origin.connections()), (2, 1), "the connection is kept");
    }
}

#[tokio::test]
async fn trailers_of_answers_reach_clients_of_http_2_that_take_them() {
    for parts in SUMMED {
        let origin = saying(parts).await;
        let route = passing(service(0, &[origin.address], &[]));
        let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
        let client = H2Client::of(&world).await;
        for _ in 0..2 {
            let mut request = get("/");
            request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
            let answer = client.send(request, &[]).await.expect("an answer");
            assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
            assert_eq!(answer.trailer("x-sum"), Some("s u m"));
            assert_eq!(answer.trailers.len(), 1, "{answer:?}");
        }
        let seen = origin.seen();
        assert!(seen.iter().all(|asked| field(asked, "host") == Some("shop.test")), "{seen:?}");
    }
}

#[tokio::test]
async fn trailers_pass_over_tls_to_targets() {
    let authority = Authority::new();
    let certified = listener_tls(&[authority.signs("target", &["shop.internal"])]);
    let config = ServerTls::load(&certified).expect("loaded").config();
    let origin = Origin::over_tls(config, |_, _| acts(SUMMED[0])).await;
    let mut route = service(0, &[origin.address], &[]);
    let tls = TargetTls {
        server_name: Some("shop.internal".to_owned()),
        verify: Verify::Full,
        authorities: Some(Arc::new([authority.der()])),
        identity: None,
    };
    let trailers = TrailerPolicy::Pass;
    let transport = Transport { tls: Some(tls), trailers, ..Transport::default() };
    route.blue.link = Arc::new(Link::new(1, transport));
    let world = World::new(route);
    for _ in 0..2 {
        assert!(heard(&world).await.ends_with(CHUNKS));
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_client_that_takes_no_trailers_gets_none() {
    let origin = saying(SUMMED[0]).await;
    let world = world(&origin);
    for fields in ["", "te: gzip\r\n"] {
        let mut client = world.client().await;
        let asks =
            format!("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n{fields}\r\n");
        client.send(&asks).await;
        let heard = client.rest().await;
        assert!(heard.ends_with("\r\n\r\n4\r\nfine\r\n0\r\n\r\n"), "{heard}");
    }
}

#[tokio::test]
async fn answers_without_trailers_are_what_they_are_without_an_exchange() {
    const ANSWERS: [(&str, &str, &str); 6] = [
        ("GET", "HTTP/1.1 200 Fine\r\ncontent-length: 4\r\n\r\nfine", "\r\n\r\nfine"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", "\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n", "\r\n\r\n"),
        ("GET", "HTTP/1.0 200 OK\r\n\r\nold", "\r\n\r\n3\r\nold\r\n0\r\n\r\n"),
    ];
    for (method, says, ends) in ANSWERS {
        let script = move |_: &str, _: usize| {
            let close = says.starts_with("HTTP/1.0").then_some(Act::Close);
            acts(&[says]).into_iter().chain(close).collect::<Vec<_>>()
        };
        let origin = Origin::new(script).await;
        let world = world(&origin);
        let mut client = world.client().await;
        client.send(&LAST.replacen("GET", method, 1)).await;
        let heard = client.rest().await;
        assert!(heard.ends_with(ends), "{heard}");
        assert_eq!(heard.matches("\r\n\r\n").count(), ends.matches("\r\n\r\n").count(), "{heard}");
        let line = says.lines().next().expect("a line").replace("HTTP/1.0", "HTTP/1.1");
        assert!(heard.starts_with(&format!("{line}\r\n")), "{heard}");
        assert_eq!(field(&heard, "x-tidegate-side"), Some("blue"), "{heard}");
    }
}

const UPLOAD: &str = "POST / HTTP/1.1\r\nhost: shop.test\r\n\
    trailer: x-sum, host, x_forwarded_for, X-Forwarded-For, transfer-encoding\r\n\
    transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: s u m\r\nhost: evil.test\r\n\
    x_forwarded_for: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nTransfer-Encoding: gzip\r\n\
    x-unnamed: 1\r\n\r\n";

fn check_upload(request: &str) {
    assert!(request.ends_with("\r\n0\r\nx-sum: s u m\r\n\r\n"), "{request}");
    assert_eq!(field(request, "host"), Some("shop.test"), "{request}");
    assert_eq!(field(request, "x-forwarded-for"), Some("127.0.0.1"), "{request}");
    for gone in ["evil", "6.6.6.6", "gzip", "unnamed"] {
        assert!(!request.contains(gone), "{request}");
    }
}

#[tokio::test]
async fn announced_trailers_of_requests_reach_targets_without_what_is_never_one() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin);
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(UPLOAD).await;
        let answer = client.answer().await;
        assert_eq!((status(&answer), body(&answer)), (200, "fine"));
    }
    for byte in UPLOAD.as_bytes().chunks(1) {
        client.send_bytes(byte).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&client.answer().await), 200);
    let seen = origin.seen();
    assert_eq!((seen.len(), origin.connections()), (3, 1));
    for request in &seen {
        check_upload(request);
    }
    assert!(seen[0].contains("\r\n\r\n5\r\nhello\r\n0\r\n"), "{seen:?}");
}

#[tokio::test]
async fn requests_that_come_at_once_keep_their_own_trailers() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin);
    let upload = |trailers: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: shop.test\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\
             \r\n1\r\na\r\n0\r\n{trailers}\r\n"
        )
    };
    let mut client = world.client().await;
    let sums = ["", "x-sum: 1\r\n", "x-sum: at: 10: 5\r\n", ""];
    client.send(&sums.map(upload).concat()).await;
    for _ in sums {
        assert_eq!(body(&client.answer().await), "fine");
    }
    for (request, sum) in origin.seen().iter().zip(sums) {
        assert!(request.ends_with(&format!("\r\n\r\n1\r\na\r\n0\r\n{sum}\r\n")), "{request}");
    }
}

#[tokio::test]
async fn a_trailer_that_hides_a_line_end_breaks_its_connection_and_is_never_whole_at_a_target() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin);
    let (head, _) = UPLOAD.split_once("X-Sum").expect("trailers");
    for line_end in ["\r", "\n", "\r\n ", "\0"] {
        let trailer = format!("x-sum: a{line_end}host: b\r\n\r\n");
        let mut client = world.client().await;
        client.send(&format!("{head}{trailer}")).await;
        let heard = client.rest().await;
        assert!(!heard.contains(" 200 "), "{heard}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

#[tokio::test]
async fn a_client_that_waits_for_the_word_is_told_to_go_on() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin);
    let upload = UPLOAD.replace("host: shop.test", "host: shop.test\r\nexpect: 100-continue");
    let (head, chunks) = upload.split_once("\r\n\r\n").expect("a header");
    let mut client = world.client().await;
    client.send(&format!("{head}\r\n\r\n")).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 100 "));
    client.send(chunks).await;
    assert_eq!(body(&client.answer().await), "fine");
    let seen = origin.seen();
    check_upload(&seen[0]);
    assert_eq!(field(&seen[0], "expect"), Some("100-continue"));
}

#[tokio::test]
async fn interim_answers_pass_in_front_of_the_final_one() {
    const HINTS: &str =
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nx-tidegate-error: no\r\n\r\n";
    const HINTED: &[&str] = &[HINTS, HINTS, HEAD, "4\r\nfine\r\n0\r\nx-sum: s u m\r\n\r\n"];
    let origin = saying(HINTED).await;
    let world = world(&origin);
    let mut client = world.client().await;
    client.send(LAST).await;
    for _ in 0..2 {
        let hint = client.answer().await;
        assert_eq!((status(&hint), field(&hint, "link")), (103, Some("</a.css>")));
        assert_eq!(field(&hint, "x-tidegate-error"), None, "only the proxy says that");
    }
    let answer = client.rest().await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with(CHUNKS), "{answer}");
    let too_many = Origin::new(|_, _| acts(&[HINTS; 33])).await;
    let world = self::world(&too_many);
    let heard = heard(&world).await;
    assert!(heard.contains("HTTP/1.1 502 "), "{heard}");
    until("it is counted", || world.recorder.overflow().broken == 1).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_counted_as_broken() {
    const BROKEN: [&[&str]; 4] = [
        &[HEAD, "4\r\nfine\r\n"],
        &[HEAD, "4\r\nfine\r\n0\r\nx-sum: s u m\r\n"],
        &[HEAD, "4\r\nfine\r\n-1\r\n"],
        &["HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", "4\r\nfine\r\n"],
    ];
    for parts in BROKEN {
        let end = |parts: &[&str]| {
            // Waits, so that what came before its end is passed on before it.
            let wait = Act::Wait(Duration::from_millis(50));
            acts(parts).into_iter().chain([wait, Act::Close]).collect::<Vec<_>>()
        };
        let origin = Origin::new(move |_, _| end(parts)).await;
        let route = passing(service(0, &[origin.address], &[]));
        let target = Arc::clone(&route.blue.targets[0]);
        let world = World::new(route);
        let heard = heard(&world).await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
        assert!(!heard.contains("0\r\n\r\n") && !heard.contains("s u m"), "{heard}");
        until("it is counted", || world.recorder.overflow().broken == 1).await;
        until("the target is told", || target.failures() == 1).await;
        assert_eq!(origin.seen().len(), 1, "nothing is tried again");
    }
}

#[tokio::test]
async fn a_target_that_says_nothing_or_nothing_right_is_blamed() {
    async fn check(script: fn() -> Vec<Act>, expected: (u16, &str)) {
        let origin = Origin::new(move |_, _| script()).await;
        let mut route = passing(service(0, &[origin.address], &[]));
        route.timeouts.read = Span::from_ms(100);
        let world = World::new(route);
        let heard = heard(&world).await;
        let told = field(&heard, "x-tidegate-error").unwrap_or_default();
        assert_eq!((status(&heard), told), expected, "{heard}");
        until("it is counted", || world.recorder.overflow().failed() == 1).await;
    }
    check(|| vec![Act::Wait(Duration::from_secs(600))], (504, "target_timeout")).await;
    check(|| vec![Act::Close], (502, "target_broken")).await;
    check(|| acts(&["nonsense\r\n\r\n"]), (502, "target_broken")).await;
    check(|| acts(&["HTTP/1.1 101 Go\r\n\r\n"]), (502, "target_broken")).await;
    check(
        || acts(&["HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"]),
        (502, "target_broken"),
    )
    .await;
}

#[tokio::test]
async fn another_target_has_what_one_did_not_take_and_blue_what_green_fails_at() {
    let origin = saying(SUMMED[0]).await;
    let dead = Dead::new();
    let (whole, _) = UPLOAD.split_once("host: evil").expect("trailers");
    let hop = "te: trailers\r\nconnection: te, close\r\nhost: shop";
    let upload = format!("{whole}\r\n").replace("host: shop", hop);
    let world_of = |route: ServiceRoute| World::new(passing(route));
    let world = world_of(service(0, &[dead.address, origin.address], &[]));
    for _ in 0..2 {
        let mut client = world.client().await;
        client.send(&upload).await;
        assert!(client.rest().await.ends_with(CHUNKS));
    }
    assert!(origin.seen().iter().all(|seen| seen.ends_with("\r\n0\r\nx-sum: s u m\r\n\r\n")));
    let green = saying(&["HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"]).await;
    let world = world_of(service(10_000, &[origin.address], &[green.address]));
    let rescued = heard(&world).await;
    assert_eq!(field(&rescued, "x-tidegate-side"), Some("blue"));
    assert!(rescued.ends_with(CHUNKS), "{rescued}");
    let mut client = world.client().await;
    client.send(&upload).await;
    assert_eq!(status(&client.rest().await), 503, "a POST is not repeated");
    until("both are counted", || world.recorder.overflow().requests() == 2).await;
    assert_eq!(world.recorder.overflow().rescued, 1);
}

#[tokio::test]
async fn a_second_attempt_at_a_group_without_trailers_is_like_any_other() {
    let (blue, dead) = (Origin::saying("blue").await, Dead::new());
    let mut route = passing(service(10_000, &[blue.address], &[dead.address]));
    route.blue.link = Arc::new(Link::new(1, Transport::default()));
    let world = World::new(route);
    let mut client = world.client().await;
    client.send(UPLOAD).await;
    assert_eq!(body(&client.answer().await), "blue");
    let answer = client.get("/", "te: trailers\r\n").await;
    assert_eq!((status(&answer), body(&answer)), (200, "blue"));
    let seen = blue.seen();
    assert!(seen[0].ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{seen:?}");
    assert_eq!(field(&seen[1], "te"), None);
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_whole() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut asked = Vec::new();
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                stream.read_buf(&mut asked).await.expect("a header");
            }
            let early = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly";
            stream.write_all(early).await.expect("sent");
            // The proxy leaves it: it has not read the request.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    let world = World::new(passing(service(0, &[address], &[])));
    let mut client = world.client().await;
    let (head, _) = UPLOAD.split_once("hello").expect("a body");
    client.send(head).await;
    let answer = client.answer().await;
    assert_eq!((body(&answer), field(&answer, "connection")), ("early", Some("close")));
    assert!(heard(&world).await.ends_with("early"));
}

/// Answers the first request at once and without end, and takes nothing of its body.
async fn dripping() -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    // So that not much of a body gets lost in it.
    socket.set_recv_buffer_size(16 * 1_024).expect("set");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let socket = socket.listen(16).expect("it listens");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.expect("accepted");
        let mut asked = Vec::new();
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            stream.read_buf(&mut asked).await.expect("a header");
        }
        stream.write_all(HEAD.as_bytes()).await.expect("sent");
        while stream.write_all(b"1\r\n.\r\n").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    address
}

#[tokio::test]
async fn a_target_that_answers_in_drips_and_takes_nothing_of_an_upload_is_cut_after_write() {
    let mut route = passing(service(0, &[dripping().await], &[]));
    route.timeouts.write = Span::from_ms(500);
    // The system has no say in this.
    route.timeouts.unacknowledged = Span::ZERO;
    let target = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route);
    let stream = TcpStream::connect(world.address()).await.expect("connected");
    let (mut reading, mut writing) = stream.into_split();
    let (head, _) = UPLOAD.split_once("5\r\nhello").expect("a body");
    let part = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let uploading = tokio::spawn(async move {
        let mut sent = writing.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = writing.write_all(part.as_bytes()).await;
        }
    });
    let mut heard = Vec::new();
    let read = async { while reading.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {} };
    timeout(PATIENCE, read).await.expect("it is cut, although the answer goes on");
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    assert!(!heard.ends_with("0\r\n\r\n"), "{heard}");
    until("the target is blamed", || target.failures() == 1).await;
    uploading.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_is_gone_is_waited_for_by_nobody() {
    let origin = Origin::new(|_, _| vec![Act::Wait(Duration::from_secs(600))]).await;
    let route = passing(service(0, &[origin.address], &[]));
    let target = Arc::clone(&route.blue.targets[0]);
    let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
    let client = H2Client::of(&world).await;
    for parts in [&[][..], &["a part", "and the last"]] {
        let mut request = if parts.is_empty() { get("/") } else { post("/", &[]) };
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        tokio::select! {
            answer = client.send(request, parts) => panic!("nobody answers: {answer:?}"),
            () = until("the target has it", || target.in_flight() == 1) => {}
        }
        // Its stream was reset just now, while `read` has a minute to run.
        until("it is over", || target.in_flight() == 0).await;
    }
    assert_eq!(target.failures(), 0, "it was the client who left");
}
