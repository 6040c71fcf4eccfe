//! What the answer says to what was no request of HTTP/2: h2 refuses a header that is too large, and
//! Pingora one without a host, before any hook has seen it, with a bare status. The client's stream
//! (`wire`) adds whose answer it is and an id, as every answer of the proxy's own has (`early` does
//! it for HTTP/1.1).

use http::HeaderMap;

use super::field_block::put_field;
use super::forward;

/// The fields that are put behind the header of such an answer to the stream.
pub(super) fn fields(stream: u32, header: &[u8]) -> Vec<u8> {
    let id = forward::request_id(&HeaderMap::new());
    let word = if says_400(header) { "bad_request" } else { "header_too_large" };
    tracing::debug!(request_id = ?id, stream, word, "what is no request is refused");
    let mut fields = Vec::new();
    put_field(b"cache-control", b"no-store", &mut fields);
    put_field(b"x-tidegate-error", word.as_bytes(), &mut fields);
    put_field(b"x-request-id", id.as_bytes(), &mut fields);
    fields
}

/// The most bytes that these fields take.
pub(super) const MOST: usize = 160;

/// Whether a header begins with the status 400. There is only 431 besides.
fn says_400(mut header: &[u8]) -> bool {
    // New sizes of the table come first (RFC 7541, section 6.3).
    while let [first, rest @ ..] = header
        && first & 0xe0 == SIZE
    {
        header = rest;
        if first & 0x1f == 0x1f {
            let more = header.iter().take_while(|byte| **byte & 0x80 != 0).count();
            header = header.get(more + 1..).unwrap_or_default();
        }
    }
    header.first() == Some(&STATUS_400)
}

/// A new size of the table.
const SIZE: u8 = 0x20;
/// `:status: 400` of the table that never changes (appendix A).
const STATUS_400: u8 = 0x80 | 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_behind_new_sizes_of_the_table() {
        let cases: [(&[u8], bool); 7] = [
            (&[0x8c], true),
            (&[0x20, 0x8c], true),
            (&[0x20, 0x3f, 0xe1, 0x1f, 0x8c, 0x88], true),
            (&[0x48, 0x82, 0x68, 0x01], false),
            (&[0xbe], false),
            (&[0x3f, 0xe1], false),
            (&[], false),
        ];
        for (header, expected) in cases {
            assert_eq!(says_400(header), expected, "{header:?}");
        }
    }

    #[test]
    fn the_fields_are_no_larger_than_they_are_said_to_be() {
        let (short, long) = (fields(1, &[0x8c]), fields(3, &[]));
        assert!(short.len() < long.len() && long.len() <= MOST, "{}", long.len());
        let text = String::from_utf8_lossy(&long).into_owned();
        assert!(text.contains("x-tidegate-error\u{10}header_too_large"), "{text:?}");
    }
}
