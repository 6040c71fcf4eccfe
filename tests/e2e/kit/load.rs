//! A steady load: so many requests a second over kept connections, whatever the answers are like.
//!
//! The client is written by hand, because two cores have to carry load, proxy and targets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::PATIENCE;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Requests that begin in a second, over all connections.
    pub(crate) per_second: u32,
    /// Connections, each with one request in flight at most.
    pub(crate) connections: u32,
}

/// Load under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    started: Instant,
    connections: JoinSet<()>,
}

/// What the load has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// Answers from blue.
    pub(crate) blue: u64,
    /// Answers from green.
    pub(crate) green: u64,
    /// Those of both that were not a 200.
    pub(crate) errors: u64,
    /// Requests without an answer, or with one that the proxy made up itself.
    pub(crate) failed: u64,
    /// The first few of these.
    pub(crate) failures: Vec<String>,
    /// The longest time to an answer.
    pub(crate) slowest: Duration,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    request: Vec<u8>,
    stopping: AtomicBool,
    /// Odd while nothing can listen; requests that touch such a time are not counted.
    life: AtomicU64,
    blue: AtomicU64,
    green: AtomicU64,
    errors: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Begins to ask for a path.
    pub(crate) fn start(address: SocketAddr, path: &str, rate: Rate) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n").into_bytes();
        let shared = Arc::new(Shared {
            address,
            request,
            stopping: AtomicBool::new(false),
            life: AtomicU64::new(0),
            blue: AtomicU64::new(0),
            green: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slowest_us: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let started = Instant::now();
        let interval = Duration::from_secs(1) * rate.connections / rate.per_second;
        let mut connections = JoinSet::new();
        for number in 0..rate.connections {
            let first = started + interval * number / rate.connections;
            connections.spawn(Arc::clone(&shared).ask_and_ask(first, interval));
        }
        Self { shared, started, connections }
    }

    /// Everything so far.
    pub(crate) fn answers(&self) -> Answers {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Answers {
            blue: read(&self.shared.blue),
            green: read(&self.shared.green),
            errors: read(&self.shared.errors),
            failed: read(&self.shared.failed),
            failures: self.shared.failures.lock().expect("nothing panics in there").clone(),
            slowest: Duration::from_micros(read(&self.shared.slowest_us)),
        }
    }

    /// Says that the process is about to be killed: its connections are worth nothing now.
    pub(crate) fn expect_death(&self) {
        self.shared.life.fetch_add(1, Ordering::SeqCst);
    }

    /// Says that it listens again.
    pub(crate) fn expect_life(&self) {
        self.shared.life.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends it, each request answered; gives what it has come to, and the requests a second.
    pub(crate) async fn stop(mut self) -> (Answers, f64) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let elapsed = self.started.elapsed();
        let at_stop = self.answers();
        while let Some(ended) = self.connections.join_next().await {
            ended.expect("no connection panics");
        }
        let requests = at_stop.blue + at_stop.green + at_stop.failed;
        (self.answers(), requests as f64 / elapsed.as_secs_f64())
    }
}

impl Shared {
    async fn ask_and_ask(self: Arc<Self>, mut due: Instant, interval: Duration) {
        let mut connection: Option<(u64, Connection)> = None;
        while !self.stopping.load(Ordering::SeqCst) {
            sleep_until(due).await;
            // What a standstill has delayed is caught up with, but not one of a second.
            due = (due + interval).max(Instant::now() - LONGEST_DELAY);
            let life = self.life.load(Ordering::SeqCst);
            if life % 2 == 1 {
                connection = None;
                continue;
            }
            let kept = connection.take().filter(|(of, _)| *of == life);
            let began = Instant::now();
            let answer = timeout(PATIENCE, self.ask(kept.map(|(_, kept)| kept))).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            if self.life.load(Ordering::SeqCst) == life {
                connection = self.count(answer, began.elapsed()).map(|kept| (life, kept));
            }
        }
    }

    /// Asks once, on the connection or on a new one.
    async fn ask(&self, kept: Option<Connection>) -> Result<(Connection, Answer), String> {
        let mut connection = match kept {
            Some(kept) => kept,
            None => Connection::open(self.address).await.map_err(|error| error.to_string())?,
        };
        let answer = connection.ask(&self.request).await?;
        Ok((connection, answer))
    }

    fn count(
        &self,
        answer: Result<(Connection, Answer), String>,
        took: Duration,
    ) -> Option<Connection> {
        let took = u64::try_from(took.as_micros()).expect("a short time");
        self.slowest_us.fetch_max(took, Ordering::SeqCst);
        let (connection, answer) = match answer {
            Ok(answered) => answered,
            Err(failure) => {
                self.fail(failure);
                return None;
            }
        };
        match answer.side {
            Some(Side::Blue) => self.blue.fetch_add(1, Ordering::SeqCst),
            Some(Side::Green) => self.green.fetch_add(1, Ordering::SeqCst),
            None => {
                self.fail(answer.head);
                return Some(connection);
            }
        };
        if answer.status != 200 {
            self.errors.fetch_add(1, Ordering::SeqCst);
        }
        Some(connection)
    }

    fn fail(&self, failure: String) {
        self.failed.fetch_add(1, Ordering::SeqCst);
        let mut failures = self.failures.lock().expect("nothing panics in there");
        if failures.len() < FAILURES_KEPT {
            failures.push(failure);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Blue,
    Green,
}

/// An answer; `side` is `None` where no target has given it.
#[derive(Debug)]
struct Answer {
    status: u16,
    side: Option<Side>,
    head: String,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1_024) })
    }

    async fn ask(&mut self, request: &[u8]) -> Result<Answer, String> {
        self.stream.write_all(request).await.map_err(|error| error.to_string())?;
        self.buffer.clear();
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let length: usize = field(&head, "content-length")
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| format!("an answer without a length: {head}"))?;
        while self.buffer.len() < end + length {
            self.read().await?;
        }
        let side = match (field(&head, "x-tidegate-error"), field(&head, "x-tidegate-side")) {
            (None, Some("blue")) => Some(Side::Blue),
            (None, Some("green")) => Some(Side::Green),
            (_, _) => None,
        };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Answer { status: status.ok_or_else(|| head.clone())?, side, head })
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed before the answer".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The value of a header field.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

const LONGEST_DELAY: Duration = Duration::from_secs(1);
const FAILURES_KEPT: usize = 10;
