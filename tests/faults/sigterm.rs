//! SIGTERM with everything open that there is: what ends within the deadline ends as if nothing had
//! happened, everybody is told in their own protocol to go elsewhere, and the process keeps its
//! time.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{Chat, Ports, Said, Tidegate, Turn, serve_chat, until};
use crate::rig::{
    Answer, Client, Frame, Frames, Http2, Row, Scene, Seen, Target, answer_with, byte_at, frame,
    get_header, ms, raise_own_limit, read_request, sized,
};

/// What is open when the signal comes.
struct Open {
    idle: Client,
    waiting: Client,
    download: Client,
    http2: (Frames, OwnedWriteHalf),
    chats: Vec<Chat>,
}

/// What a client of HTTP/2 was told.
#[derive(Default)]
struct Told {
    goaway: Option<u32>,
    answered: bool,
    whole: bool,
}

/// How the WebSockets have ended.
#[derive(Default)]
struct Farewells {
    /// With 1001.
    clean: usize,
    /// In any other way.
    cut: usize,
    /// Before the deadline.
    early: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_asked_to_end_keeps_its_word_to_everybody_and_its_time() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    // Half a second is for goodbyes; who waits for those that are not answered takes two.
    let goodbyes_ms: u64 = sized(1_900, 1_000);
    let mut row = Row::begin(
        "SIGTERM with long requests and WebSockets",
        format!(
            "all in flight within the deadline complete; GOAWAY, `connection: close`, 1001 at the \
             deadline; exit code 0 by the deadline + {goodbyes_ms} ms"
        ),
    );
    let target = Target::start(serve).await;
    let scene = Scene { blue: vec![target.address()], ..Scene::default() };
    let http2 = Cell::new(None);
    let mut tidegate = Tidegate::start(|ports| {
        let address = Ports::free().public;
        http2.set(Some(address));
        config(&scene, ports, address)
    })
    .await;
    let public = tidegate.public();
    let open = open(public, http2.get().expect("chosen"), &target).await;
    let Open { mut idle, mut waiting, download, http2, chats } = open;

