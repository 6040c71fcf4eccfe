//! Answers that end before their end: whoever asked can tell, over HTTP/1.1 and HTTP/2, and each
//! counts as a failure of the side that gave it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{PATIENCE, Turn, until};
use crate::rig::{
    Client, Frame, Http2, Row, Scene, Seen, Target, frame, get_header, metric, read_request, sized,
};

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// The connection is closed before the announced length.
    Closed,
    /// It is reset there.
    Reset,
    /// It is closed between two chunks, the last one missing.
    ClosedBetweenChunks,
    /// It is reset there.
    ResetBetweenChunks,
    /// It is closed inside a chunk.
    ClosedInChunk,
    /// Nothing more comes.
    Silent,
}

impl Break {
    const ALL: [Self; 6] = [
        Self::Closed,
        Self::Reset,
        Self::ClosedBetweenChunks,
        Self::ResetBetweenChunks,
        Self::ClosedInChunk,
        Self::Silent,
    ];

    /// What is said before it.
    fn said(self) -> &'static [u8] {
        match self {
            Self::Closed | Self::Reset | Self::Silent => {
                b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nAAAA"
            }
            Self::ClosedBetweenChunks | Self::ResetBetweenChunks => {
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nAAAA\r\n"
            }
            Self::ClosedInChunk => {
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nAAAA"
            }
        }
    }

    /// The kind by which it is counted.
    fn kind(self) -> &'static str {
        match self {
            Self::Silent => "timeout",
            Self::Closed
            | Self::Reset
            | Self::ClosedBetweenChunks
            | Self::ResetBetweenChunks
            | Self::ClosedInChunk => "broken",
        }
    }

    async fn serve(self, mut stream: TcpStream, seen: &Seen) {
        let mut buffer = Vec::new();
        let Some(request) = read_request(&mut stream, &mut buffer).await else { return };
        seen.note(&request);
        if stream.write_all(self.said()).await.is_err() {
            return;
        }
        match self {
            Self::Closed | Self::ClosedBetweenChunks | Self::ClosedInChunk => {}
            Self::Reset | Self::ResetBetweenChunks => {
                // A reset takes away what was not read yet: the part is to arrive.
                sleep(ARRIVAL).await;
                let _ = stream.set_zero_linger();
            }
            Self::Silent => while read_request(&mut stream, &mut buffer).await.is_some() {},
        }
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Http1,
    Http2,
}

impl Speaks {
    /// The key of a listener that speaks it.
    fn listener(self) -> &'static str {
        match self {
            Self::Http1 => "",
            Self::Http2 => ", protocol: h2c",
        }
    }

    /// What a client makes of the answer.
    async fn ask(self, address: SocketAddr) -> Seems {
        let asked = match self {
            Self::Http1 => timeout(PATIENCE, ask_http1(address)).await,
            Self::Http2 => timeout(PATIENCE, ask_http2(address)).await,
        };
        asked.unwrap_or(Seems::Else("no end in time".to_owned()))
    }
}

/// What an answer seems to be to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seems {
    /// A 200 that is cut off.
    Cut,
    /// A whole 200.
    Whole,
    /// Anything else.
    Else(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_given_a_part_of_an_answer_can_tell() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "answers that break off",
        "100 % seen as cut by clients of HTTP/1.1 and HTTP/2; counted as failures of green; a \
         silence cut within the read timeout + 1 s",
    );
    for speaks in [Speaks::Http1, Speaks::Http2] {
        judge(&mut row, speaks).await;
    }
    row.end();
}

