//! Targets that say too much before their answer, or what is no answer at all: a 502, the connection
//! is not used again, and the proxy's memory stays flat.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::{Api, PATIENCE, Tidegate, Turn, until};
use crate::rig::{Client, Memory, Row, Scene, Target, metric, read_request, sized};

/// What a target says.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// What is not HTTP, without end.
    Garbage,
    /// A header of a megabyte.
    Header,
    /// A header without end.
    EndlessHeader,
    /// 1xx answers without end.
    Interim,
}

impl Flood {
    const ALL: [Self; 4] = [Self::Garbage, Self::Header, Self::EndlessHeader, Self::Interim];

    /// What it begins with, what it repeats, how often, and what it ends with.
    fn parts(self) -> (&'static str, &'static str, usize, &'static str) {
        let ok = "HTTP/1.1 200 OK\r\n";
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
        let field = "x-large: 0123456789012345678901234567890123456789\r\n";
        match self {
            Self::Garbage => ("\u{16}\u{3}\u{1}", "no such protocol \u{7f}\u{0}", ENDLESS, ""),
            // Of 200 fields: Pingora takes no more than 256.
            Self::Header => (ok, LONG_FIELD, 200, "content-length: 0\r\n\r\n"),
            Self::EndlessHeader => (ok, field, ENDLESS, ""),
            Self::Interim => ("", early, ENDLESS, ""),
        }
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        let (first, again, times, last) = self.parts();
        let again = again.replace(FILLING, &"f".repeat(5_000));
        while read_request(&mut stream, &mut buffer).await.is_some() {
            if stream.write_all(first.as_bytes()).await.is_err() {
                return;
            }
            for _ in 0..times {
                if stream.write_all(again.as_bytes()).await.is_err() {
                    return;
                }
            }
            if stream.write_all(last.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_floods_the_proxy_is_cut_and_its_connection_left() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "garbage, large headers and 1xx floods from a target",
        "502 target_broken; no connection used again; counted; memory of the proxy grows by at \
         most 10 MiB",
    );
    let (present, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let (told, counting) = (Arc::clone(&present), Arc::clone(&connections));
    let target = Target::start(move |stream, _| {
        counting.fetch_add(1, Ordering::SeqCst);
        Flood::ALL[told.load(Ordering::SeqCst)].serve(stream)
    })
    .await;
    let scene = Scene { blue: vec![target.address()], ..Scene::default() };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    // Warm: what one of each makes the process keep is kept already.
    for number in 0..Flood::ALL.len() {
        present.store(number, Ordering::SeqCst);
        let _ = last_head(tidegate.public()).await;
    }
    let memory = Memory::watch(tidegate.id());
    row.measure("memory_before_kib", memory.before_kib());
    for (number, flood) in Flood::ALL.into_iter().enumerate() {
        present.store(number, Ordering::SeqCst);
        judge(&mut row, flood, &tidegate, &api, &connections).await;
        row.measure(&format!("{flood:?}: memory_grown_kib"), memory.grown_kib());
        row.require(&format!("{flood:?}: memory"), memory.grown_kib() <= LEEWAY_KIB);
    }
    row.require("nothing panics", !tidegate.home().said().contains("panicked"));
    row.end();
}

async fn judge(
    row: &mut Row,
    flood: Flood,
    tidegate: &Tidegate,
    api: &Api,
    connections: &AtomicU64,
) {
    let counted = async || {
        let labels = ["side=\"blue\"", "kind=\"broken\""];
        metric(api, "tidegate_upstream_errors_total", &labels).await
    };
    let (counted_before, connected_before) = (counted().await, connections.load(Ordering::SeqCst));
    let asked = sized::<u64>(5, 100);
    let (mut refused, mut other) = (0_u64, None);
    for _ in 0..asked {
        match last_head(tidegate.public()).await {
            Ok(head) if head.starts_with("HTTP/1.1 502 ") && head.contains("target_broken") => {
                refused += 1;
            }
            answer => other = Some(format!("{answer:?}")),
        }
    }
    let connected = connections.load(Ordering::SeqCst) - connected_before;
    row.measure(&format!("{flood:?}: asked"), asked);
    row.measure(&format!("{flood:?}: answered_502"), refused);
    row.measure(&format!("{flood:?}: connections"), connected);
    if let Some(other) = other {
        row.measure(&format!("{flood:?}: another_answer"), other);
    }
    row.require(&format!("{flood:?}: a 502 each"), refused == asked);
    row.require(&format!("{flood:?}: a connection each"), connected == asked);
    until("all are counted", async || counted().await >= counted_before + asked).await;
}

/// Asks once, and gives the head of the answer that is none of 1xx.
async fn last_head(address: SocketAddr) -> Result<String, String> {
    let asked = async {
        let mut client = Client::open(address).await.map_err(|error| error.to_string())?;
        let request = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
        client.send(request).await.map_err(|error| error.to_string())?;
        loop {
            let head = client.head().await?;
            if !head.starts_with("HTTP/1.1 1") {
                return Ok(head);
            }
        }
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// More often than anybody reads.
const ENDLESS: usize = 1_000_000;
/// A field in which this stands for five thousand bytes.
const FILLING: &str = "FILLING";
const LONG_FIELD: &str = "x-large: FILLING\r\n";
/// By how much the memory of the warm process may grow.
const LEEWAY_KIB: u64 = 10 * 1_024;
