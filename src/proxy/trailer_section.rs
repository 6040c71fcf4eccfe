//! The trailer section of a request of HTTP/1.1, taken down line by line before Pingora reads past it.
//!
//! Only one that its header announces is taken down. What is no field by the letter is none here:
//! whoever gets the section is never to see a line end, or a framing, that was not there before.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A section that is being read.
#[derive(Debug, Default)]
pub(super) struct TrailerSection {
    fields: HeaderMap,
    /// How long the lines are that were taken.
    bytes: usize,
}

/// A line that is no field, or one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trailer is no field, or there are too many")]
pub(super) struct NoTrailer;

impl TrailerSection {
    /// How long the next line may be.
    pub(super) fn room(&self) -> usize {
        MAX_BYTES.saturating_sub(self.bytes)
    }

    /// Takes a line without its end.
    ///
    /// # Errors
    /// It is no field, or there is no room for it.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), NoTrailer> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(NoTrailer)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| NoTrailer)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        let value = value.map_err(|_| NoTrailer)?;
        if self.fields.len() >= MAX_FIELDS || line.len() > self.room() {
            return Err(NoTrailer);
        }
        self.bytes += line.len();
        self.fields.append(name, value);
        Ok(())
    }

    /// The fields, where the section is over; the next one begins.
    pub(super) fn end(&mut self) -> HeaderMap {
        std::mem::take(self).fields
    }
}

/// The longest section, in bytes: no more than Pingora reads past.
const MAX_BYTES: usize = 64 * 1_024;
/// The most fields of a section: as many as Pingora takes in a header.
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_field_or_ends_the_section() {
        let check = |line: &[u8], expected: Option<(&str, &[u8])>| {
            let mut section = TrailerSection::default();
            let taken = section.take(line);
            assert_eq!(taken.is_ok(), expected.is_some(), "{line:?}");
            let fields = section.end();
            let found = fields.iter().next().map(|(name, value)| (name.as_str(), value.as_bytes()));
            assert_eq!(found, expected, "{line:?}");
        };
        check(b"X-Sum:1", Some(("x-sum", b"1")));
        check(b"x-sum: \t s u m ", Some(("x-sum", b"s u m")));
        check(b"x-sum:", Some(("x-sum", b"")));
        check("x-name: é".as_bytes(), Some(("x-name", "é".as_bytes())));
        for line in [
            &b"x-sum"[..],
            b": 1",
            b"x-sum : 1",
            b" x-sum: 1",
            b"x-sum: a\rb",
            b"x-sum: a\nb",
            b"x-sum: a\0b",
            b"x-sum: a\x7f",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn a_section_is_bounded_in_bytes_and_in_fields() {
        let mut many = TrailerSection::default();
        for _ in 0..MAX_FIELDS {
            many.take(b"x: 1").expect("not too many");
        }
        assert_eq!(many.take(b"x: 1"), Err(NoTrailer));
        assert_eq!(many.end().len(), MAX_FIELDS);
        let mut large = TrailerSection::default();
        let line = [b"x: ".to_vec(), vec![b'a'; MAX_BYTES - 3]].concat();
        large.take(&line).expect("it fits");
        assert_eq!((large.room(), large.take(b"x:")), (0, Err(NoTrailer)));
    }
}
