//! Clients of HTTP/2 that do not take what they asked for: with a window of nothing, with one that
//! opens byte by byte, or with a wide one and a socket that nobody reads. All of them are cut after
//! `response_write`, and a good client never notices.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::kit::{PATIENCE, Turn, until};
use crate::rig::{
    Bystander, Http2, Memory, Row, Scene, Speaks, Target, answer_large, answer_with, frame,
    header_of, ms, raise_own_limit, read_request, require_bounded, room_for, sized,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_http_2_that_take_too_little_are_cut() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "slow readers of HTTP/2",
        "all cut by response_write; a good client served within 1 s throughout",
    );
    let blue = Target::large("blue").await;
    let of_each = sized(5, 50);
    let scene = Scene {
        listener: ", protocol: h2c, limits: { response_write: 1s, connections_per_client: 20000 }"
            .to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let bystander = Bystander::start(tidegate.public(), Speaks::Http2);
    for (about, opening, drips) in [("no_window", settings(0), false), ("drip", Vec::new(), true)] {
        let mut clients = JoinSet::new();
        for _ in 0..of_each {
            clients.spawn(until_cut(tidegate.public(), opening.clone(), drips));
        }
        let ends: Vec<Option<Duration>> = clients.join_all().await;
        let cut = ends.iter().flatten().count();
        let last = ends.iter().flatten().max().copied().unwrap_or_default();
        let ms = u64::try_from(last.as_millis()).expect("a short time");
        row.measure(&format!("{about}_clients"), of_each);
        row.measure(&format!("{about}_cut"), cut);
        row.measure(&format!("{about}_last_after_ms"), ms);
        row.require(&format!("{about}: all are cut"), cut == of_each);
        row.require(&format!("{about}: all by the deadline"), last <= RESPONSE_WRITE + LEEWAY);
    }
    let whole = unread(tidegate.public(), of_each, &blue).await;
    row.measure("unread_answers_that_came_whole", whole);
    row.require("unread: all are cut", whole == 0);
    bystander.stop(&mut row, "").await;
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_are_cut_however_many_they_are() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "slow readers by the thousand (HTTP/2)",
        "all cut by response_write; a good client served within 1 s throughout; memory of the \
         proxy at most 200 MB and 128 KB for each stream; full: 10 000 streams",
    );
    let blue = with_pages().await;
    let response_write = Duration::from_secs(sized(1, 5));
    let scene = Scene {
        listener: format!(
            ", protocol: h2c, limits: {{ response_write: {}s, connections_per_client: 20000 }}",
            response_write.as_secs()
        ),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let memory = Memory::watch(tidegate.id());
    let bystander = Bystander::start(tidegate.public(), Speaks::Http2);
    // Each of the streams has a connection to its target.
    let connections = room_for(sized(2, 100), STREAMS as usize + 1);
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(many_until_cut(tidegate.public()));
        // So many requests at once would be a row of its own.
        sleep_until(Instant::now() + STAGGER).await;
    }
    let ends: Vec<(u32, Duration)> = clients.join_all().await;
    bystander.stop(&mut row, "").await;
    let streams = connections * STREAMS as usize;
    let cut: u32 = ends.iter().map(|(cut, _)| cut).sum();
    let last = ends.iter().map(|(_, after)| *after).max().unwrap_or_default();
    let asked = blue.seen().requests().iter().filter(|line| *line == "GET /page").count();
    row.measure("streams", streams);
    row.measure("requests_at_target", asked);
    row.measure("cut", cut);
    row.measure("last_cut_after_ms", ms(last));
    row.require("all reach the target", asked == streams);
    row.require("all are cut", cut as usize == streams);
    row.require("all by the deadline", last <= response_write + LEEWAY);
    require_bounded(&mut row, &memory, OF_A_STREAM_KIB, streams);
    row.end();
}

/// A target whose `/page` is so small that ten thousand of them fit into the system's buffers.
async fn with_pages() -> Target {
    Target::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
            let stands = match request.path.as_str() {
                "/page" => answer_large(&mut stream, PAGE).await,
                _ => answer_with(&mut stream, "blue", "ok").await,
            };
            if !stands {
                return;
            }
        }
    })
    .await
}

