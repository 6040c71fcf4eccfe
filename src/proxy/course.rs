//! The course of a request, as far as somebody outside of its hooks has to follow it.
//!
//! Pingora runs a request as one future. What wraps that future (`deadline`) cannot see into it, and
//! the hooks inside cannot see out; both see the request's course, which is local to its task.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::core::model::{MonoTime, Span};
use crate::core::routing::LiveGroup;

use super::attempt::MAX_ATTEMPTS;

tokio::task_local! {
    static CURRENT: Arc<Course>;
}

/// What a request has come to so far.
#[derive(Debug, Default)]
pub(super) struct Course {
    has_header: AtomicBool,
    header: Notify,
    ends_itself: AtomicBool,
    is_stream: AtomicBool,
    stays: [OnceLock<Stay>; MAX_ATTEMPTS],
    /// Whether its body is whole.
    is_sent: AtomicBool,
    /// How long a target may take to accept a part of the body and to be found out, in milliseconds.
    write_ms: AtomicU64,
    /// How long nothing may move in a stream, in milliseconds.
    quiet_ms: AtomicU64,
    /// When something of the request or its answer moved last, in milliseconds of the clock.
    moved_ms: AtomicU64,
    /// Whether the client sends its body only when it is told to go on, and its target is asked.
    client_waits: AtomicBool,
    /// Whether the proxy told it to, in the place of its target.
    was_told: AtomicBool,
    is_unreadable: AtomicBool,
    /// Whether a target is being connected to, which Pingora bounds.
    is_connecting: AtomicBool,
    /// The end of the answer's chunks; none where Pingora's own ends them.
    last_chunk: OnceLock<Bytes>,
    /// Whether it says goodbye in good order when its group departs.
    takes_leave: AtomicBool,
    /// Whether its group departed.
    has_to_leave: AtomicBool,
    departure: Notify,
}

