//! Frames: how whole records lie in a log, so that one that was cut off is found to be.

use crate::core::model::Sha256;

use super::wire::{Bytes, put};

/// The bytes of a frame besides its payload, at most.
pub(super) const OVERHEAD: u64 = 4 + CHECK as u64;

/// The longest payload.
pub(super) const LONGEST: u64 = 8 << 20;

const CHECK: usize = 4;

/// Puts records into a frame.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(payload.len() + 16);
    put(&mut framed, payload.len() as u64);
    framed.extend_from_slice(&check(payload));
    framed.extend_from_slice(payload);
    framed
}

/// How many bytes of a log are whole frames; what follows was cut off and is of no use.
#[must_use]
pub fn whole_frames(log: &[u8]) -> u64 {
    let mut frames = Frames::new(log);
    while frames.next().is_some() {}
    (log.len() - frames.rest.0.len()) as u64
}

/// The payloads of a log, up to the first frame that is not whole.
#[derive(Clone, Debug)]
pub(super) struct Frames<'a> {
    rest: Bytes<'a>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(log: &'a [u8]) -> Self {
        Self { rest: Bytes(log) }
    }

    /// Whether something is left that is no frame.
    pub(super) fn is_torn(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut rest = self.rest;
        let length = rest.at_most(LONGEST)?;
        let expected = rest.take(CHECK as u64)?;
        let payload = rest.take(length)?;
        if check(payload) != expected {
            return None;
        }
        self.rest = rest;
        Some(payload)
    }
}

fn check(payload: &[u8]) -> [u8; CHECK] {
    let [a, b, c, d, ..] = *Sha256::of(payload).as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_is_left_out() {
        let mut log = frame(b"one");
        let first = log.len();
        log.extend(frame(b"two"));
        let all: Vec<&[u8]> = Frames::new(&log).collect();
        assert_eq!(all, [b"one", b"two"]);
        assert_eq!(whole_frames(&log), log.len() as u64);
        for end in first..log.len() {
            let mut frames = Frames::new(&log[..end]);
            assert_eq!(frames.by_ref().count(), 1, "{end}");
            assert_eq!(frames.is_torn(), end > first);
            assert_eq!(whole_frames(&log[..end]), first as u64);
        }
        *log.last_mut().expect("a byte") ^= 1;
        assert_eq!(whole_frames(&log), first as u64, "the checksum");
        assert_eq!(whole_frames(&[]), 0);
    }
}
