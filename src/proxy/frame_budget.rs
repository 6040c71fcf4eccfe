//! How many frames a client of HTTP/2 may send that carry nothing for a request: PING, SETTINGS,
//! PRIORITY, and those that nobody knows. h2 answers or drops each of them, however many there are,
//! so that a client which does nothing else keeps a processor busy for little (RFC 9113,
//! section 10.5).
//!
//! So many may be sent a second, and as many at once. RST_STREAM and WINDOW_UPDATE weigh a tenth:
//! they accompany requests and answers, and h2 puts up with any number of them as well, for streams
//! that are over. A header or a part of a body, in either direction, permits one more: a client of
//! gRPC pings once in each round trip of an answer, to find out how much it can take. Empty DATA,
//! CONTINUATION and resets of streams under way are bounded by h2 itself.

use crate::core::model::MonoTime;

use super::frames::{CONTINUATION, DATA, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE};

/// The budget of a connection.
#[derive(Debug)]
pub(super) struct FrameBudget {
    sent: Frames,
    answered: Frames,
    /// Frames a second, and at once.
    rate: u64,
    /// What may be sent now, in thousandths of a frame.
    left: u64,
    /// Until when `left` has grown.
    as_of: MonoTime,
    is_overdrawn: bool,
}

impl FrameBudget {
    /// The budget of a connection that begins.
    pub(super) fn new(rate: u32, now: MonoTime) -> Self {
        let rate = u64::from(rate);
        Self {
            sent: Frames::of_client(),
            answered: Frames::of_server(),
            rate,
            left: rate * FRAME,
            as_of: now,
            is_overdrawn: false,
        }
    }

    /// Takes what the client sent.
    ///
    /// # Errors
    /// The budget is overdrawn: the number of bytes up to the end of the frame with which it is.
    pub(super) fn sent(&mut self, bytes: &[u8], now: MonoTime) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() && !self.is_over() {
            let (taken, kind) = self.sent.step(&bytes[at..]);
            at += taken;
            match kind {
                Some(DATA | HEADERS) => self.earn(FRAME),
                Some(RST_STREAM | WINDOW_UPDATE) => self.spend(FRAME / 10, now),
                // It is part of a header.
                Some(CONTINUATION) | None => {}
                Some(_) => self.spend(FRAME, now),
            }
        }
        if self.is_over() { Err(at) } else { Ok(()) }
    }

    /// Takes what the client was sent.
    pub(super) fn answered(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, kind) = self.answered.step(bytes);
            bytes = &bytes[taken..];
            if let Some(DATA | HEADERS) = kind {
                self.earn(FRAME);
            }
        }
    }

    /// Whether nothing more is to be taken: h2 has to have had the whole of the last frame.
    fn is_over(&self) -> bool {
        self.is_overdrawn && self.sent.is_between()
    }

    fn earn(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount).min(self.rate * FRAME);
    }

    fn spend(&mut self, amount: u64, now: MonoTime) {
        // So many frames a second are as many thousandths of a frame a millisecond.
        self.earn(now.since(self.as_of).ms().saturating_mul(self.rate));
        self.as_of = now;
        match self.left.checked_sub(amount) {
            Some(left) => self.left = left,
            None => self.is_overdrawn = true,
        }
    }
}

/// A frame, in thousandths.
const FRAME: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// A budget of ten frames whose client has said hello, which costs nothing here.
    fn budget() -> FrameBudget {
        let mut budget = FrameBudget::new(10, MonoTime::from_ms(0));
        assert_eq!(budget.sent(PREFACE, MonoTime::from_ms(0)), Ok(()));
        budget
    }

    /// So many frames of a type, each with two bytes in it.
    fn frames(kind: u8, count: usize) -> Vec<u8> {
        [0, 0, 2, kind, 0, 0, 0, 0, 1, 7, 7].repeat(count)
    }

    /// How many frames of a type come through at this moment, of a hundred and a half.
    fn passed(budget: &mut FrameBudget, kind: u8, now: u64) -> usize {
        let sent = budget.sent(&frames(kind, 151), MonoTime::from_ms(now));
        let bytes = sent.expect_err("they are too many");
        assert_eq!(bytes % 11, 0, "it ends between two frames");
        // The one with which it is overdrawn is passed on.
        bytes / 11 - 1
    }

    #[test]
    fn frames_that_carry_nothing_are_counted_and_all_others_are_not() {
        for kind in [2, 4, 5, PING, 7, 10, 0xfa, 0xff] {
            assert_eq!(passed(&mut budget(), kind, 0), 10, "type {kind}");
        }
        for kind in [RST_STREAM, WINDOW_UPDATE] {
            assert_eq!(passed(&mut budget(), kind, 0), 100, "type {kind}");
        }
        for kind in [DATA, HEADERS, CONTINUATION] {
            assert_eq!(budget().sent(&frames(kind, 151), MonoTime::from_ms(0)), Ok(()), "{kind}");
        }
    }

    #[test]
    fn the_end_is_behind_the_same_frame_however_the_bytes_are_split() {
        let bytes = frames(PING, 30);
        for size in 1..=bytes.len() {
            let mut budget = budget();
            let mut passed = 0;
            for part in bytes.chunks(size) {
                match budget.sent(part, MonoTime::from_ms(0)) {
                    Ok(()) => passed += part.len(),
                    Err(at) => {
                        passed += at;
                        break;
                    }
                }
            }
            assert_eq!(passed, 11 * 11, "in parts of {size}");
        }
    }

    #[test]
    fn a_budget_fills_up_with_time_and_no_further() {
        let mut slow = budget();
        for n in 0..100 {
            // Ten a second for ten seconds.
            assert_eq!(slow.sent(&frames(PING, 1), MonoTime::from_ms(n * 100)), Ok(()));
        }
        assert_eq!(passed(&mut slow, PING, 10_400), 10, "the fill of one second is left");
        let mut spent = budget();
        assert_eq!(spent.sent(&frames(PING, 10), MonoTime::from_ms(0)), Ok(()));
        assert_eq!(passed(&mut spent, PING, 300), 3);
        assert_eq!(passed(&mut budget(), PING, 1_000_000), 10);
    }

    #[test]
    fn what_is_sent_for_a_request_in_either_direction_permits_one_more() {
        let now = MonoTime::from_ms(0);
        for (kind, earns) in [(DATA, true), (HEADERS, true), (CONTINUATION, false), (PING, false)] {
            let mut spent = budget();
            assert_eq!(spent.sent(&frames(PING, 10), now), Ok(()));
            spent.answered(&frames(kind, 2));
            assert_eq!(passed(&mut spent, PING, 0), if earns { 2 } else { 0 }, "{kind}");
        }
        let mut uploading = budget();
        for _ in 0..100 {
            let both = [frames(PING, 1), frames(DATA, 1)].concat();
            assert_eq!(uploading.sent(&both, now), Ok(()));
        }
        let mut idle = budget();
        idle.answered(&frames(DATA, 100));
        assert_eq!(passed(&mut idle, PING, 0), 10, "there is no more than the whole of it");
    }
}
