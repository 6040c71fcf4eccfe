//! The course of a request, as far as somebody outside of its hooks has to follow it.
//!
//! Pingora runs a request as one future. What wraps that future (`deadline`) cannot see into it, and
//! the hooks inside cannot see out; both see the request's course, which is local to its task.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::core::model::{MonoTime, Span};
use crate::core::routing::LiveGroup;

use super::attempt::MAX_ATTEMPTS;
use super::lifeline::{Lifeline, Solo};

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
    stage: AtomicU8,
    /// How long a target may take to accept a part of the body and to be found out, in milliseconds.
    write_ms: AtomicU64,
    /// How long a target may be silent once the body is whole, in milliseconds; 0 where Pingora
    /// bounds it.
    read_ms: AtomicU64,
    /// Who was waited for too long, as `LATE_CLIENT` or `LATE_TARGET`; 0 while nobody was.
    late: AtomicU8,
    /// How long nothing may move in a stream, in milliseconds.
    quiet_ms: AtomicU64,
    /// When something of the request or its answer moved last, in milliseconds of the clock.
    moved_ms: AtomicU64,
    /// How long a target may take to accept one part of the body, in milliseconds.
    part_ms: AtomicU64,
    /// Whether the client sends its body only when it is told to go on, and its target is asked.
    client_waits: AtomicBool,
    /// Whether the proxy told it to, in the place of its target.
    was_told: AtomicBool,
    /// The attempt that has a connection to itself; none where it shares one.
    solo: ArcSwapOption<Solo>,
    is_unreadable: AtomicBool,
    /// Whether a target is being connected to, which Pingora bounds.
    is_connecting: AtomicBool,
    /// The end of the answer's chunks; none where Pingora's own ends them.
    last_chunk: OnceLock<Bytes>,
    /// What ends the connection that a call shares with others of the same stay alone; none where
    /// others may be on it.
    together: ArcSwapOption<Lifeline>,
    /// Whether it was ended because its group has departed.
    has_departed: AtomicBool,
}

