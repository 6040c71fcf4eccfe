//! A steady load of which every request is kept: when it began and ended, and what came of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Answer, Client};

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Requests that begin in a second; 0 has each connection ask as soon as it was answered.
    pub(crate) per_second: u32,
    /// Connections, each with one request in flight at most.
    pub(crate) connections: u32,
    /// Every so many requests is a POST; 0 for none.
    pub(crate) post_every: u64,
}

/// Load under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    connections: JoinSet<Vec<Sample>>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was sent.
    pub(crate) began: Instant,
    /// When its answer was there, or was given up.
    pub(crate) ended: Instant,
    /// What was asked.
    pub(crate) method: Method,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// Its number, which is the path of a POST.
    pub(crate) number: u64,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// May be repeated.
    Get,
    /// May not; its path is its own.
    Post,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A 200 of blue.
    Blue,
    /// A 200 of green.
    Green,
    /// No answer, or another one.
    Failed(String),
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    post_every: u64,
    stopping: AtomicBool,
    number: AtomicU64,
}

impl Traffic {
    /// Begins to ask.
    pub(crate) fn start(address: SocketAddr, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            address,
            post_every: plan.post_every,
            stopping: AtomicBool::new(false),
            number: AtomicU64::new(0),
        });
        let started = Instant::now();
        let interval = Duration::from_secs(1) * plan.connections;
        let interval = interval.checked_div(plan.per_second).unwrap_or_default();
        let mut connections = JoinSet::new();
        for number in 0..plan.connections {
            let first = started + interval * number / plan.connections;
            connections.spawn(Arc::clone(&shared).ask_and_ask(first, interval));
        }
        Self { shared, connections }
    }

    /// Requests so far, those in flight among them.
    pub(crate) fn begun(&self) -> u64 {
        self.shared.number.load(Ordering::SeqCst)
    }

    /// Ends it, each request answered; gives them all in the order in which they began.
    pub(crate) async fn stop(mut self) -> Vec<Sample> {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let mut samples = Vec::new();
        while let Some(of_one) = self.connections.join_next().await {
            samples.append(&mut of_one.expect("no connection panics"));
        }
        samples.sort_by_key(|sample| sample.began);
        samples
    }
}

impl Sample {
    /// How long it took.
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.began
    }

    /// Why it failed; `None` if it did not.
    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Blue | Outcome::Green => None,
            Outcome::Failed(why) => Some(why),
        }
    }
}

impl Shared {
    async fn ask_and_ask(self: Arc<Self>, mut due: Instant, interval: Duration) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut kept = None;
        while !self.stopping.load(Ordering::SeqCst) {
            sleep_until(due).await;
            // What a standstill has delayed is caught up with, but not one of a second.
            due = (due + interval).max(Instant::now() - LONGEST_DELAY);
            let number = self.number.fetch_add(1, Ordering::SeqCst);
            let method = match number.checked_rem(self.post_every) {
                Some(0) => Method::Post,
                Some(_) | None => Method::Get,
            };
            let began = Instant::now();
            let outcome = match self.ask(&mut kept, method, number).await {
                Ok(answer) => side_of(&answer),
                Err(failure) => Outcome::Failed(failure),
            };
            samples.push(Sample { began, ended: Instant::now(), method, outcome, number });
        }
        samples
    }

    /// Asks once, on the connection or on a new one, which is kept if it can be.
    async fn ask(
        &self,
        kept: &mut Option<Client>,
        method: Method,
        number: u64,
    ) -> Result<Answer, String> {
        let request = match method {
            Method::Get => "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n".to_owned(),
            Method::Post => {
                format!("POST /{number} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 2\r\n\r\nhi")
            }
        };
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::open(self.address).await.map_err(|error| error.to_string())?,
        };
        let answer = client.ask(request.as_bytes()).await?;
        if answer.field("connection") != Some("close") {
            *kept = Some(client);
        }
        Ok(answer)
    }
}

/// The 99th of a hundred latencies, in microseconds; `None` without any.
pub(crate) fn p99_us<'s>(samples: impl Iterator<Item = &'s Sample>) -> Option<u128> {
    let mut took: Vec<u128> = samples.map(|sample| sample.took().as_micros()).collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied()
}

fn side_of(answer: &Answer) -> Outcome {
    match (answer.status, answer.field("x-tidegate-error"), answer.field("x-tidegate-side")) {
        (200, None, Some("blue")) => Outcome::Blue,
        (200, None, Some("green")) => Outcome::Green,
        (_, _, _) => Outcome::Failed(answer.head.clone()),
    }
}

const LONGEST_DELAY: Duration = Duration::from_secs(1);
