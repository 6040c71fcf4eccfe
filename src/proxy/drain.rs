//! What is open, and how it comes to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Counts connections and requests of all listeners, and can cut the connections.
#[derive(Debug)]
pub(super) struct Drain {
    connections: AtomicU64,
    requests: AtomicU64,
    /// Those of the requests that last for as long as they like.
    streams: AtomicU64,
    none_open: Notify,
    goodbye: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    stopping: AtomicBool,
}

impl Drain {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            none_open: Notify::new(),
            goodbye: watch::Sender::new(false),
            cut: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Ordering::AcqRel);
        OpenConnection(Arc::clone(self))
    }

    /// Counts a request until the result is dropped.
    pub(super) fn request(self: &Arc<Self>) -> OpenRequest {
        self.requests.fetch_add(1, Ordering::AcqRel);
        OpenRequest { drain: Arc::clone(self), is_stream: false }
    }

    /// Requests whose header was read and whose response is not finished.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    /// The same without those that last for as long as they like.
    pub(super) fn requests_but_streams(&self) -> u64 {
        self.requests().saturating_sub(self.streams.load(Ordering::Acquire))
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Resolves once no connection is open.
    pub(super) async fn none_open(&self) {
        loop {
            let mut changed = std::pin::pin!(self.none_open.notified());
            changed.as_mut().enable();
            if self.connections.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Ends every tunnel in its own protocol, now and later.
    pub(super) fn say_goodbye(&self) {
        self.goodbye.send_replace(true);
    }

    /// Turns true when tunnels are to end.
    pub(super) fn goodbye_signal(&self) -> watch::Receiver<bool> {
        self.goodbye.subscribe()
    }

    /// Ends what is open: tunnels in their own protocol, then everything. Gives how many requests
    /// that were.
    pub(super) async fn end_what_is_left(&self) -> u64 {
        let left = self.requests();
        self.say_goodbye();
        if timeout(GOODBYE_LIMIT, self.none_open()).await.is_err() {
            self.cut();
            if timeout(CUT_LIMIT, self.none_open()).await.is_err() {
                tracing::warn!("connections are still open after they were cut");
            }
        }
        left
    }

    /// From now on every answer is the last one of its connection.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether answers are the last ones of their connections.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits before connections without a request are closed; shorter if none is open.
    pub(super) async fn linger(&self) {
        // When it is over, what is left is closed.
        let _ = timeout(LINGER, self.none_open()).await;
    }

    /// Ends every connection, now and later.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Resolves once connections are to end.
    pub(super) fn cut_signal(&self) -> watch::Receiver<bool> {
        self.cut.subscribe()
    }
}

/// How long tunnels may take to end in their own protocol. A client that does not answer a goodbye
/// must not keep the process for longer than a second after its deadline, all things together.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);
/// A cut connection ends at its next turn; more than this means that a hook blocks its thread.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// An open connection.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Drain>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_open.notify_waiters();
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct OpenRequest {
    drain: Arc<Drain>,
    is_stream: bool,
}

impl OpenRequest {
    /// It is one that lasts for as long as it likes.
    pub(super) fn streams(&mut self) {
        if !self.is_stream {
            self.is_stream = true;
            self.drain.streams.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.is_stream {
            self.drain.streams.fetch_sub(1, Ordering::AcqRel);
        }
        self.drain.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How long a connection without a request is kept once nobody new is accepted: a client that has
/// just connected, or is just sending its next request, gets an answer and `connection: close`
/// instead of a closed connection.
const LINGER: Duration = Duration::from_secs(1);
