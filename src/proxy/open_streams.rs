//! The streams of a connection of HTTP/2 that are open: which of them a request holds, how far its
//! answer is, and what is to be said on them besides what h2 says.
//!
//! The requests of a connection, each in a task of its own, and the task of the connection, which
//! reads and writes, know each other through this alone. A stream is forgotten once nothing more can be said
//! on it: h2 has ended it, or its client has and no request holds it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::stream_tag::StreamTag;

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct OpenStreams {
    tag: StreamTag,
    /// So many are kept; further ones are known to nobody.
    most: usize,
    /// Whether something is to be said: spares the lock where nothing is.
    has_waiting: AtomicBool,
    state: Mutex<State>,
    /// Whether something was heard since that was asked last.
    is_heard: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<u32, Progress>,
    waiting: Vec<Waiting>,
    /// Wakes the task of the connection; `None` before it has read.
    waker: Option<Waker>,
}

/// How far a stream is.
#[derive(Debug, Default)]
struct Progress {
    holder: Holder,
    /// Whether the client has reset it.
    is_reset: bool,
    /// Whether its final answer has begun.
    is_answered: bool,
    /// So many looks have found it without a request.
    looks: u32,
}

/// Who holds a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holder {
    /// No request, as yet.
    #[default]
    Nobody,
    /// A request.
    Request,
    /// A request did, and is over.
    Past,
}

/// A frame that waits to be written.
#[derive(Debug)]
struct Waiting {
    stream: u32,
    frame: Vec<u8>,
}

impl OpenStreams {
    /// Those of a connection that may have so many streams at once.
    pub(super) fn of_at_most(streams: u32) -> Arc<Self> {
        // Those that were reset still have a request for a while, and h2 does not count them.
        let most = usize::try_from(streams).unwrap_or(usize::MAX).saturating_mul(2);
        Arc::new(Self {
            tag: StreamTag::random(),
            most: most.saturating_add(SPARE),
            has_waiting: AtomicBool::new(false),
            state: Mutex::default(),
            is_heard: AtomicBool::new(false),
        })
    }

    /// What makes the tags of their requests.
    pub(super) fn tag(&self) -> &StreamTag {
        &self.tag
    }

    /// The client has let something more be sent, or a stream has ended: the connection is of use.
    pub(super) fn hear(&self) {
        self.is_heard.store(true, Ordering::Relaxed);
    }

    /// Whether there was that since this was asked last.
    pub(super) fn take_heard(&self) -> bool {
        self.is_heard.swap(false, Ordering::Relaxed)
    }

    /// A client begins a request on a stream.
    pub(super) fn opened(&self, stream: u32) {
        let mut state = self.lock();
        if state.streams.len() < self.most {
            state.streams.insert(stream, Progress::default());
        }
    }

    /// The client has reset it.
    pub(super) fn client_resets(&self, stream: u32) {
        let mut state = self.lock();
        state.unsay(stream);
        if let Some(progress) = state.streams.get_mut(&stream) {
            progress.is_reset = true;
            if progress.holder != Holder::Request {
                self.ends(state, stream);
            }
        }
    }

    /// A request of ours has come of it.
    pub(super) fn claim(&self, stream: u32) {
        if let Some(progress) = self.lock().streams.get_mut(&stream) {
            progress.holder = Holder::Request;
        }
    }

    /// Its request is over. What was answered may still have to be written.
    pub(super) fn release(&self, stream: u32) {
        let mut state = self.lock();
        if let Some(progress) = state.streams.get_mut(&stream) {
            progress.holder = Holder::Past;
            if progress.is_reset {
                self.ends(state, stream);
            }
        }
    }

    /// Whether what is answered on it is no answer to a request of ours.
    pub(super) fn is_unclaimed(&self, stream: u32) -> bool {
        let state = self.lock();
        state
            .streams
            .get(&stream)
            .is_some_and(|progress| progress.holder == Holder::Nobody && !progress.is_answered)
    }

    /// Its final answer begins, and nothing may be said before it any more.
    pub(super) fn answered(&self, stream: u32) {
        let mut state = self.lock();
        if let Some(progress) = state.streams.get_mut(&stream) {
            progress.is_answered = true;
        }
        state.unsay(stream);
    }

    /// It has ended: nothing may be said on it.
    pub(super) fn over(&self, stream: u32) {
        self.ends(self.lock(), stream);
    }

