//! Visitors who keep a WebSocket open and say something again and again; one that is told goodbye
//! opens another.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Chat, Said};

/// Visitors under way; they stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Chats {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What they have come to.
#[derive(Clone, Debug)]
pub(crate) struct Chatted {
    /// Messages that came back.
    pub(crate) echoed: u64,
    /// Goodbyes with 1001.
    pub(crate) farewells: u64,
    /// What else has ended a WebSocket, or kept one from being opened.
    pub(crate) failures: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    stopping: AtomicBool,
    open: AtomicU64,
    echoed: AtomicU64,
    farewells: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Chats {
    /// Begins, with so many visitors.
    pub(crate) fn start(address: SocketAddr, visitors: u64) -> Self {
        let shared = Arc::new(Shared {
            address,
            stopping: AtomicBool::new(false),
            open: AtomicU64::new(0),
            echoed: AtomicU64::new(0),
            farewells: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..visitors {
            tasks.spawn(Arc::clone(&shared).visit());
        }
        Self { shared, tasks }
    }

    /// How many were opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Ends; gives what came of it.
    pub(crate) async fn stop(mut self) -> Chatted {
        self.shared.stopping.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no visitor panics");
        }
        Chatted {
            echoed: self.shared.echoed.load(Ordering::SeqCst),
            farewells: self.shared.farewells.load(Ordering::SeqCst),
            failures: self.shared.failures.lock().expect("nothing panics in there").clone(),
        }
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    async fn visit(self: Arc<Self>) {
        while !self.is_stopping() {
            if let Err(failure) = self.chat().await {
                self.failures.lock().expect("nothing panics in there").push(failure);
                sleep(PACE).await;
            }
        }
    }

    /// One WebSocket from its beginning to its end.
    async fn chat(&self) -> Result<(), String> {
        let mut chat = Chat::open(self.address).await?;
        self.open.fetch_add(1, Ordering::SeqCst);
        while !self.is_stopping() {
            match chat.say().await? {
                Said::Echoed => self.echoed.fetch_add(1, Ordering::SeqCst),
                Said::GoneAway => {
                    self.farewells.fetch_add(1, Ordering::SeqCst);
                    chat.answer_goodbye().await?;
                    return Ok(());
                }
            };
            sleep(PACE).await;
        }
        Ok(())
    }
}

/// The pause between two messages.
const PACE: Duration = Duration::from_millis(50);