impl Course {
    /// Runs a request's future with this as its course.
    pub(super) fn of<F: Future>(self: &Arc<Self>, request: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Arc::clone(self), request)
    }

    /// Tells the course of the request that is under way in this task, if there is one.
    pub(super) fn tell(what: impl FnOnce(&Self)) {
        // Without one nobody waits to be told.
        let _ = CURRENT.try_with(|course| what(course));
    }

    /// The request's header was read.
    pub(super) fn header_is_read(&self, now: MonoTime) {
        self.moved(now);
        self.has_header.store(true, Ordering::Release);
        self.header.notify_one();
    }

    /// It was refused without a header that could be read.
    pub(super) fn cannot_be_read(&self) {
        self.is_unreadable.store(true, Ordering::Relaxed);
    }

    /// Whether it was refused without a header that could be read.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable.load(Ordering::Relaxed)
    }

    /// Something of it has moved.
    pub(super) fn moved(&self, now: MonoTime) {
        self.moved_ms.store(now.ms(), Ordering::Relaxed);
    }

    /// Its body is whole.
    pub(super) fn is_sent(&self, now: MonoTime) {
        self.moved(now);
        self.is_sent.store(true, Ordering::Relaxed);
    }

    /// Its target has answered.
    pub(super) fn is_answered(&self, now: MonoTime) {
        self.moved(now);
        self.is_connecting.store(false, Ordering::Relaxed);
        self.client_waits(false);
    }

    /// The request goes to a target of this group.
    pub(super) fn goes_to(&self, group: &Arc<LiveGroup>) {
        let mut free = self.stays.iter().filter(|stay| stay.get().is_none());
        if let Some(slot) = free.next() {
            slot.get_or_init(|| Stay::with(group));
        }
    }

    /// The request says goodbye by itself when its group departs, and bounds itself.
    pub(super) fn ends_itself(&self) {
        self.ends_itself.store(true, Ordering::Release);
    }

    /// How long its target may take: to accept a part of the body, and to answer.
    pub(super) fn may_take(&self, write: Span, read: Span) {
        let patience = write.ms().saturating_add(read.ms());
        self.write_ms.store(patience, Ordering::Relaxed);
    }

    /// How long nothing may move in it if it is a stream.
    pub(super) fn is_quiet_for(&self, limit: Span) {
        self.quiet_ms.store(limit.ms(), Ordering::Relaxed);
    }

    /// How long nothing may move in it if it is a stream.
    pub(super) fn quiet_limit(&self) -> Span {
        Span::from_ms(self.quiet_ms.load(Ordering::Relaxed))
    }

    /// How long its target may take to accept a part of the body, and to be found out if it does
    /// not.
    pub(super) fn write_limit(&self) -> Span {
        Span::from_ms(self.write_ms.load(Ordering::Relaxed))
    }

    /// An attempt begins: a target is connected to, and what an attempt before it came to is over.
    pub(super) fn connects(&self, now: MonoTime) {
        self.moved(now);
        self.is_connecting.store(true, Ordering::Relaxed);
        self.client_waits(false);
    }

    /// Its connection to a target stands.
    pub(super) fn stands(&self, now: MonoTime) {
        self.moved(now);
        self.is_connecting.store(false, Ordering::Relaxed);
    }

    /// Resolves once the group of the request under way in this task has departed; from now on the
    /// request says goodbye in good order when it does. Never without a course.
    pub(super) async fn departure() {
        match Self::current() {
            Some(course) => course.departs().await,
            None => std::future::pending().await,
        }
    }

    async fn departs(&self) {
        self.takes_leave.store(true, Ordering::Release);
        while !self.has_to_leave.load(Ordering::Acquire) {
            self.departure.notified().await;
        }
    }

    /// Its group departed; `false` if it does not say goodbye by itself.
    pub(super) fn depart(&self) -> bool {
        self.has_to_leave.store(true, Ordering::Release);
        self.departure.notify_one();
        self.takes_leave.load(Ordering::Acquire)
    }

    /// Whether the client sends its body only when it is told to go on, and its target is asked.
    pub(super) fn client_waits(&self, waits: bool) {
        self.client_waits.store(waits, Ordering::Relaxed);
    }

    /// Whether the client of the request under way in this task waits to be told to go on.
    pub(super) fn has_waiting_client() -> bool {
        CURRENT.try_with(|course| course.client_waits.load(Ordering::Relaxed)).unwrap_or(false)
    }

    /// The proxy told the client to go on.
    pub(super) fn told_to_go_on(&self) {
        self.client_waits(false);
        self.was_told.store(true, Ordering::Relaxed);
    }

    /// Whether the proxy told the client of the request under way in this task to go on.
    pub(super) fn was_told() -> bool {
        CURRENT.try_with(|course| course.was_told.load(Ordering::Relaxed)).unwrap_or(false)
    }

    /// The chunks of its answer end with this, in the place of what Pingora ends them with.
    pub(super) fn ends_chunks_with(&self, last_chunk: Bytes) {
        // An answer has trailers once.
        let _ = self.last_chunk.set(last_chunk);
    }

    /// What the chunks of the answer end with to the request under way in this task; `None` where
    /// Pingora's own end will do.
    pub(super) fn last_chunk() -> Option<Bytes> {
        CURRENT.try_with(|course| course.last_chunk.get().cloned()).ok().flatten()
    }

    /// The course of the request under way in this task.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Both sides may be silent in it for long, as in a call of gRPC.
    pub(super) fn streams(&self) {
        self.is_stream.store(true, Ordering::Relaxed);
    }

    /// Whether both sides may be silent in it for long.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream.load(Ordering::Relaxed)
    }

    /// Whether the request's header was read.
    pub(super) fn has_header(&self) -> bool {
        self.has_header.load(Ordering::Acquire)
    }

    /// Resolves once the request's header was read.
    pub(super) async fn header(&self) {
        while !self.has_header() {
            self.header.notified().await;
        }
    }

    /// When something of it moved last, while its body is still coming; `None` if it ends by itself,
    /// and while it is being connected.
    pub(super) fn uploads_since(&self) -> Option<MonoTime> {
        let is_bounded = [&self.ends_itself, &self.is_connecting, &self.is_sent];
        let uploads = !is_bounded.iter().any(|flag| flag.load(Ordering::Acquire));
        uploads.then(|| MonoTime::from_ms(self.moved_ms.load(Ordering::Relaxed)))
    }

    /// Where it stays; `None` if it ends by itself, or has no target.
    pub(super) fn stay(&self) -> Option<&Stay> {
        if self.ends_itself.load(Ordering::Acquire) {
            return None;
        }
        self.stays.iter().rev().find_map(OnceLock::get)
    }
}

/// The stay of a request or tunnel at a group.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    group: Arc<LiveGroup>,
    departures: u64,
}

impl Stay {
    /// A stay that begins now.
    pub(super) fn with(group: &Arc<LiveGroup>) -> Self {
        Self { group: Arc::clone(group), departures: group.departures() }
    }

    /// Whether the group departed since.
    pub(super) fn is_over(&self) -> bool {
        self.group.departures() != self.departures
    }
}
