//! The end of a connection of HTTP/2 whose client floods it (`frame_budget`).
//!
//! Pingora keeps the connection to itself, and h2, which puts up with such a flood, has no door in
//! the stream below it through which to be told. But it ends a connection by itself on which a
//! header goes on and on: with a GOAWAY that asks for calm (ENHANCE_YOUR_CALM, RFC 9113, section 7),
//! in its place between the frames that it writes, and with the number of the last request that it
//! took. So a header without an end is what it reads in the place of all that comes after a flood.
//! The words in the GOAWAY are h2's own, and speak of that header.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::clock::Clock;
use crate::core::model::ClientLimits;
use crate::telemetry::{EdgeEvent, Recorder};

use super::frame_budget::FrameBudget;
use super::frames::{CONTINUATION, HEAD, HEADERS};

/// Watches what passes on a connection.
#[derive(Debug)]
pub(super) struct FloodGuard {
    budget: FrameBudget,
    clock: Clock,
    recorder: Arc<Recorder>,
    /// How long is waited for a client to notice the end.
    patience: Duration,
    /// `None` until there is a flood.
    flood: Option<Flood>,
}

/// A flood that was found.
#[derive(Debug, Default)]
struct Flood {
    /// How many bytes of the header without an end were read.
    told: usize,
    /// Whether the end of what we send was sent.
    is_shut: bool,
    /// Runs once it was; `None` before.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl FloodGuard {
    pub(super) fn new(limits: &ClientLimits, clock: Clock, recorder: Arc<Recorder>) -> Self {
        let budget = FrameBudget::new(limits.h2_control_frames, clock.mono());
        Self { budget, clock, recorder, patience: limits.body_drain.into(), flood: None }
    }

    /// Takes what the client sent, which is in the buffer after `before`; what follows upon a flood
    /// is taken out.
    pub(super) fn sent(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let sent = self.budget.sent(&buffer.filled()[before..], self.clock.mono());
        if let Err(at) = sent {
            buffer.set_filled(before + at);
            self.flood = Some(Flood::default());
            self.recorder.edge(EdgeEvent::FrameFlood);
            tracing::debug!("a client floods its connection with control frames");
        }
    }

    /// Takes what the client was sent.
    pub(super) fn answered(&mut self, bytes: &[u8]) {
        self.budget.answered(bytes);
    }

    /// Puts into a buffer what is read after a flood; `None` where there was none.
    pub(super) fn instead(&mut self, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        self.flood.as_mut().map(|flood| flood.tell(buffer))
    }

    /// Ends the sending half. After a flood it goes on to read for a while, to no purpose but that
    /// the system does not take the GOAWAY back: it would, by a reset, if something was unread.
    pub(super) fn shutdown(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(flood) = &mut self.flood else { return Pin::new(io).poll_shutdown(cx) };
        if !flood.is_shut {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            flood.is_shut = true;
        }
        let patience = self.patience;
        let lingers = flood.lingers.get_or_insert_with(|| Box::pin(sleep(patience)));
        let mut scrap = [0_u8; SCRAP];
        while lingers.as_mut().poll(cx).is_pending() {
            let mut scrap = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut scrap))?;
            if scrap.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Flood {
    fn tell(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        if self.told >= MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        while buffer.remaining() > 0 && self.told < MOST {
            let frame = if self.told < HEAD { &BEGINS } else { &GOES_ON };
            let rest = &frame[self.told % HEAD..];
            let now = &rest[..rest.len().min(buffer.remaining())];
            buffer.put_slice(now);
            self.told += now.len();
        }
        Ok(())
    }
}

/// A header with nothing in it that is not at its end. No stream comes of it, so that any will do.
const BEGINS: [u8; HEAD] = [0, 0, 0, HEADERS, 0, 0, 0, 0, 1];
/// It goes on, with nothing.
const GOES_ON: [u8; HEAD] = [0, 0, 0, CONTINUATION, 0, 0, 0, 0, 1];
/// The connection breaks if h2 has not had enough by then. It has after five frames that go on, or
/// so many that could hold the largest header and a quarter more: 20 for 256 KiB.
const MOST: usize = 7_000 * HEAD;
/// How much is read at once to no purpose.
const SCRAP: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_goes_on_is_read_whole_however_small_the_buffers_are() {
        let mut whole = BEGINS.to_vec();
        while whole.len() < MOST {
            whole.extend(GOES_ON);
        }
        whole.truncate(MOST);
        for size in [1, 5, 9, 10, 8_192, 100_000] {
            let mut flood = Flood::default();
            let mut told = Vec::new();
            let mut space = vec![0; size];
            loop {
                let mut buffer = ReadBuf::new(&mut space);
                if flood.tell(&mut buffer).is_err() {
                    break;
                }
                assert!(!buffer.filled().is_empty(), "that would be the end of the stream");
                told.extend_from_slice(buffer.filled());
            }
            assert_eq!(told, whole, "in parts of {size}");
        }
    }
}
