//! The body of a request on its way: how much came, how fast, and whether it is whole.

use http::header::EXPECT;
use http::{HeaderValue, Version};
use pingora_core::{Error, ErrorType};
use pingora_http::RequestHeader;

use crate::core::model::ClientLimits;

/// Why a body is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unacceptable {
    /// There is more of it than the listener allows.
    TooLarge,
    /// It comes more slowly than the listener allows.
    TooSlow,
}

impl Unacceptable {
    /// The error that ends such a request.
    pub(super) fn error(self) -> Box<Error> {
        let kind = match self {
            Self::TooSlow => ErrorType::ReadTimedout,
            Self::TooLarge => ErrorType::HTTPStatus(413),
        };
        Error::explain(kind, "the request's body is refused").into_down()
    }
}

/// What is known of a request's body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// When its first part came; `None` before.
    began_us: Option<u64>,
    is_whole: bool,
    /// Whether the client waits to be told to go on (RFC 9110, section 10.1.1).
    expects: bool,
}

impl Upload {
    /// The body that a request's header announces.
    pub(super) fn announced(is_empty: bool, expects: bool) -> Self {
        Self { began_us: None, is_whole: is_empty, expects }
    }

    /// Whether a target that waits does so for the client, and not the other way round.
    pub(super) fn is_awaited(&self) -> bool {
        !self.is_whole && (self.began_us.is_some() || !self.expects)
    }

    /// Whether the client sends nothing until it is told to go on, and was not told.
    pub(super) fn waits_for_word(&self) -> bool {
        self.expects && self.began_us.is_none() && !self.is_whole
    }

    /// The client was told to go on, or does so by itself.
    pub(super) fn goes_on(&mut self) {
        self.expects = false;
    }

    /// Whether all of it has come: until then it is the client that others wait for.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Takes note of a part; `bytes` is what has come in all.
    ///
    /// # Errors
    /// There is too much of it, or it comes too slowly.
    pub(super) fn part(
        &mut self,
        bytes: u64,
        is_last: bool,
        now_us: u64,
        limits: &ClientLimits,
    ) -> Result<(), Unacceptable> {
        if bytes > limits.body_bytes {
            return Err(Unacceptable::TooLarge);
        }
        self.is_whole |= is_last;
        let began_us = *self.began_us.get_or_insert(now_us);
        let seconds = now_us.saturating_sub(began_us) / 1_000_000;
        let least = u64::from(limits.body_rate).saturating_mul(seconds);
        if !is_last && seconds >= GRACE_SECONDS && bytes < least {
            return Err(Unacceptable::TooSlow);
        }
        Ok(())
    }
}

/// Whether a client sends its body only when it is told to go on (RFC 9110, section 10.1.1). One of
/// HTTP/2 is told if its target says so (`claim`), and else sends it by itself.
pub(super) fn waits_for_word(request: &RequestHeader) -> bool {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    request.version == Version::HTTP_11
        && request.headers.contains_key(EXPECT)
        && request.headers.get_all(EXPECT).into_iter().all(is_known)
}

/// How long a body may be slow at its beginning.
const GRACE_SECONDS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_neither_too_large_nor_too_slow() {
        let limits = ClientLimits { body_bytes: 2_000, body_rate: 100, ..ClientLimits::default() };
        let check = |parts: &[(u64, u64, bool)], expected: Result<(), Unacceptable>| {
            let mut upload = Upload::announced(false, false);
            let found = parts.iter().try_for_each(|(bytes, seconds, is_last)| {
                upload.part(*bytes, *is_last, seconds * 1_000_000, &limits)
            });
            assert_eq!(found, expected, "{parts:?}");
        };
        check(&[(2_000, 0, true)], Ok(()));
        check(&[(2_001, 0, true)], Err(Unacceptable::TooLarge));
        check(&[(1, 5, false), (2, 14, false)], Ok(()));
        check(&[(1, 5, false), (2, 15, false)], Err(Unacceptable::TooSlow));
        check(&[(1, 5, false), (1_000, 15, false)], Ok(()));
        check(&[(1, 5, false), (2, 99, true)], Ok(()));
    }
}
