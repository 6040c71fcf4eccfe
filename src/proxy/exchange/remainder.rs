//! The rest of a request's body, on its way to the target.
//!
//! One part is under way, so that whoever brings the next waits until the target has taken this one,
//! and no longer than it may take for that.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::http2::Outflow;
use super::outgoing::Part;

/// The rest of a request's body.
#[derive(Debug)]
pub(super) struct Remainder {
    outlet: Outlet,
    /// Until when the target has to take the part that it was given; `None` while nobody waits.
    due: Option<Instant>,
    has_last: bool,
}

/// Where it goes.
#[derive(Debug)]
enum Outlet {
    /// To hyper, which takes one part at a time.
    Http1(mpsc::Sender<Part>),
    Http2(Outflow),
}

impl Remainder {
    /// That of a request to a target of HTTP/1.1.
    pub(super) fn to_http1(parts: mpsc::Sender<Part>) -> Self {
        Self { outlet: Outlet::Http1(parts), due: None, has_last: false }
    }

    /// That of a request to a target of HTTP/2.
    pub(super) fn to_http2(stream: SendStream<Bytes>) -> Self {
        Self { outlet: Outlet::Http2(Outflow::to(stream)), due: None, has_last: false }
    }

    /// Waits until the target has taken what it was given; `false` if it takes no more. However often
    /// it is dropped and asked again, all of it is one wait.
    ///
    /// # Errors
    /// The target takes longer than it may.
    pub(super) async fn taken(&mut self, limit: Duration) -> Result<bool, Elapsed> {
        let due = *self.due.get_or_insert_with(|| Instant::now() + limit);
        let taken = async {
            match &mut self.outlet {
                Outlet::Http1(parts) => parts.reserve().await.is_ok(),
                Outlet::Http2(outflow) => poll_fn(|cx| outflow.poll_taken(cx)).await,
            }
        };
        let taken = timeout_at(due, taken).await?;
        self.due = None;
        Ok(taken)
    }

    /// Gives the target the next part; to be called once it has taken the one before.
    pub(super) fn give(&mut self, part: Part) {
        self.has_last = part.end.is_some();
        match &mut self.outlet {
            // It says by itself if it takes no more.
            Outlet::Http1(parts) => drop(parts.try_send(part)),
            Outlet::Http2(outflow) => outflow.give(part),
        }
    }

    /// Gives the target more time: for so long it was not asked whether it takes anything.
    pub(super) fn grant(&mut self, more: Duration) {
        self.due = self.due.map(|due| due + more);
    }

    /// Whether the target is being waited for, to take what it was given.
    pub(super) fn is_waited_for(&self) -> bool {
        self.due.is_some()
    }

    /// Whether no part is left to be given.
    pub(super) fn has_last(&self) -> bool {
        self.has_last
    }

    /// Whether the target has taken all of it.
    pub(super) fn is_over(&self) -> bool {
        let is_taken = match &self.outlet {
            Outlet::Http1(parts) => parts.capacity() == parts.max_capacity(),
            Outlet::Http2(outflow) => outflow.is_taken(),
        };
        self.has_last && is_taken
    }
}