/// Who was waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Laggard {
    /// The client, in the middle of its body.
    Client,
    /// The target: to take a part of the body, or to answer.
    Target,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its body is still coming.
    Uploading,
    /// Its body is still coming, and its target has answered.
    AnsweredEarly,
    /// Its body is whole, and its target has not answered.
    Waiting,
    /// Its target has answered.
    Answered,
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
        self.stage.fetch_or(SENT, Ordering::Relaxed);
    }

    /// Its target has answered.
    pub(super) fn is_answered(&self, now: MonoTime) {
        self.moved(now);
        self.is_connecting.store(false, Ordering::Relaxed);
        self.client_waits(false);
        self.stage.fetch_or(ANSWERED, Ordering::Relaxed);
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

    /// How long its target may take: to accept a part of the body, and to answer. `silent` is how
    /// long the answer to a whole body is waited for here; `None` where Pingora waits for it.
    pub(super) fn may_take(&self, write: Span, read: Span, silent: Option<Span>) {
        let patience = write.ms().saturating_add(read.ms());
        self.write_ms.store(patience, Ordering::Relaxed);
        self.part_ms.store(write.ms(), Ordering::Relaxed);
        self.read_ms.store(silent.map_or(0, Span::ms), Ordering::Relaxed);
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

    /// How long its target may be silent once the body is whole; `None` where Pingora bounds it.
    pub(super) fn read_limit(&self) -> Option<Span> {
        let ms = self.read_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Span::from_ms(ms))
    }

    /// How long its target may take to accept one part of the body.
    pub(super) fn part_limit(&self) -> Span {
        Span::from_ms(self.part_ms.load(Ordering::Relaxed))
    }

    /// An attempt begins: a target is connected to, and what an attempt before it came to is over.
    pub(super) fn connects(&self, now: MonoTime) {
        self.moved(now);
        self.is_connecting.store(true, Ordering::Relaxed);
        self.client_waits(false);
        self.late.store(0, Ordering::Release);
        self.have_solo(None);
        self.have_together(None);
    }

    /// Its connection to a target stands; it can be ended by the lifeline, if it has one.
    pub(super) fn stands_on(&self, lifeline: Option<Arc<Lifeline>>, now: MonoTime) {
        self.moved(now);
        self.is_connecting.store(false, Ordering::Relaxed);
        let (shared, own) = match lifeline {
            Some(lifeline) if lifeline.is_shared() => (Some(lifeline), None),
            own => (None, own),
        };
        self.have_together(shared);
        self.have_solo(own.map(|lifeline| Arc::new(Solo::on(lifeline))));
    }

    fn have_together(&self, together: Option<Arc<Lifeline>>) {
        if together.is_some() || self.together.load().is_some() {
            self.together.store(together);
        }
    }

    /// Its group departed. Ends the connection that it shares with those alone that have to leave
    /// as well, so that it comes to its end in good order; `false` if it has none.
    pub(super) fn depart(&self) -> bool {
        let together = self.together.load();
        let together = together.as_ref();
        if let Some(lifeline) = together {
            lifeline.cut();
        }
        together.is_some()
    }

    /// Whether the request under way in this task has failed because its group has departed: the
    /// connection was ended by whichever of those that share it was the first to see that.
    pub(super) fn departs() -> bool {
        let departs = |course: &Arc<Self>| {
            let departs =
                course.together.load().is_some() && course.stay().is_some_and(Stay::is_over);
            course.has_departed.fetch_or(departs, Ordering::Relaxed);
            departs
        };
        CURRENT.try_with(departs).unwrap_or(false)
    }

    /// Whether it was ended because its group has departed.
    pub(super) fn has_departed(&self) -> bool {
        self.has_departed.load(Ordering::Relaxed)
    }

    /// To store is not cheap, and most requests have none before and after.
    fn have_solo(&self, solo: Option<Arc<Solo>>) {
        if solo.is_some() || self.solo.load().is_some() {
            self.solo.store(solo);
        }
    }

    /// A part of the body on its way to the target; the course knows when the target has taken it.
    pub(super) fn hold(self: &Arc<Self>, bytes: Bytes, clock: Clock) -> Bytes {
        match self.solo.load_full() {
            Some(solo) => solo.hold(bytes, self, clock),
            None => bytes,
        }
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

    /// Whom a body that is on its way waits for, and how long it may; `None` where the request has
    /// no connection to itself, so that it cannot be told.
    pub(super) fn awaited(&self, client_may: Span) -> Option<(Laggard, Span)> {
        let solo = self.solo.load();
        let solo = solo.as_ref()?;
        if solo.has_in_hand() {
            return Some((Laggard::Target, self.part_limit()));
        }
        Some((Laggard::Client, client_may))
    }

    /// Somebody took too long. Ends the connection that the request has to itself, so that it comes
    /// to its end in good order; `false` if it has none.
    pub(super) fn end_for(&self, laggard: Laggard) -> bool {
        let late = match laggard {
            Laggard::Client => LATE_CLIENT,
            Laggard::Target => LATE_TARGET,
        };
        self.late.store(late, Ordering::Release);
        let solo = self.solo.swap(None);
        if let Some(solo) = &solo {
            solo.cut();
        }
        solo.is_some()
    }

    /// For whom the connection was ended, once; `None` if it was not.
    pub(super) fn take_laggard(&self) -> Option<Laggard> {
        match self.late.swap(0, Ordering::AcqRel) {
            LATE_CLIENT => Some(Laggard::Client),
            LATE_TARGET => Some(Laggard::Target),
            _ => None,
        }
    }

    /// Whether it is ended because its target took too long.
    pub(super) fn has_late_target(&self) -> bool {
        self.late.load(Ordering::Acquire) == LATE_TARGET
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

    /// How far it has come, and when something of it moved last; `None` if it ends by itself, and
    /// while it is being connected.
    pub(super) fn stage(&self) -> Option<(Stage, MonoTime)> {
        if self.ends_itself.load(Ordering::Acquire) || self.is_connecting.load(Ordering::Relaxed) {
            return None;
        }
        let stage = match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Uploading,
            ANSWERED => Stage::AnsweredEarly,
            SENT => Stage::Waiting,
            _ => Stage::Answered,
        };
        Some((stage, MonoTime::from_ms(self.moved_ms.load(Ordering::Relaxed))))
    }

    /// Where it stays; `None` if it ends by itself, or has no target.
    pub(super) fn stay(&self) -> Option<&Stay> {
        if self.ends_itself.load(Ordering::Acquire) {
            return None;
        }
        self.stays.iter().rev().find_map(OnceLock::get)
    }
}

const SENT: u8 = 1;
const ANSWERED: u8 = 2;
const LATE_CLIENT: u8 = 1;
const LATE_TARGET: u8 = 2;

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

    /// How often the group had departed when it began.
    pub(super) fn departures(&self) -> u64 {
        self.departures
    }

    /// Whether the group departed since.
    pub(super) fn is_over(&self) -> bool {
        self.group.departures() != self.departures
    }
}