    /// Whether none is open.
    pub(super) fn are_over(&self) -> bool {
        self.lock().streams.is_empty()
    }

    /// Whether a request holds one, or may come of one in time.
    pub(super) fn are_asked(&self) -> bool {
        let state = self.lock();
        let streams = &state.streams;
        let has = |holder: Holder| streams.values().any(|progress| progress.holder == holder);
        let is_late = || streams.values().any(Progress::is_overdue);
        has(Holder::Request) || has(Holder::Nobody) && !is_late()
    }

    /// Looks at the streams of which no request has come. Whether one of them was there at the look
    /// before, too, and nothing else is under way: no request, and no answer that is yet to be written.
    pub(super) fn are_overdue(&self) -> bool {
        let mut state = self.lock();
        let (mut is_late, mut is_busy) = (false, false);
        for progress in state.streams.values_mut() {
            match progress.holder {
                Holder::Nobody => progress.looks = progress.looks.saturating_add(1),
                Holder::Request | Holder::Past => is_busy = true,
            }
            is_late |= progress.is_overdue();
        }
        is_late && !is_busy
    }

    /// Has a frame written in front of the final answer; `false` if it cannot be any more, or too
    /// much waits to be written.
    pub(super) fn say(&self, stream: u32, frame: Vec<u8>) -> bool {
        let mut state = self.lock();
        let is_awaited = state
            .streams
            .get(&stream)
            .is_some_and(|progress| !progress.is_answered && !progress.is_reset);
        if !is_awaited || !state.has_room_for(&frame) {
            return false;
        }
        state.waiting.push(Waiting { stream, frame });
        self.has_waiting.store(true, Ordering::Release);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whether something waits to be written.
    pub(super) fn has_waiting(&self) -> bool {
        self.has_waiting.load(Ordering::Acquire)
    }

    /// Puts what waits to be written behind what is there.
    pub(super) fn take_waiting(&self, frames: &mut Vec<u8>) {
        if self.has_waiting() {
            let mut state = self.lock();
            for waiting in state.waiting.drain(..) {
                frames.extend_from_slice(&waiting.frame);
            }
            self.has_waiting.store(false, Ordering::Release);
        }
    }

    /// From now on this wakes the task of the connection, whenever something is to be said.
    pub(super) fn wakes(&self, waker: &Waker) {
        let mut state = self.lock();
        if state.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    fn ends(&self, mut state: MutexGuard<'_, State>, stream: u32) {
        state.forget(stream);
        drop(state);
        self.hear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Whether its header takes too long.
    fn is_overdue(&self) -> bool {
        self.holder == Holder::Nobody && self.looks >= OVERDUE
    }
}

impl State {
    fn forget(&mut self, stream: u32) {
        self.streams.remove(&stream);
        self.unsay(stream);
    }

    /// Says nothing more on a stream.
    fn unsay(&mut self, stream: u32) {
        self.waiting.retain(|waiting| waiting.stream != stream);
    }

    fn has_room_for(&self, frame: &[u8]) -> bool {
        let bytes: usize = self.waiting.iter().map(|waiting| waiting.frame.len()).sum();
        self.waiting.len() < MOST_WAITING && bytes.saturating_add(frame.len()) <= MOST_BYTES
    }
}

/// After so many looks a stream without a request is overdue: it was there for a whole time between
/// two of them.
const OVERDUE: u32 = 2;
/// How many more streams are kept than twice as many as may be open at once.
const SPARE: usize = 64;
/// The most frames that wait on a connection.
const MOST_WAITING: usize = 256;
/// The most bytes in them.
const MOST_BYTES: usize = 128 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(streams: &OpenStreams) -> Vec<u8> {
        let mut frames = Vec::new();
        streams.take_waiting(&mut frames);
        frames
    }

    fn claimed() -> Arc<OpenStreams> {
        let streams = OpenStreams::of_at_most(10);
        for stream in [1, 3] {
            streams.opened(stream);
            streams.claim(stream);
        }
        streams
    }

    #[test]
    fn what_waits_is_written_once_and_in_its_order() {
        let streams = claimed();
        for (stream, frame) in [(3, b"a"), (1, b"b"), (3, b"c")] {
            assert!(streams.say(stream, frame.to_vec()));
        }
        assert!(streams.has_waiting());
        assert_eq!(said(&streams), b"abc");
        assert!(!streams.has_waiting());
        assert_eq!(said(&streams), b"");
    }

    #[test]
    fn nothing_is_said_behind_the_final_answer_or_the_end_of_a_stream() {
        type End = fn(&OpenStreams);
        let ends: [(&str, End); 3] = [
            ("answered", |streams| streams.answered(1)),
            ("over", |streams| streams.over(1)),
            ("reset", |streams| streams.client_resets(1)),
        ];
        for (name, end) in ends {
            let streams = claimed();
            assert!(streams.say(1, b"a".to_vec()) && streams.say(3, b"b".to_vec()));
            end(&streams);
            assert!(!streams.say(1, b"c".to_vec()), "{name}");
            assert_eq!(said(&streams), b"b", "{name}");
        }
        assert!(!claimed().say(5, b"a".to_vec()), "nobody opened it");
    }

    #[test]
    fn a_stream_is_unclaimed_until_a_request_has_come_of_it() {
        let streams = OpenStreams::of_at_most(10);
        assert!(!streams.is_unclaimed(1), "nobody opened it");
        streams.opened(1);
        assert!(streams.is_unclaimed(1));
        streams.claim(1);
        assert!(!streams.is_unclaimed(1));
        streams.release(1);
        assert!(!streams.is_unclaimed(1), "its answer may come after its request's end");
        streams.opened(3);
        streams.answered(3);
        assert!(!streams.is_unclaimed(3), "what comes now are trailers");
    }

    #[test]
    fn a_header_is_overdue_after_two_looks_unless_something_else_is_under_way() {
        let streams = OpenStreams::of_at_most(10);
        for _ in 0..3 {
            assert!(!streams.are_overdue(), "there is none");
        }
        streams.opened(1);
        assert!(!streams.are_overdue(), "it may just have begun");
        streams.claim(1);
        streams.opened(3);
        assert!(!streams.are_overdue());
        assert!(!streams.are_overdue() && streams.are_asked(), "a request is under way");
        streams.release(1);
        assert!(!streams.are_overdue(), "its answer is yet to be written");
        assert!(!streams.are_asked(), "no request comes of it in time");
        streams.opened(5);
        assert!(!streams.are_asked(), "nor does another one make up for it");
        streams.over(1);
        assert!(streams.are_overdue());
        streams.client_resets(3);
        streams.claim(5);
        assert!(!streams.are_overdue() && streams.are_asked(), "what was late is gone");
    }

    #[test]
    fn the_end_of_a_stream_is_heard_and_a_reset_of_nothing_is_not() {
        type End = fn(&OpenStreams);
        let ends: [(&str, bool, End); 5] = [
            ("over", true, |streams| streams.over(1)),
            ("reset", true, |streams| streams.client_resets(3)),
            ("nothing", false, |streams| streams.client_resets(5)),
            ("reset in a request", false, |streams| streams.client_resets(1)),
            ("released after a reset", true, |streams| {
                streams.client_resets(1);
                streams.release(1);
            }),
        ];
        for (name, is_heard, end) in ends {
            let streams = claimed();
            streams.release(3);
            assert!(!streams.take_heard(), "{name}");
            end(&streams);
            assert_eq!(streams.take_heard(), is_heard, "{name}");
        }
    }

    #[test]
    fn nothing_is_kept_of_streams_that_are_over() {
        let streams = OpenStreams::of_at_most(1);
        for stream in 0..1_000 {
            streams.opened(stream);
            if stream % 3 > 0 {
                streams.claim(stream);
            }
            match stream % 3 {
                0 => streams.client_resets(stream),
                1 => {
                    streams.client_resets(stream);
                    streams.release(stream);
                }
                _ => {
                    streams.release(stream);
                    streams.over(stream);
                }
            }
        }
        assert!(streams.are_over());
        for stream in 0..1_000 {
            streams.opened(stream);
        }
        assert_eq!(streams.lock().streams.len(), 2 + SPARE);
    }

    #[test]
    fn what_waits_is_bounded() {
        let streams = claimed();
        let many = (0..1_000).filter(|_| streams.say(1, b"a".to_vec())).count();
        assert_eq!(many, MOST_WAITING);
        streams.take_waiting(&mut Vec::new());
        let large = (0..1_000).filter(|_| streams.say(1, vec![0; 16 * 1_024])).count();
        assert_eq!(large, 8);
    }
}
