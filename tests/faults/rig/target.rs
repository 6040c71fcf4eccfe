//! Targets that do exactly what a fault wants of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{Wire, reply_with, serve_streams};
use crate::kit::serve_chat;

/// A target; it and its connections end when this is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

/// What a target has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicU64,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Its method.
    pub(crate) method: String,
    /// Its path.
    pub(crate) path: String,
}

/// Listens with room for a crowd: a connection that finds none waits for a second, which no row is
/// about.
fn listening(address: SocketAddr) -> TcpListener {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.expect("a socket");
    socket.set_reuseaddr(true).expect("it is a socket");
    socket.bind(address).expect("a free port");
    socket.listen(WAITING).expect("it listens")
}

/// How many connections may wait to be accepted.
const WAITING: u32 = 4_096;

impl Target {
    /// Starts one whose connections are served by this.
    pub(crate) async fn start<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream, Arc<Seen>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(ANY_PORT, serve).await
    }

    /// The same at an address.
    pub(crate) async fn start_at<S, F>(address: SocketAddr, serve: S) -> Self
    where
        S: Fn(TcpStream, Arc<Seen>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listening(address);
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                shared.connections.fetch_add(1, Ordering::SeqCst);
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, seen, accepting }
    }

    /// One that answers everything with 200, in HTTP/1.1 and in HTTP/2.
    pub(crate) async fn sound(name: &'static str) -> Self {
        Self::sound_at(ANY_PORT, name).await
    }

    /// The same at an address.
    pub(crate) async fn sound_at(address: SocketAddr, name: &'static str) -> Self {
        Self::start_at(address, move |stream, seen| async move {
            match Wire::of(&stream).await {
                Some(Wire::Http1) => serve_soundly(stream, &seen, name).await,
                Some(Wire::Http2) => {
                    let answer = move |request: Request, mut reply: SendResponse<Bytes>| {
                        seen.note(&request);
                        reply_with(&mut reply, name, "ok");
                        std::future::ready(())
                    };
                    serve_streams(stream, answer).await;
                }
                None => {}
            }
        })
        .await
    }

    /// One that answers everything with 200, `/large` with [`LARGE`] bytes.
    pub(crate) async fn large(name: &'static str) -> Self {
        Self::start(move |mut stream, seen| async move {
            let mut buffer = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.note(&request);
                let stands = match request.path.as_str() {
                    "/large" => answer_large(&mut stream, LARGE).await,
                    _ => answer_with(&mut stream, name, "ok").await,
                };
                if !stands {
                    return;
                }
            }
        })
        .await
    }

    /// One that answers everything with 200, and opens WebSockets at `/chat`.
    pub(crate) async fn chatting(name: &'static str) -> Self {
        Self::start(move |mut stream, seen| async move {
            let mut buffer = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.note(&request);
                if request.path == "/chat" {
                    return serve_chat(&mut stream, name).await;
                }
                if !answer_with(&mut stream, name, "ok").await {
                    return;
                }
            }
        })
        .await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Seen {
    /// Takes note of a request, unless it is a health check.
    pub(crate) fn note(&self, request: &Request) {
        if request.path != "/healthz" {
            let line = format!("{} {}", request.method, request.path);
            self.requests.lock().expect("nothing panics in there").push(line);
        }
    }

    /// The requests so far, as `GET /`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("nothing panics in there").clone()
    }

    /// How many connections there were, those of health checks among them.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().expect("nothing panics in there").len()
    }
}

async fn serve_soundly(mut stream: TcpStream, seen: &Seen, name: &str) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        seen.note(&request);
        if !answer_with(&mut stream, name, "ok").await {
            return;
        }
    }
}

/// Reads a request with its body, which has a length; `None` at the end of the connection.
pub(crate) async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    buffer.drain(..length);
    let mut words = head.split(' ').map(str::to_owned);
    Some(Request { method: words.next()?, path: words.next()? })
}

/// Answers 200; tells whether the connection still stands.
pub(crate) async fn answer_with(stream: &mut TcpStream, name: &str, body: &str) -> bool {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-origin: {name}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.is_ok()
}

/// Answers 200 with a body of this length, whose bytes say where they stand; tells whether the
/// connection still stands.
pub(crate) async fn answer_large(stream: &mut TcpStream, length: u64) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    // It ends where it can begin again.
    let part: Vec<u8> = (0..u64::from(PERIOD) * 256).map(byte_at).collect();
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
        if stream.write_all(&part[..now]).await.is_err() {
            return false;
        }
        left -= now as u64;
    }
    true
}

/// The byte at a place in a large body.
pub(crate) fn byte_at(place: u64) -> u8 {
    u8::try_from(place % u64::from(PERIOD)).expect("below the period")
}

/// More than all buffers between a target and a client hold.
pub(crate) const LARGE: u64 = 32 * 1_024 * 1_024;
/// A port that the system chooses.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Prime, so that what is left out or sent twice is noticed.
const PERIOD: u8 = 251;
