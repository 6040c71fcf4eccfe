//! A target that keeps what it was given: whole requests, and everything that was not clean.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::message::{self, Request};

/// A target; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

/// What a target was given.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The whole requests.
    pub(crate) requests: Vec<Request>,
    /// What was wrong with the others.
    pub(crate) unclean: Vec<String>,
}

impl Target {
    /// Starts one that answers everything with 200 and its path.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, seen, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was given since this was asked last.
    pub(crate) fn take_seen(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().expect("nothing panics in there"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut buffer = Vec::new();
    loop {
        let request = match message::first(&buffer) {
            Ok(Some((request, length))) => {
                buffer.drain(..length);
                request
            }
            Ok(None) => match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
            Err(unclean) => {
                let start =
                    String::from_utf8_lossy(&buffer[..buffer.len().min(SHOWN)]).into_owned();
                let unclean = format!("{unclean} in {start:?}");
                seen.lock().expect("nothing panics in there").unclean.push(unclean);
                return;
            }
        };
        let answer = answer(&request);
        seen.lock().expect("nothing panics in there").requests.push(request);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(request: &Request) -> String {
    let Request { method, target, .. } = request;
    let content = if method == "HEAD" { "" } else { target.as_str() };
    let length = target.len();
    format!("HTTP/1.1 200 OK\r\nx-target: 1\r\ncontent-length: {length}\r\n\r\n{content}")
}

/// How much of what was not clean is kept.
const SHOWN: usize = 300;