    let told = Instant::now();
    tidegate.ask_to_end();
    until("nobody new is accepted", async || TcpStream::connect(public).await.is_err()).await;
    let refused_ms = ms(told.elapsed());
    let download = tokio::spawn(receive(download));
    let http2 = tokio::spawn(follow(http2));
    let last = idle.ask(b"GET /quick HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    let late = waiting.answer().await;
    let (chats, dead) = still_echo(chats).await;
    let (bytes, wrong) = download.await.expect("no panic");
    let download_ms = ms(told.elapsed());
    let farewells = farewells(chats, told);
    let status = tidegate.ended().await;
    let exit_ms = ms(told.elapsed());
    let Farewells { clean, cut, early } = farewells.await.expect("no panic");
    let Told { goaway, answered, whole } = http2.await.expect("no panic");

    row.measure("refused_after_ms", refused_ms);
    row.measure("download_bytes", bytes);
    row.measure("download_done_after_ms", download_ms);
    row.measure("websockets_dead_before_the_deadline", dead);
    row.measure("websockets_closed_with_1001", clean);
    row.measure("websockets_cut", cut);
    row.measure("websockets_closed_early", early);
    row.measure("exit_after_ms", exit_ms);
    row.measure("deadline_ms", ms(deadline()));
    row.require("nobody new is let in", refused_ms < 1_000);
    row.require("the download arrives whole", bytes == LENGTH && wrong == 0);
    row.require("it falls into the deadline", download_ms < ms(deadline()));
    row.require("an idle connection gets one more answer, its last", is_last(&last));
    row.require("a request in flight is answered, as the last one", is_last(&late));
    row.require("HTTP/2 gets a GOAWAY that blames nobody", goaway == Some(0));
    row.require("its request is answered all the same", answered && whole);
    row.require("WebSockets live until the deadline", dead == 0 && early == 0);
    row.require("all get 1001 then", clean == WEBSOCKETS && cut == 0);
    row.require("the exit code is 0", status.code() == Some(0));
    let (from, to) = (ms(deadline()), ms(deadline()) + goodbyes_ms);
    let ends = format!("it ends within {goodbyes_ms} ms of the deadline");
    row.require(&ends, (from..=to).contains(&exit_ms));
    row.end();
}

/// Opens everything, and waits until the target has all that is in flight.
async fn open(public: SocketAddr, http2: SocketAddr, target: &Target) -> Open {
    let mut chats = Vec::new();
    for _ in 0..WEBSOCKETS {
        let mut chat = Chat::open(public).await.expect("open");
        assert_eq!(chat.say().await, Ok(Said::Echoed));
        chats.push(chat);
    }
    let connect = async || Client::open(public).await.expect("connected");
    let (mut idle, mut waiting, mut download) = (connect().await, connect().await, connect().await);
    let quick = idle.ask(b"GET /quick HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    let quick = quick.expect("an answer");
    assert_eq!(quick.status, 200, "{}", quick.head);
    assert_ne!(quick.field("connection"), Some("close"), "{}", quick.head);
    let before = target.seen().count();
    download.send(b"GET /download HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.expect("sent");
    let head = download.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (frames, mut writing) = Http2::open(http2).await.expect("connected").split();
    let request = frame(1, 0x05, 1, &get_header());
    writing.write_all(&request).await.expect("sent");
    waiting.send(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.expect("sent");
    until("all of it is in flight", async || target.seen().count() == before + 3).await;
    Open { idle, waiting, download, http2: (frames, writing), chats }
}

/// Reads the download to its end; gives how many bytes came, and how many were wrong.
async fn receive(mut client: Client) -> (u64, u64) {
    let (mut place, mut wrong) = (0, 0);
    while place < LENGTH {
        let read = timeout(deadline(), client.bytes()).await;
        let part = read.map(Result::unwrap_or_default).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        for byte in &part {
            wrong += u64::from(*byte != byte_at(place));
            place += 1;
        }
    }
    (place, wrong)
}

/// Reads a connection of HTTP/2 to its end, and answers pings, as a client has to.
async fn follow((mut frames, mut writing): (Frames, OwnedWriteHalf)) -> Told {
    let mut told = Told::default();
    let reading = async {
        while let Some(next) = frames.next().await? {
            told.goaway = told.goaway.or(next.goaway());
            let Frame { kind, stream, payload, flags: _ } = next;
            match (kind, stream) {
                // A 200 has a number of its own, and stands first.
                (1, 1) => told.answered |= payload.first() == Some(&0x88),
                (0, 1) => told.whole |= payload == b"ok",
                // This client has never sent one, so that it is no answer.
                (6, 0) => writing.write_all(&frame(6, 0x01, 0, &payload)).await?,
                (_, _) => {}
            }
        }
        Ok::<(), io::Error>(())
    };
    // It is judged by what it was told, not by its end.
    let _ = timeout(deadline() + LEEWAY, reading).await;
    told
}

/// Gives the WebSockets that still work, and how many do not.
async fn still_echo(chats: Vec<Chat>) -> (Vec<Chat>, usize) {
    let (mut alive, mut dead) = (Vec::new(), 0);
    for mut chat in chats {
        match chat.say().await {
            Ok(Said::Echoed) => alive.push(chat),
            Ok(Said::GoneAway) | Err(_) => dead += 1,
        }
    }
    (alive, dead)
}

/// Waits for the goodbyes; some clients do not answer theirs.
fn farewells(chats: Vec<Chat>, told: Instant) -> JoinHandle<Farewells> {
    let mut ends = JoinSet::new();
    for (number, mut chat) in chats.into_iter().enumerate() {
        ends.spawn(async move {
            let heard = chat.hear().await;
            let is_early = told.elapsed() < deadline();
            let is_clean = heard == Ok(Said::GoneAway);
            if is_clean && number % RUDE_ONE_IN != 0 {
                return (chat.answer_goodbye().await.is_ok(), is_early);
            }
            // Open until the process that holds the other end is gone.
            sleep(LEEWAY).await;
            drop(chat);
            (is_clean, is_early)
        });
    }
    tokio::spawn(async move {
        let mut farewells = Farewells::default();
        while let Some(end) = ends.join_next().await {
            let (is_clean, is_early) = end.expect("no panic");
            farewells.clean += usize::from(is_clean);
            farewells.cut += usize::from(!is_clean);
            farewells.early += usize::from(is_early);
        }
        farewells
    })
}

fn is_last(answer: &Result<Answer, String>) -> bool {
    let announced = |answer: &Answer| answer.field("connection") == Some("close");
    answer.as_ref().is_ok_and(|answer| answer.status == 200 && announced(answer))
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        seen.note(&request);
        let stands = match request.path.as_str() {
            "/chat" => return serve_chat(&mut stream, "blue").await,
            "/download" => drip(&mut stream).await,
            "/quick" => answer_with(&mut stream, "blue", "ok").await,
            _ => {
                sleep(WORK).await;
                answer_with(&mut stream, "blue", "ok").await
            }
        };
        if !stands {
            return;
        }
    }
}

/// Answers with a long body, a part at a time; tells whether the connection still stands.
async fn drip(stream: &mut TcpStream) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
    let part: Vec<u8> = (0..PART).map(byte_at).collect();
    let mut stands = stream.write_all(head.as_bytes()).await.is_ok();
    for _ in 0..PARTS {
        if !stands {
            return false;
        }
        sleep(sized(Duration::from_millis(50), Duration::from_millis(600))).await;
        stands = stream.write_all(&part).await.is_ok();
    }
    stands
}

/// The scene with a second listener, which speaks HTTP/2 in the clear, and a deadline.
fn config(scene: &Scene, ports: &Ports, http2: SocketAddr) -> String {
    let more = format!(
        "listeners:\n  - {{ name: public-h2, address: '{http2}', protocol: h2c, rules: \
         [{{ service: shop }}] }}"
    );
    let config = scene.config(ports).replace("listeners:", &more);
    format!("{config}shutdown: {{ drain: {}s }}\n", deadline().as_secs())
}

fn deadline() -> Duration {
    sized(Duration::from_secs(5), Duration::from_secs(36))
}

const WEBSOCKETS: usize = 100;
/// One of so many does not answer its goodbye.
const RUDE_ONE_IN: usize = 20;
/// A part of the download, after which its bytes begin again.
const PART: u64 = 251 * 64;
/// So many that it takes 2.5 seconds, and 30 in the full form.
const PARTS: u64 = 50;
const LENGTH: u64 = PART * PARTS;
/// How long a target takes to answer what is in flight.
const WORK: Duration = Duration::from_millis(1_500);
/// More than the process may take after its deadline.
const LEEWAY: Duration = Duration::from_secs(2);