async fn judge(row: &mut Row, speaks: Speaks) {
    let blue = Target::sound("blue").await;
    let present = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&present);
    let green = Target::start(move |stream, seen| {
        let way = Break::ALL[told.load(Ordering::SeqCst)];
        async move { way.serve(stream, &seen).await }
    })
    .await;
    let scene = Scene {
        listener: speaks.listener().to_owned(),
        service: format!(
            ", rescue: false, outlier_ejection: off, timeouts: {{ read: {}ms }}",
            READ.as_millis()
        ),
        blue: vec![blue.address()],
        green: vec![green.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "100%").await;
    for (number, way) in Break::ALL.into_iter().enumerate() {
        present.store(number, Ordering::SeqCst);
        let kind = format!("kind=\"{}\"", way.kind());
        let labels = ["side=\"green\"", kind.as_str()];
        let counted = async || metric(&api, "tidegate_upstream_errors_total", &labels).await;
        let before = counted().await;
        let asked = sized(20, 200);
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..asked {
            clients.spawn(speaks.ask(tidegate.public()));
        }
        let (mut cut, mut other) = (0_u64, None);
        while let Some(seems) = clients.join_next().await {
            match seems.expect("no panic") {
                Seems::Cut => cut += 1,
                seems @ (Seems::Whole | Seems::Else(_)) => other = Some(format!("{seems:?}")),
            }
        }
        let took = began.elapsed();
        let name = format!("{speaks:?} {way:?}");
        row.measure(&format!("{name}: asked"), asked);
        row.measure(&format!("{name}: seen_as_cut"), cut);
        row.measure(&format!("{name}: took_ms"), u64::try_from(took.as_millis()).expect("short"));
        if let Some(other) = other {
            row.measure(&format!("{name}: another_answer"), other);
        }
        row.require(&format!("{name}: all are seen as cut"), cut == asked);
        row.require(
            &format!("{name}: in time"),
            way != Break::Silent || took <= READ + Duration::from_secs(1),
        );
        until("all are counted", async || counted().await >= before + asked).await;
        let counted = counted().await - before;
        row.measure(&format!("{name}: counted"), counted);
        row.require(&format!("{name}: each is counted once"), counted == asked);
    }
}

async fn ask_http1(address: SocketAddr) -> Seems {
    let mut client = match Client::open(address).await {
        Ok(client) => client,
        Err(error) => return Seems::Else(error.to_string()),
    };
    let request = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
    if let Err(error) = client.send(request).await {
        return Seems::Else(error.to_string());
    }
    let head = match client.head().await {
        Ok(head) => head.to_ascii_lowercase(),
        Err(error) => return Seems::Else(error),
    };
    let body = client.rest().await;
    let whole = if head.contains("transfer-encoding: chunked") {
        body.ends_with(b"0\r\n\r\n")
    } else if head.contains("content-length: 99") {
        body.len() >= 99
    } else {
        // The end of the connection is the end of such an answer.
        true
    };
    match (head.starts_with("http/1.1 200 "), whole) {
        (true, false) => Seems::Cut,
        (true, true) => Seems::Whole,
        (false, _) => Seems::Else(head),
    }
}

async fn ask_http2(address: SocketAddr) -> Seems {
    let (mut frames, mut writing) = match Http2::open(address).await {
        Ok(connection) => connection.split(),
        Err(error) => return Seems::Else(error.to_string()),
    };
    if let Err(error) = writing.write_all(&frame(HEADERS, 0x05, 1, &get_header())).await {
        return Seems::Else(error.to_string());
    }
    let mut answered = false;
    loop {
        match frames.next().await {
            Ok(Some(Frame { kind: HEADERS, stream: 1, payload, flags })) => {
                // A 200 has a number of its own, and stands first.
                if payload.first() != Some(&0x88) {
                    return Seems::Else(format!("not a 200: {payload:?}"));
                }
                if flags & END_STREAM != 0 {
                    return Seems::Whole;
                }
                answered = true;
            }
            Ok(Some(Frame { kind: DATA, stream: 1, flags, .. })) if flags & END_STREAM != 0 => {
                return Seems::Whole;
            }
            Ok(Some(Frame { kind: RST_STREAM, stream: 1, .. }) | None) | Err(_) if answered => {
                return Seems::Cut;
            }
            Ok(Some(Frame { kind: RST_STREAM, stream: 1, .. }) | None) | Err(_) => {
                return Seems::Else("it ended before an answer".to_owned());
            }
            Ok(Some(_)) => {}
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// The flag of the last frame of a stream.
const END_STREAM: u8 = 1;
/// The timeout of a target.
const READ: Duration = Duration::from_millis(700);
/// How long the part of an answer may take to its client.
const ARRIVAL: Duration = Duration::from_millis(200);
