//! An interim answer (1xx) as a frame of HTTP/2, for which h2 and Pingora have no way out.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, StatusCode};

use super::field_block::{TABLE_SIZE, put_field, put_status};
use super::frames::{END_HEADERS, HEADERS, Head, MOST};

/// The frame that says it on a stream; `None` if it does not fit into one, with the size of a table
/// (`table_sizes`) in front.
pub(super) fn of(stream: u32, status: StatusCode, fields: &HeaderMap) -> Option<Vec<u8>> {
    let mut block = Vec::new();
    put_status(status.as_str(), &mut block);
    for (name, value) in fields.iter().filter(|(name, _)| may_stand(name)) {
        put_field(name.as_str().as_bytes(), value.as_bytes(), &mut block);
        if block.len() > MOST - TABLE_SIZE {
            return None;
        }
    }
    let head = Head { length: block.len(), kind: HEADERS, flags: END_HEADERS, stream };
    Some([&head.bytes()[..], &block].concat())
}

/// Whether a field may stand there: none that is about one connection may in HTTP/2 (RFC 9113,
/// section 8.2.2), and an interim answer has no body.
fn may_stand(name: &HeaderName) -> bool {
    ![CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        && !["keep-alive", "proxy-connection"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(field).collect()
    }

    #[test]
    fn a_hint_becomes_one_frame_without_fields_of_one_connection() {
        let fields = fields(&[
            ("connection", "keep-alive, link"),
            ("link", "</a.css>; rel=preload"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "0"),
        ]);
        let frame = of(5, StatusCode::EARLY_HINTS, &fields).expect("it fits");
        let block = b"\x18\x03103\x10\x04link\x15</a.css>; rel=preload";
        let length = u8::try_from(block.len()).expect("short");
        let head = [0, 0, length, HEADERS, END_HEADERS, 0, 0, 0, 5];
        assert_eq!(frame, [&head[..], block].concat());
    }

    #[test]
    fn what_fits_into_no_frame_is_none() {
        let large = |length: usize| {
            let mut fields = HeaderMap::new();
            fields.insert("x-large", "x".repeat(length).parse().expect("a value"));
            of(1, StatusCode::EARLY_HINTS, &fields)
        };
        // The status, what the field is, its name, and how long it and its value are.
        let most = MOST - TABLE_SIZE - 5 - 1 - 8 - 3;
        assert_eq!(large(most).expect("it fits").len(), 9 + MOST - TABLE_SIZE);
        assert_eq!(large(most + 1), None);
    }
}
