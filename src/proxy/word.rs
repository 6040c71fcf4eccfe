//! The word to go on: a client that waits for `100 Continue` before it sends its body hears it from
//! the proxy where the target says nothing (RFC 9110, section 10.1.1).
//!
//! Targets may ignore the expectation, and then all three wait for each other. Pingora has no hook
//! for that time; the client's stream (`wire`) notices it, because its body is being read and does
//! not come. A word of the target that comes later is swallowed: the client has heard it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::AsyncWrite as _;
use tokio::time::{Sleep, sleep};

use super::course::Course;

/// How long a target may be silent before the proxy says the word itself.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// What a connection's client was told.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// Runs while the client waits; `None` while it does not.
    silence: Option<Pin<Box<Sleep>>>,
    /// What is still to be written of it, also nothing where it is yet to be flushed; `None` while it
    /// is not being said.
    rest: Option<&'static [u8]>,
    /// Whether it was said to the present request, whose final answer has not begun.
    is_said: bool,
}

impl Word {
    /// Nothing comes from the client: says the word if it is time.
    pub(super) fn nothing_came(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> io::Result<()> {
        if !Course::has_waiting_client() {
            self.silence = None;
        } else if self
            .silence
            .get_or_insert_with(|| Box::pin(sleep(SILENCE)))
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            self.silence = None;
            Course::tell(Course::told_to_go_on);
            (self.rest, self.is_said) = (Some(CONTINUE), true);
        }
        match self.finish(io, cx) {
            Poll::Ready(said) => said,
            Poll::Pending => Ok(()),
        }
    }

    /// Something came: it waits no more.
    pub(super) fn something_came(&mut self) {
        self.silence = None;
    }

    /// Whether some of it is still to be written.
    pub(super) fn is_being_said(&self) -> bool {
        self.rest.is_some()
    }

    /// Says the rest of it.
    pub(super) fn finish(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.rest {
            if rest.is_empty() {
                ready!(Pin::new(&mut *io).poll_flush(cx))?;
                self.rest = None;
                break;
            }
            let count = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest = Some(rest.get(count..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }

    /// Whether these bytes, which are about to be written, say again what was said.
    pub(super) fn is_repeated_by(&mut self, bytes: &[u8]) -> bool {
        if !self.is_said {
            return false;
        }
        match status(bytes) {
            Some([b'1', b'0', b'0']) => true,
            Some([b'1', _, _]) => false,
            Some(_) | None => {
                // The final answer begins.
                self.is_said = false;
                false
            }
        }
    }
}

/// The status of a header of HTTP/1; `None` if these bytes are none.
fn status(bytes: &[u8]) -> Option<[u8; 3]> {
    let line = bytes.strip_prefix(b"HTTP/1.")?;
    let [_minor, b' ', a, b, c, ..] = line else { return None };
    bytes.ends_with(b"\r\n\r\n").then_some([*a, *b, *c])
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_repeated_by_another_100_before_the_final_answer_alone() {
        let said = |bytes: &[u8]| Word { is_said: true, ..Word::default() }.is_repeated_by(bytes);
        assert!(said(CONTINUE));
        assert!(said(b"HTTP/1.1 100 Continue\r\nx: 1\r\n\r\n"));
        assert!(!said(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
        assert!(!said(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!Word::default().is_repeated_by(CONTINUE));
        let mut word = Word { is_said: true, ..Word::default() };
        assert!(!word.is_repeated_by(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
        assert!(word.is_repeated_by(CONTINUE) && word.is_repeated_by(CONTINUE));
        assert!(!word.is_repeated_by(b"HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n"));
        assert!(!word.is_repeated_by(CONTINUE), "it is the body now");
    }
}