/// Asks for a page in each of its streams and takes nothing of them; gives how many were cut, and
/// after how long the last of them was.
async fn many_until_cut(address: SocketAddr) -> (u32, Duration) {
    let (mut frames, mut writing) = Http2::open(address).await.expect("connected").split();
    let began = Instant::now();
    let mut opening = settings(0);
    for number in 0..STREAMS {
        opening.extend(frame(1, 0x05, 2 * number + 1, &header_of("/page")));
    }
    writing.write_all(&opening).await.expect("sent");
    let mut cut = 0;
    let reading = async {
        while cut < STREAMS {
            match frames.next().await {
                Ok(Some(next)) => cut += u32::from(next.kind == RST_STREAM),
                // Without a window nobody has had an answer.
                Ok(None) | Err(_) => cut = STREAMS,
            }
        }
    };
    // Whether that is all of them is for the caller to judge.
    let _ = timeout(PATIENCE, reading).await;
    (cut, began.elapsed())
}

/// Asks for what is large and takes little or nothing of it; gives after how long it was cut,
/// `None` if it never was.
async fn until_cut(address: SocketAddr, opening: Vec<u8>, drips: bool) -> Option<Duration> {
    let (mut frames, mut writing) = Http2::open(address).await.expect("connected").split();
    let began = Instant::now();
    writing.write_all(&[opening, large()].concat()).await.expect("sent");
    let mut due = began + GAP;
    loop {
        tokio::select! {
            next = frames.next() => match next {
                Ok(Some(next)) if next.stream == 1 && next.ends_stream() => {
                    return (next.kind == RST_STREAM).then(|| began.elapsed());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Some(began.elapsed()),
            },
            () = sleep_until(due) => {
                if began.elapsed() > PATIENCE {
                    return None;
                }
                due += GAP;
                if drips {
                    // That it cannot be sent is seen by the reading half.
                    let _ = writing.write_all(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
                }
            }
        }
    }
}

/// Has wide windows and reads nothing for a while; gives how many answers came whole afterwards.
async fn unread(address: SocketAddr, clients: usize, blue: &Target) -> usize {
    let asked = || blue.seen().requests().iter().filter(|line| *line == "GET /large").count();
    let before = asked();
    let mut waiting = Vec::new();
    for _ in 0..clients {
        let (frames, mut writing) = Http2::open(address).await.expect("connected").split();
        let widest = frame(WINDOW_UPDATE, 0, 0, &[0x3f, 0xff, 0xff, 0xff]);
        let opening = [settings(0x7fff_ffff), widest, large()].concat();
        writing.write_all(&opening).await.expect("sent");
        waiting.push((frames, writing));
    }
    until("the target has all the requests", async || asked() == before + clients).await;
    // The fault itself: for this long nobody reads.
    sleep_until(Instant::now() + UNREAD).await;
    let mut whole = 0;
    for (mut frames, _writing) in waiting {
        let reading = async {
            while let Ok(Some(next)) = frames.next().await {
                if next.stream == 1 && next.ends_stream() {
                    return next.kind != RST_STREAM;
                }
            }
            false
        };
        // Whoever was not cut would have all of it long before.
        whole += usize::from(timeout(PATIENCE, reading).await.unwrap_or(true));
    }
    whole
}

/// A GET of what is large.
fn large() -> Vec<u8> {
    frame(1, 0x05, 1, &header_of("/large"))
}

/// The window that each stream has at first.
fn settings(window: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat())
}

/// How many streams a connection has at once: as many as a listener permits by default.
const STREAMS: u32 = 100;
/// Between two connections that open all of their streams at once.
const STAGGER: Duration = Duration::from_millis(30);
/// The length of a small answer.
const PAGE: u64 = 32 * 1_024;
/// What a stream may take of the proxy: its request in both forms, the connection to its target,
/// and twice its answer.
const OF_A_STREAM_KIB: u64 = 128;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const RESPONSE_WRITE: Duration = Duration::from_secs(1);
/// Between two bytes that are taken.
const GAP: Duration = Duration::from_millis(100);
/// How long clients do not read, of which one second is allowed.
const UNREAD: Duration = Duration::from_secs(4);
/// For a machine that is busy.
const LEEWAY: Duration = Duration::from_secs(3);
