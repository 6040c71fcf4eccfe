//! What is written to a client in the place of bytes of Pingora's.

use bytes::{Buf as _, Bytes};

/// Bytes that are written in the place of others, as far as they are yet to be written.
#[derive(Debug)]
pub(super) struct Substitute(Bytes);

impl Substitute {
    pub(super) fn of(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// What is still to be written.
    pub(super) fn rest(&self) -> &[u8] {
        &self.0
    }

    /// So many more bytes were written.
    pub(super) fn wrote(&mut self, count: usize) {
        let count = count.min(self.0.len());
        self.0.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_not_written_again() {
        let mut substitute = Substitute::of(b"abc".to_vec());
        substitute.wrote(1);
        assert_eq!(substitute.rest(), b"bc");
        substitute.wrote(2);
        assert!(substitute.rest().is_empty());
    }
}
