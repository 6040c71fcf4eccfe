//! A well-behaved client beside an attack: what the attack does to the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Http2, Overflows, Row, get};

/// What it speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// The client; each of its requests has a connection of its own.
#[derive(Debug)]
pub(crate) struct Bystander {
    stopping: Arc<AtomicBool>,
    asking: JoinHandle<Served>,
    overflows: Overflows,
}

/// How it was served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    asked: u64,
    failures: Vec<String>,
    slowest: Duration,
}

impl Bystander {
    /// Begins to ask.
    pub(crate) fn start(address: SocketAddr, speaks: Speaks) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let asking = tokio::spawn(async move {
            let mut served = Served::default();
            while !told.load(Ordering::SeqCst) {
                let began = Instant::now();
                let asked = timeout(LONGEST, ask(address, speaks)).await;
                served.count(asked.unwrap_or(Err("no answer in time".to_owned())), began.elapsed());
                sleep_until(began + PACE).await;
            }
            served
        });
        Self { stopping, asking, overflows: Overflows::watch() }
    }

    /// Ends it; the row says how it was served, and requires that it was served well.
    pub(crate) async fn stop(self, row: &mut Row, about: &str) {
        self.stopping.store(true, Ordering::SeqCst);
        let Served { asked, failures, slowest } = self.asking.await.expect("no panic");
        let ms = u64::try_from(slowest.as_millis()).expect("a short time");
        row.measure(&format!("{about}bystander_asked"), asked);
        row.measure(&format!("{about}bystander_failed"), failures.len());
        row.measure(&format!("{about}bystander_slowest_ms"), ms);
        // A second is how long a client waits that did not fit into a queue.
        if let Some(overflows) = self.overflows.since() {
            row.measure(&format!("{about}listen_overflows"), overflows);
        }
        if let Some(first) = failures.first() {
            row.measure(&format!("{about}bystander_failure"), first.as_str());
        }
        row.require(&format!("{about}others are served"), asked > 0 && failures.is_empty());
        row.require(&format!("{about}others are served within a second"), slowest < BAR);
    }
}

impl Served {
    fn count(&mut self, asked: Result<(), String>, took: Duration) {
        self.asked += 1;
        self.slowest = self.slowest.max(took);
        if let Err(failure) = asked {
            self.failures.push(failure);
        }
    }
}

async fn ask(address: SocketAddr, speaks: Speaks) -> Result<(), String> {
    match speaks {
        Speaks::Http1 => {
            let answer = get(address, "/").await?;
            if answer.status == 200 { Ok(()) } else { Err(answer.head) }
        }
        Speaks::Http2 => Http2::get(address).await,
    }
}

const PACE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// How long anybody may wait for an answer while others misbehave.
const BAR: Duration = Duration::from_secs(1);
