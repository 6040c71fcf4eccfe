//! Visitors who behave as HTTP clients should: they keep a connection until they are told that it
//! ends, and repeat a request only where a connection that had been used before was closed without
//! any part of an answer and without having been announced to be. Every repeat is counted: to a
//! client that may not repeat it, that request is lost.
//!
//! Some of them take a new connection for each request, some keep theirs, some speak HTTP/2.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::PATIENCE;
use super::visit::{Failure, Kept};

/// Visitors under way; they stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Visitors {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What they have come to.
#[derive(Clone, Debug)]
pub(crate) struct Visits {
    /// Requests answered.
    pub(crate) answered: u64,
    /// Requests that had to be made twice.
    pub(crate) repeated: u64,
    /// What went wrong with others.
    pub(crate) failures: Vec<String>,
}

/// How a visitor asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Over HTTP/1.1, on a new connection for each request.
    AlwaysAnew,
    /// Over HTTP/1.1, on a connection that is kept.
    Keeping,
    /// Over HTTP/2 in the clear.
    Http2,
}

#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    answered: AtomicU64,
    over_http2: AtomicU64,
    repeated: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Visitors {
    /// Begins, with so many visitors who keep their connection and as many who do not.
    pub(crate) fn start(address: SocketAddr, of_each: usize) -> Self {
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            over_http2: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..of_each {
            tasks.spawn(Arc::clone(&shared).visit(address, Manner::AlwaysAnew));
            tasks.spawn(Arc::clone(&shared).visit(address, Manner::Keeping));
        }
        Self { shared, tasks }
    }

    /// Has so many more visit an address where HTTP/2 is spoken.
    pub(crate) fn join_over_http2(&mut self, address: SocketAddr, visitors: usize) {
        for _ in 0..visitors {
            self.tasks.spawn(Arc::clone(&self.shared).visit(address, Manner::Http2));
        }
    }

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Those of them that were asked over HTTP/2.
    pub(crate) fn answered_over_http2(&self) -> u64 {
        self.shared.over_http2.load(Ordering::SeqCst)
    }

    /// Ends, every request answered; gives what came of them.
    pub(crate) async fn stop(mut self) -> Visits {
        self.shared.stopping.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no visitor panics");
        }
        let failures = self.shared.failures.lock().expect("nothing panics in there").clone();
        let repeated = self.shared.repeated.load(Ordering::SeqCst);
        Visits { answered: self.answered(), repeated, failures }
    }
}

impl Visits {
    /// Fails the test if a request was lost, or would be to a client that does not repeat it.
    ///
    /// The bar for repeats is none. A process that stops accepting marks every answer from then on
    /// as the last of its connection and keeps connections without a request for a second, and in
    /// HTTP/2 says which requests it still answers; so a visitor that pauses for less than that
    /// sees every connection's end announced.
    pub(crate) fn require_nothing_lost(&self) {
        let Self { answered, repeated, failures } = self;
        let failed = failures.len();
        assert!(failures.is_empty(), "{failed} failed of {answered}: {failures:?}");
        assert_eq!(*repeated, 0, "of {answered} requests {repeated} had to be repeated");
    }
}

impl Shared {
    async fn visit(self: Arc<Self>, address: SocketAddr, manner: Manner) {
        let mut kept = None;
        while !self.stopping.load(Ordering::SeqCst) {
            let answer = timeout(PATIENCE, self.ask(address, kept.take(), manner)).await;
            match answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(connection) => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    if manner == Manner::Http2 {
                        self.over_http2.fetch_add(1, Ordering::SeqCst);
                    }
                    kept = connection;
                }
                Err(failure) => {
                    let failure = format!("{manner:?}: {failure}");
                    self.failures.lock().expect("nothing panics in there").push(failure);
                }
            }
            sleep(PACE).await;
        }
    }

    /// Asks once; gives the connection back if it can be kept.
    async fn ask(
        &self,
        address: SocketAddr,
        kept: Option<Kept>,
        manner: Manner,
    ) -> Result<Option<Kept>, String> {
        let keeps = manner != Manner::AlwaysAnew;
        // A visitor that was held up closes its connection itself: it may be closed to it any time.
        if let Some(kept) = kept.filter(|kept| kept.used.elapsed() < LONGEST_PAUSE) {
            match kept.ask(keeps).await {
                Ok(kept) => return Ok(kept),
                Err(Failure::Broken(why)) => return Err(why),
                Err(Failure::Unanswered) => self.repeated.fetch_add(1, Ordering::SeqCst),
            };
        }
        let asked = async { Kept::open(address, manner == Manner::Http2).await?.ask(keeps).await };
        asked.await.map_err(|failure| match failure {
            Failure::Broken(why) => why,
            Failure::Unanswered => "a new connection was closed unanswered".to_owned(),
        })
    }
}

/// The pause between two requests of a visitor.
const PACE: Duration = Duration::from_millis(10);
/// How long a connection may have been left alone to be used again: well within the second for which
/// a process that ends keeps it.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
