//! A target: a small HTTP/1.1 server that keeps connections, and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::serve_chat;

/// A target; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    address: SocketAddr,
    inner: Arc<Inner>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    /// Of 10 000 requests, how many are answered with a 500.
    failing: AtomicU64,
    /// How long an answer takes.
    delay_ms: AtomicU64,
    /// Whether `/slow` is answered.
    slow: watch::Sender<bool>,
    /// Whether health checks are answered.
    checks: watch::Sender<bool>,
    requests: AtomicU64,
    connections: AtomicU64,
}

impl Origin {
    /// Starts one that answers everything with 200.
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let inner = Arc::new(Inner {
            name,
            failing: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            slow: watch::Sender::new(true),
            checks: watch::Sender::new(true),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let shared = Arc::clone(&inner);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, inner, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests so far, health checks not counted.
    pub(crate) fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::SeqCst)
    }

    /// Connections whose first request was no health check.
    pub(crate) fn connections(&self) -> u64 {
        self.inner.connections.load(Ordering::SeqCst)
    }

    /// Answers this share of the requests with a 500, in basis points.
    pub(crate) fn fail(&self, share: u64) {
        self.inner.failing.store(share, Ordering::SeqCst);
    }

    /// Takes this long for each answer.
    pub(crate) fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).expect("a short time");
        self.inner.delay_ms.store(ms, Ordering::SeqCst);
    }

    /// Answers `/slow`, or lets it wait.
    pub(crate) fn answer_slow(&self, answer: bool) {
        self.inner.slow.send_replace(answer);
    }

    /// Answers health checks, or lets them wait.
    pub(crate) fn answer_checks(&self, answer: bool) {
        self.inner.checks.send_replace(answer);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, inner: Arc<Inner>) {
    // Without it an answer could wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(2_048);
    let mut first = true;
    while let Some(path) = read_path(&mut stream, &mut buffer).await {
        if path == "/chat" {
            inner.requests.fetch_add(1, Ordering::SeqCst);
            return serve_chat(&mut stream, inner.name).await;
        }
        let is_check = path == "/healthz";
        if std::mem::take(&mut first) && !is_check {
            inner.connections.fetch_add(1, Ordering::SeqCst);
        }
        let status = if is_check { inner.check().await } else { inner.request(&path).await };
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nx-origin: {}\r\n\r\nok", inner.name);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Inner {
    async fn check(&self) -> &'static str {
        opened(&self.checks).await;
        "200 OK"
    }

    async fn request(&self, path: &str) -> &'static str {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if path == "/slow" {
            opened(&self.slow).await;
        }
        let delay = self.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        let failing = self.failing.load(Ordering::SeqCst);
        if rand::random_range(0..10_000) < failing { "500 Internal Server Error" } else { "200 OK" }
    }
}

async fn opened(gate: &watch::Sender<bool>) {
    gate.subscribe().wait_for(|open| *open).await.expect("the sender is borrowed");
}

/// The path of the next request without a body; `None` at the end of the connection.
async fn read_path(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let line = buffer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let path = String::from_utf8_lossy(line).split(' ').nth(1).map(str::to_owned);
            buffer.drain(..end + 4);
            return path;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
