//! What is open, and how it comes to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// Counts connections and requests of all listeners, and can cut the connections.
#[derive(Debug)]
pub(super) struct Drain {
    connections: AtomicU64,
    requests: AtomicU64,
    none_open: Notify,
    goodbye: watch::Sender<bool>,
    cut: watch::Sender<bool>,
}

impl Drain {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            none_open: Notify::new(),
            goodbye: watch::Sender::new(false),
            cut: watch::Sender::new(false),
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
        OpenRequest(Arc::clone(self))
    }

    /// Requests whose header was read and whose response is not finished.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
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

    /// Ends every connection, now and later.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Resolves once connections are to end.
    pub(super) fn cut_signal(&self) -> watch::Receiver<bool> {
        self.cut.subscribe()
    }
}

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
pub(super) struct OpenRequest(Arc<Drain>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
