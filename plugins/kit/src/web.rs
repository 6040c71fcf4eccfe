//! Requests over HTTP.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::http::{Request, Response, fetch};

/// A request without a body.
#[must_use]
pub fn get(url: String, headers: &BTreeMap<String, String>, timeout_ms: u32) -> Request {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let timeout_ms = Some(timeout_ms);
    Request { method: "GET".to_owned(), url, headers, body: String::new(), timeout_ms }
}

/// Sends a request.
///
/// # Errors
/// There is no response, and the text says why.
pub fn send(request: &Request) -> Result<Response, String> {
    fetch(request)
        .map_err(|failure| format!("{}: {}: {}", request.url, failure.kind, failure.reason))
}

/// A text as it may stand in a path or a query.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

/// The beginning of a body, for a reason.
#[must_use]
pub fn excerpt(body: &str) -> String {
    body.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_unreserved_characters_is_encoded() {
        assert_eq!(encode("a-b_c.d~9"), "a-b_c.d~9");
        assert_eq!(encode("sum(x{a=\"é\"})+1"), "sum%28x%7Ba%3D%22%C3%A9%22%7D%29%2B1");
    }
}
