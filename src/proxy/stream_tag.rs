//! The tag that tells a request of HTTP/2 which stream it came on: a field that the client's stream
//! (`wire`) puts behind its header, and that the first hook takes out again.
//!
//! Pingora and h2 keep the number of a stream to themselves, and without it nothing can be said on a
//! stream from outside of them. A client cannot forge the tag: it holds a secret of the connection.
//! Nor can it make the tag part of a field of its own, by a header that ends inside of one, without
//! being found out: its request then has none.

use pingora_http::RequestHeader;

use super::field_block::put_field;

/// What makes the tags of one connection.
#[derive(Debug)]
pub(super) struct StreamTag {
    secret: u64,
}

impl StreamTag {
    /// With a secret of its own.
    pub(super) fn random() -> Self {
        Self { secret: rand::random() }
    }

    /// Puts the tag of a stream behind a header: so many bytes (`FIELD`).
    pub(super) fn put(&self, stream: u32, block: &mut Vec<u8>) {
        put_field(NAME.as_bytes(), &self.value(stream), block);
    }

    /// Takes the tag out of a request, with all that looks like one; gives the stream, and `None` if
    /// the tag is not there.
    pub(super) fn take(&self, request: &mut RequestHeader) -> Option<u32> {
        let last = request.headers.get_all(NAME).into_iter().next_back().cloned();
        remove(request);
        let value = last?;
        let value = value.as_bytes();
        let stream = std::str::from_utf8(value.get(..DIGITS)?).ok()?;
        let stream = u32::from_str_radix(stream, 16).ok()?;
        (value == self.value(stream)).then_some(stream)
    }

    fn value(&self, stream: u32) -> [u8; VALUE] {
        let number = (u128::from(stream) << 64) | u128::from(self.secret);
        let digit = |shift: usize| usize::from((number >> shift).to_le_bytes()[0] & 0x0f);
        std::array::from_fn(|place| HEX[digit(4 * (VALUE - 1 - place))])
    }
}

/// Takes what looks like a tag out of a request that has none.
pub(super) fn remove(request: &mut RequestHeader) {
    request.remove_header(NAME);
}

const NAME: &str = "x-tidegate-stream";
const HEX: &[u8; 16] = b"0123456789abcdef";
/// Digits of a stream's number.
const DIGITS: usize = 8;
/// Bytes of a tag's value: those, and the digits of the secret.
const VALUE: usize = DIGITS + 16;
/// Bytes of a tag in a header: in front of it stands what it is, and in front of its name and its
/// value how long they are.
pub(super) const FIELD: usize = 3 + NAME.len() + VALUE;
/// What a tag adds to the size of a header as HTTP/2 counts it (RFC 9113, section 6.5.2).
pub(super) const LIST_SIZE: u32 = 73;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(tags: &[&[u8]]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).expect("valid");
        request.append_header("x-other", "1").expect("valid");
        for tag in tags {
            request.append_header(NAME, *tag).expect("valid");
        }
        request
    }

    #[test]
    fn a_tag_is_as_long_as_it_is_said_to_be() {
        let mut block = Vec::new();
        StreamTag { secret: 0x00ab_cdef }.put(0x7fff_ffff, &mut block);
        let expected = b"\x10\x11x-tidegate-stream\x187fffffff0000000000abcdef";
        assert_eq!(block, expected);
        assert_eq!(block.len(), FIELD);
        assert_eq!(usize::try_from(LIST_SIZE), Ok(NAME.len() + VALUE + 32));
    }

    #[test]
    fn the_last_tag_counts_and_nothing_that_looks_like_one_is_left() {
        let tag = StreamTag { secret: 7 };
        let other = StreamTag { secret: 8 };
        let (five, nine) = (tag.value(5), tag.value(9));
        let forged = other.value(5);
        let longer = [&five[..], b"0"].concat();
        let cases: [(&[&[u8]], Option<u32>); 8] = [
            (&[&five], Some(5)),
            (&[&forged, b"x", &nine, &five], Some(5)),
            (&[&five, &forged], None),
            (&[&forged], None),
            (&[], None),
            (&[b""], None),
            (&[b"+0000005"], None),
            (&[&longer], None),
        ];
        for (tags, expected) in cases {
            let mut request = request(tags);
            assert_eq!(tag.take(&mut request), expected, "{tags:?}");
            assert_eq!(request.headers.len(), 1, "{tags:?}");
        }
        assert!(StreamTag::random().value(1) != StreamTag::random().value(1));
    }
}
