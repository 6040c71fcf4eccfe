//! Visitors who behave as HTTP clients should: they keep a connection until an answer says that it
//! is the last one, and ask again only where a kept connection was closed before any part of an
//! answer. Half of them take a new connection for each request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::PATIENCE;

/// Visitors under way; they stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Visitors {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    stopping: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Visitors {
    /// Begins, with so many visitors of each kind.
    pub(crate) fn start(address: SocketAddr, of_each: usize) -> Self {
        let shared = Arc::new(Shared {
            address,
            stopping: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..of_each {
            tasks.spawn(Arc::clone(&shared).visit(false));
            tasks.spawn(Arc::clone(&shared).visit(true));
        }
        Self { shared, tasks }
    }

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Ends, every request answered; gives how many were, and what went wrong with the others.
    pub(crate) async fn stop(mut self) -> (u64, Vec<String>) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no visitor panics");
        }
        let failures = self.shared.failures.lock().expect("nothing panics in there").clone();
        (self.answered(), failures)
    }
}

impl Shared {
    async fn visit(self: Arc<Self>, keeps: bool) {
        let mut kept = None;
        while !self.stopping.load(Ordering::SeqCst) {
            let answer = timeout(PATIENCE, self.ask(kept.take(), keeps)).await;
            match answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(connection) => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    kept = connection;
                }
                Err(failure) => {
                    self.failures.lock().expect("nothing panics in there").push(failure);
                }
            }
            sleep(PACE).await;
        }
    }

    /// Asks once; gives the connection back if it can be kept.
    async fn ask(&self, kept: Option<TcpStream>, keeps: bool) -> Result<Option<TcpStream>, String> {
        if let Some(stream) = kept {
            match exchange(stream, keeps).await {
                Err(Failure::Unanswered) => {}
                Err(Failure::Broken(why)) => return Err(why),
                Ok(kept) => return Ok(kept),
            }
        }
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        match exchange(stream, keeps).await {
            Ok(kept) => Ok(kept),
            Err(Failure::Broken(why)) => Err(why),
            Err(Failure::Unanswered) => Err("a new connection was closed unanswered".to_owned()),
        }
    }
}

enum Failure {
    /// Closed before any part of an answer.
    Unanswered,
    Broken(String),
}

async fn exchange(mut stream: TcpStream, keeps: bool) -> Result<Option<TcpStream>, Failure> {
    let close = if keeps { "" } else { "connection: close\r\n" };
    let request = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{close}\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return Err(Failure::Unanswered);
    }
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            if !head.starts_with("HTTP/1.1 200 ") || head.contains("x-tidegate-error") {
                return Err(Failure::Broken(head.to_owned()));
            }
            if body == "ok" {
                let last = head.to_ascii_lowercase().contains("\r\nconnection: close");
                return Ok((keeps && !last).then_some(stream));
            }
        }
        match stream.read_buf(&mut answer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) if answer.is_empty() => return Err(Failure::Unanswered),
            Ok(0) => return Err(Failure::Broken(format!("broken off after {text:?}"))),
            Err(error) => return Err(Failure::Broken(format!("{error} after {text:?}"))),
        }
    }
}

/// The pause between two requests of a visitor.
const PACE: Duration = Duration::from_millis(10);
