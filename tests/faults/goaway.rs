//! Clients of HTTP/2 when the process ends: each connection is told by a GOAWAY at once, what is in
//! flight on it is answered whole, and then it is closed.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{PATIENCE, Turn, until};
use crate::rig::{
    Frames, Http2, Row, Scene, Target, answer_with, frame, header_of, read_request, sized,
};

/// What a connection came to after the process was asked to end.
#[derive(Debug, Default)]
struct Parting {
    /// The code of the first GOAWAY, and when it came.
    goaway: Option<(u32, Duration)>,
    /// Whether the answer in flight came whole, behind the GOAWAY.
    is_answered: bool,
    /// Whether anything was reset.
    is_reset: bool,
    /// Whether it was closed in time.
    is_closed: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_tells_its_clients_of_http_2_and_answers_them() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "GOAWAY at the end of the process",
        "each connection is told within 1 s with NO_ERROR; 0 answers lost; then all are closed",
    );
    let blue = slow().await;
    let scene = Scene {
        listener: ", protocol: h2c".to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let mut tidegate = scene.start().await;
    let connections = sized(10, 200);
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let mut used = Http2::open(tidegate.public()).await.expect("connected").split();
        ask(&mut used.1, "/").await;
        while !is_last(&mut used.0).await {}
        idle.push(used);
    }
    // These last, for their answers are on their way from here on.
    for _ in 0..connections {
        let mut asking = Http2::open(tidegate.public()).await.expect("connected").split();
        ask(&mut asking.1, "/slow").await;
        busy.push(asking);
    }
    until("the target has all the requests", async || {
        blue.seen().requests().iter().filter(|line| *line == "GET /slow").count() == connections
    })
    .await;
    let asked = Instant::now();
    tidegate.ask_to_end();
    let part = |connection: (Frames, OwnedWriteHalf)| tokio::spawn(part(connection, asked));
    let idle: Vec<_> = idle.into_iter().map(part).collect();
    let busy: Vec<_> = busy.into_iter().map(part).collect();
    for (about, partings) in [("idle", idle), ("busy", busy)] {
        let (mut untold, mut lost, mut open, mut reset, mut last) = (0, 0, 0, 0, Duration::ZERO);
        for parting in partings {
            let parting = parting.await.expect("no panic");
            let told = parting.goaway.filter(|(code, _)| *code == 0);
            untold += usize::from(told.is_none());
            last = told.map_or(last, |(_, after)| last.max(after));
            lost += usize::from(about == "busy" && !parting.is_answered);
            open += usize::from(!parting.is_closed);
            reset += usize::from(parting.is_reset);
        }
        let ms = u64::try_from(last.as_millis()).expect("a short time");
        row.measure(&format!("{about}_connections"), connections);
        row.measure(&format!("{about}_untold"), untold);
        row.measure(&format!("{about}_told_after_ms"), ms);
        row.measure(&format!("{about}_answers_lost"), lost);
        row.measure(&format!("{about}_left_open"), open);
        row.require(&format!("{about}: all are told"), untold == 0);
        row.require(&format!("{about}: within a second"), ms <= 1_000);
        row.require(&format!("{about}: no answer is lost"), lost == 0 && reset == 0);
        row.require(&format!("{about}: all are closed"), open == 0);
    }
    let status = tidegate.ended().await;
    row.require("the process ends well", status.success());
    row.end();
}

async fn ask(writing: &mut OwnedWriteHalf, path: &str) {
    let request = frame(1, 0x05, 1, &header_of(path));
    writing.write_all(&request).await.expect("sent");
}

/// Whether the next frame is the last one of the answer.
async fn is_last(frames: &mut Frames) -> bool {
    let next = timeout(PATIENCE, frames.next()).await.expect("an answer in time");
    let frame = next.expect("the connection stands").expect("an answer before the end");
    frame.stream == 1 && frame.ends_stream()
}

/// Reads until the connection is closed, as a good client would: pings are answered.
async fn part((mut frames, mut writing): (Frames, OwnedWriteHalf), asked: Instant) -> Parting {
    let mut parting = Parting::default();
    loop {
        let next = match timeout(PATIENCE, frames.next()).await {
            Ok(Ok(Some(next))) => next,
            Ok(Ok(None)) => {
                parting.is_closed = true;
                return parting;
            }
            Ok(Err(_)) | Err(_) => return parting,
        };
        match next.kind {
            PING if !next.is_acknowledgement() => {
                // It may have been closed by now.
                let _ = writing.write_all(&frame(PING, 0x01, 0, &next.payload)).await;
            }
            GOAWAY => {
                let code = next.goaway().unwrap_or(u32::MAX);
                parting.goaway.get_or_insert((code, asked.elapsed()));
            }
            _ if next.stream == 1 && next.ends_stream() => {
                parting.is_reset |= next.kind == RST_STREAM;
                parting.is_answered = next.kind != RST_STREAM && parting.goaway.is_some();
            }
            _ => {}
        }
    }
}

/// A target that takes its time for `/slow`.
async fn slow() -> Target {
    Target::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
            if request.path == "/slow" {
                sleep(WORK).await;
            }
            if !answer_with(&mut stream, "blue", "ok").await {
                return;
            }
        }
    })
    .await
}

const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Longer than it takes to tell everybody.
const WORK: Duration = Duration::from_secs(3);
