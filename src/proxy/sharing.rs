//! Connections of HTTP/2 to targets, over real sockets: requests share them, one does not harm
//! another on them, and their end is no request's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::h2kit::{Does, FINE, LATE, Stage, Terms, h2c, to};
use super::testkit::{Dead, PATIENCE, World, body, field, service, status, table, until};
use super::upgradekit::End;
use super::wirekit::{H2Client, get, h2c_listener, post, whole_of};
use crate::core::model::{Span, TrailerPolicy, WhenIdle};
use crate::core::routing::ServiceRoute;

const ASKS: &str = "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
const SILENT: &[Does] = &[Does::Stays];
const BEGUN: &[Does] = &[Does::Says(200, &[]), Does::Sends("begun"), Does::Stays];

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn multiplexed(route: ServiceRoute) -> World {
    World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()])
}

/// What all of these requests came to.
async fn all<T: 'static>(requests: JoinSet<T>) -> Vec<T> {
    timeout(PATIENCE, requests.join_all()).await.expect("none is held up")
}

/// So many requests of one client at once, with the statuses of their answers.
fn at_once(client: &Arc<H2Client>, count: usize, path: &'static str) -> JoinSet<u16> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let client = Arc::clone(client);
        requests.spawn(async move { client.get(path).await.status });
    }
    requests
}

