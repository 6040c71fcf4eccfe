//! gRPC: calls that are HTTP/2 requests, and whose outcome is a status of its own.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// Whether a request is a call of gRPC.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    let named = |kind: &HeaderValue| {
        let Some((start, rest)) = kind.as_bytes().split_at_checked(CONTENT.len()) else {
            return false;
        };
        // Not `-web`, which has its status in the body.
        let ends = rest.first().is_none_or(|byte| b"+; ".contains(byte));
        start.eq_ignore_ascii_case(CONTENT) && ends
    };
    headers.get(CONTENT_TYPE).is_some_and(named)
}

/// With or without a `+proto` behind it.
const CONTENT: &[u8] = b"application/grpc";

/// The status of HTTP that stands for the `grpc-status` of a header or of trailers, after the
/// mapping of its documents (`google.rpc.Code`); `None` if there is no such field.
pub(super) fn status(headers: &HeaderMap) -> Option<u16> {
    let code = headers.get("grpc-status")?.to_str().ok()?.trim().parse::<u8>().ok();
    Some(match code {
        Some(0) => 200,
        Some(1) => 499,
        Some(3 | 9 | 11) => 400,
        Some(4) => 504,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(7) => 403,
        Some(8) => 429,
        Some(12) => 501,
        Some(14) => 503,
        Some(16) => 401,
        // UNKNOWN, INTERNAL, DATA_LOSS, and what nobody knows.
        Some(_) | None => 500,
    })
}

/// Whether a status speaks against the target that gave it: not a deadline that its client chose,
/// and not a method that nobody has.
pub(super) fn is_targets_fault(status: u16) -> bool {
    status >= 500 && ![501, 504].contains(&status)
}

/// The `grpc-status` for an answer of the proxy's own with a status of HTTP.
pub(super) fn code_of(status: u16) -> &'static str {
    match status {
        400 | 405 | 413 | 431 => "3",
        404 => "12",
        408 | 504 => "4",
        501 => "12",
        502 | 503 => "14",
        _ => "13",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_content() {
        let check = |kind: &'static str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_call(&headers), expected, "{kind}");
        };
        for kind in ["application/grpc", "Application/gRPC+proto", "application/grpc; x=1"] {
            check(kind, true);
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            check(kind, false);
        }
    }

    #[test]
    fn every_status_that_is_the_servers_fault_counts_as_one() {
        for code in 0..=17u8 {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            let servers_fault = [2, 4, 12, 13, 14, 15, 17].contains(&code);
            assert_eq!(status(&headers).is_some_and(|s| s >= 500), servers_fault, "{code}");
        }
        assert_eq!(status(&HeaderMap::new()), None);
    }
}
