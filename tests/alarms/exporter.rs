//! Something that Prometheus scrapes besides: one number that a test sets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Tells how many carts a group has lost; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Exporter {
    /// Starts one whose group has lost none.
    pub(crate) async fn start(group: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let lost: Arc<AtomicU64> = Arc::default();
        let told = Arc::clone(&lost);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let text =
                    format!("carts_lost{{group=\"{group}\"}} {}\n", told.load(Ordering::SeqCst));
                tokio::spawn(answer(stream, text));
            }
        });
        Self { address, lost, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has so many carts lost from now on.
    pub(crate) fn lose(&self, carts: u64) {
        self.lost.store(carts, Ordering::SeqCst);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(mut stream: TcpStream, text: String) {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{text}"
    );
    // Who has asked may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}