#[tokio::test]
async fn requests_of_one_client_that_begin_at_once_share_a_connection_and_so_does_the_next() {
    let origin = Stage::always(LATE).await;
    let world = multiplexed(to(&origin));
    let client = Arc::new(H2Client::of(&world).await);
    let requests = at_once(&client, 50, "/");
    until("all are at the target", || origin.seen().len() == 50).await;
    origin.go_on();
    assert_eq!(all(requests).await, [200; 50]);
    assert_eq!(client.get("/").await.body, "fine");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn requests_of_many_clients_that_begin_at_once_share_a_connection_and_so_does_the_next() {
    let origin = Stage::always(LATE).await;
    let world = World::new(to(&origin));
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let mut client = world.client().await;
        requests.spawn(async move { status(&client.get("/", "").await) });
    }
    until("all are at the target", || origin.seen().len() == 50).await;
    origin.go_on();
    assert_eq!(all(requests).await, [200; 50]);
    assert_eq!(body(&world.get("").await), "fine");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn small_uploads_share_a_connection_with_what_has_no_body() {
    let origin = Stage::always(FINE).await;
    let world = World::new(to(&origin));
    let mut pending = Vec::new();
    for _ in 0..5 {
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 4\r\n\r\n").await;
        pending.push(client);
    }
    until("all are at the target", || origin.seen().len() == 5).await;
    assert_eq!(body(&world.get("").await), "fine");
    for client in &mut pending {
        client.send("body").await;
        assert_eq!(body(&client.answer().await), "fine");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn more_connections_are_made_to_a_target_that_grants_each_few_streams() {
    let terms = Terms { streams: Some(2), ..Terms::default() };
    let origin = Stage::on(terms, |path, _| if path == "/late" { LATE } else { FINE }).await;
    let world = multiplexed(to(&origin));
    let client = Arc::new(H2Client::of(&world).await);
    assert_eq!(client.get("/").await.body, "fine");
    let requests = at_once(&client, 6, "/late");
    until("none waits for another's end", || origin.seen().len() == 7).await;
    assert!(origin.connections() >= 3, "{}", origin.connections());
    origin.go_on();
    assert_eq!(all(requests).await, [200; 6]);
    assert_eq!(world.recorder.overflow().failed(), 0);
}

#[tokio::test]
async fn all_that_ask_a_dead_target_at_once_are_told_so() {
    let dead = Dead::new();
    let mut route = service(0, &[dead.address], &[]);
    route.blue.link = h2c(1, TrailerPolicy::Drop);
    let world = multiplexed(route);
    let client = Arc::new(H2Client::of(&world).await);
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let client = Arc::clone(&client);
        requests.spawn(async move {
            let answer = client.get("/").await;
            (answer.status, answer.field("x-tidegate-error").map(str::to_owned))
        });
    }
    for (status, word) in all(requests).await {
        assert!([502, 503].contains(&status) && word.is_some(), "{status} {word:?}");
    }
    until("each is counted", || world.recorder.overflow().connect_errors == 20).await;
}

/// Asks until an answer came over another connection than the first; every answer is `fine`.
async fn has_moved(client: &H2Client, origin: &Stage) {
    let moved = async {
        loop {
            let answer = client.get("/").await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
            if origin.connections() > 1 {
                return;
            }
        }
    };
    timeout(PATIENCE, moved).await.expect("another connection is made");
}

#[tokio::test]
async fn a_target_that_takes_leave_gets_the_next_requests_anew_and_ends_those_it_has() {
    const LONG: &[Does] =
        &[Does::Says(200, &[]), Does::Sends("be"), Does::Waits, Does::Finishes("gun")];
    let origin = Stage::new(|path, _| if path == "/long" { LONG } else { FINE }).await;
    let route = to(&origin);
    let target = Arc::clone(&route.blue.targets[0]);
    let world = multiplexed(route);
    let client = H2Client::of(&world).await;
    assert_eq!(client.get("/").await.body, "fine");
    let (long, _) = client.begin(get("/long"), true).await;
    until("it is at the target", || origin.seen().len() == 2).await;
    origin.farewell();
    has_moved(&client, &origin).await;
    origin.go_on();
    let long = whole_of(long).await.expect("it is not cut");
    assert_eq!((long.status, long.body.as_str()), (200, "begun"));
    let again = client.get("/").await;
    assert_eq!((again.status, origin.connections()), (200, 2));
    assert_eq!((target.failures(), world.recorder.overflow().failed()), (0, 0));
}

#[tokio::test]
async fn a_target_that_takes_leave_while_nothing_is_asked_is_connected_to_anew() {
    let origin = Stage::always(FINE).await;
    let world = multiplexed(to(&origin));
    let client = H2Client::of(&world).await;
    assert_eq!(client.get("/").await.body, "fine");
    origin.farewell();
    has_moved(&client, &origin).await;
    assert_eq!(world.recorder.overflow().failed(), 0);
}

#[tokio::test]
async fn a_target_that_closes_an_idle_connection_without_a_word_is_connected_to_anew() {
    let origin = Stage::always(FINE).await;
    let world = multiplexed(to(&origin));
    let client = H2Client::of(&world).await;
    assert_eq!(client.get("/").await.body, "fine");
    origin.hang_up();
    has_moved(&client, &origin).await;
    origin.hang_up();
    // Whether the target has it, nobody may be able to tell.
    let posted = client.send(post("/", &[]), &["once"]).await.expect("an answer");
    assert!([200, 502].contains(&posted.status), "{posted:?}");
    assert_eq!(client.get("/").await.body, "fine");
    let posts = origin.seen().iter().filter(|asked| asked.method == "POST").count();
    assert!(posts <= 1, "{posts}");
}

const LARGE: usize = 32 << 20;
/// Whoever takes nothing for so long reads nothing.
const HELD_UP: Duration = Duration::from_millis(200);

/// A target with a large answer, and small ones.
async fn pouring() -> Stage {
    const POURS: &[Does] = &[Does::Says(200, &[]), Does::Pours(LARGE), Does::Finishes("")];
    Stage::new(|path, _| if path == "/large" { POURS } else { FINE }).await
}

/// Waits until so many large answers are under way, and nothing of them is taken any more.
async fn are_held_up(origin: &Stage, count: usize) {
    until("all are at the target", || origin.seen().len() == count).await;
    let steady = async {
        let mut before = 0;
        loop {
            sleep(HELD_UP).await;
            let now = origin.poured();
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    let poured = timeout(PATIENCE, steady).await.expect("they are held up");
    assert!(poured < count * LARGE, "{poured} bytes were taken for those who read nothing");
}

#[tokio::test]
async fn clients_of_http_1_1_that_read_nothing_hold_up_nobody_on_their_connection_to_a_target() {
    for count in [1, 5] {
        let origin = pouring().await;
        let world = World::new(to(&origin));
        let mut readers = Vec::new();
        for _ in 0..count {
            readers.push(reads_nothing(world.address()).await);
        }
        are_held_up(&origin, count).await;
        assert_eq!(body(&world.get("").await), "fine");
        assert_eq!(origin.connections(), 1);
    }
}

/// A client that asks for the large answer and has room for little of it.
async fn reads_nothing(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1_024).expect("set");
    let mut stream = socket.connect(address).await.expect("connected");
    let asks = ASKS.replace("GET / ", "GET /large ");
    stream.write_all(asks.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn clients_of_http_2_that_read_nothing_hold_up_nobody_on_their_connection_to_a_target() {
    for count in [1, 5] {
        let origin = pouring().await;
        let world = multiplexed(to(&origin));
        let mut readers = Vec::new();
        for _ in 0..count {
            let client = H2Client::of(&world).await;
            let (answer, _) = client.begin(get("/large"), true).await;
            let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
            readers.push((client, answer));
        }
        are_held_up(&origin, count).await;
        assert_eq!(H2Client::of(&world).await.get("/").await.body, "fine");
        assert_eq!(origin.connections(), 1);
    }
}

/// A target that never answers to `/silent`, and not to the end to `/begun`.
async fn unending() -> Stage {
    Stage::new(|path, _| match path {
        "/silent" => SILENT,
        "/begun" => BEGUN,
        _ => FINE,
    })
    .await
}

#[tokio::test]
async fn a_client_of_http_2_that_leaves_has_its_stream_reset_and_the_connection_goes_on() {
    let origin = unending().await;
    let route = to(&origin);
    let target = Arc::clone(&route.blue.targets[0]);
    let world = multiplexed(route);
    let client = H2Client::of(&world).await;
    let (silent, _) = client.begin(get("/silent"), true).await;
    until("it is at the target", || origin.seen().len() == 1).await;
    drop(silent);
    until("its stream is reset", || origin.resets() == [Reason::CANCEL]).await;
    let (begun, _) = client.begin(get("/begun"), true).await;
    let begun = timeout(PATIENCE, begun).await.expect("in time").expect("an answer");
    drop(begun);
    until("its stream is reset", || origin.resets() == [Reason::CANCEL; 2]).await;
    let (upload, sending) = client.begin(post("/silent", &[]), false).await;
    until("it is at the target", || origin.seen().len() == 3).await;
    drop((upload, sending));
    until("its stream is reset", || origin.resets() == [Reason::CANCEL; 3]).await;
    assert_eq!(client.get("/").await.body, "fine");
    assert_eq!(
        (origin.connections(), target.failures()),
        (2, 0),
        "one is for a body without a length"
    );
    until("all are over", || target.in_flight() == 0).await;
}

#[tokio::test]
async fn a_client_of_http_1_1_that_is_gone_has_its_stream_reset_and_the_connection_goes_on() {
    let origin = unending().await;
    let route = to(&origin);
    let target = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route);
    for (number, path) in ["/silent", "/begun"].into_iter().enumerate() {
        let mut client = End::to(world.address()).await;
        client.send(ASKS.replace("GET / ", &format!("GET {path} ")).as_bytes()).await;
        until("it is at the target", || origin.seen().len() == number + 1).await;
        if path == "/begun" {
            assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        }
        // One that closes in good order might still wait for its answer.
        client.stream.set_zero_linger().expect("set");
        drop(client);
        until("its stream is reset", || origin.resets().len() == number + 1).await;
    }
    assert_eq!(origin.resets(), [Reason::CANCEL; 2]);
    assert_eq!(body(&world.get("").await), "fine");
    assert_eq!((origin.connections(), target.failures()), (1, 0));
}

#[tokio::test]
async fn a_target_that_is_not_waited_for_any_longer_has_its_stream_reset_and_is_blamed() {
    let origin = unending().await;
    let mut route = to(&origin);
    route.timeouts.read = Span::from_ms(300);
    let target = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route);
    let mut client = world.client().await;
    let answer = client.get("/silent", "").await;
    let told = (status(&answer), field(&answer, "x-tidegate-error"));
    assert_eq!(told, (504, Some("target_timeout")));
    until("the target is told", || target.failures() == 1).await;
    until("its stream is reset", || origin.resets() == [Reason::CANCEL]).await;
    until("it is counted", || world.recorder.overflow().timeouts == 1).await;
    assert_eq!(body(&world.get("").await), "fine");
    assert_eq!(origin.connections(), 1);
}

/// Resets its stream in the middle of the answer.
const BREAKS: &[Does] =
    &[Does::Says(200, &[]), Does::Sends("half"), Does::Waits, Does::Resets(Reason::INTERNAL_ERROR)];

/// A target whose first answer breaks off, and all that is known of that here.
async fn breaking() -> (Stage, ServiceRoute) {
    let origin = Stage::new(|_, number| if number == 0 { BREAKS } else { FINE }).await;
    let route = to(&origin);
    (origin, route)
}

#[tokio::test]
async fn an_answer_that_a_target_resets_is_cut_for_a_client_of_http_1_1_and_counted_as_broken() {
    let (origin, route) = breaking().await;
    let target = Arc::clone(&route.blue.targets[0]);
    let world = World::new(route);
    let mut client = End::to(world.address()).await;
    client.send(ASKS.as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(client.take(9).await, b"4\r\nhalf\r\n");
    origin.go_on();
    assert_eq!(client.rest().await, b"", "the last chunk would make it whole");
    until("it is counted", || world.recorder.overflow().broken == 1).await;
    until("the target is told", || target.failures() == 1).await;
    assert_eq!(body(&world.get("").await), "fine");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_a_target_resets_is_reset_for_a_client_of_http_2_and_counted_as_broken() {
    let (origin, route) = breaking().await;
    let target = Arc::clone(&route.blue.targets[0]);
    let world = multiplexed(route);
    let client = H2Client::of(&world).await;
    let (answer, _) = client.begin(get("/"), true).await;
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
    let mut content = answer.into_body();
    let part = timeout(PATIENCE, content.data()).await.expect("in time").expect("a part");
    assert_eq!(part.expect("a part"), "half");
    origin.go_on();
    let end = timeout(PATIENCE, content.data()).await.expect("in time");
    let end = end.expect("it does not end as if it were whole");
    assert!(end.expect_err("nothing more came").is_reset());
    until("it is counted", || world.recorder.overflow().broken == 1).await;
    until("the target is told", || target.failures() == 1).await;
    assert_eq!(client.get("/").await.body, "fine");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_answer_of_another_length_than_it_says_is_never_whole() {
    const SHORT: &[Does] =
        &[Does::Says(200, &[("content-length", "9")]), Does::Waits, Does::Finishes("short")];
    const LONG: &[Does] =
        &[Does::Says(200, &[("content-length", "2")]), Does::Waits, Does::Finishes("long")];
    for (acts, length) in [(SHORT, 9), (LONG, 2)] {
        let origin = Stage::new(move |path, _| if path == "/" { acts } else { FINE }).await;
        let old = World::new(to(&origin));
        let mut first = End::to(old.address()).await;
        first.send(ASKS.as_bytes()).await;
        let new = multiplexed(to(&origin));
        let second = H2Client::of(&new).await;
        let (answer, _) = second.begin(get("/"), true).await;
        until("both are at the target", || origin.seen().len() == 2).await;
        origin.go_on();
        assert!(first.head().await.starts_with("HTTP/1.1 200 "));
        let rest = first.rest().await;
        assert!(rest.len() < length, "{rest:?}");
        match whole_of(answer).await {
            Ok(answer) => assert_eq!(answer.status, 502, "{answer:?}"),
            Err(error) => assert!(error.is_reset(), "{error}"),
        }
        for world in [&old, &new] {
            until("it is counted", || world.recorder.overflow().broken == 1).await;
        }
        assert_eq!(second.get("/other").await.body, "fine");
        assert_eq!(origin.connections(), 2, "one for each proxy");
    }
}
