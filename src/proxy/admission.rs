//! Which requests are taken at all.
//!
//! Stricter than Pingora, which forwards requests without a host, lists of lengths and transfer
//! codings that it does not know (RFC 9112, sections 3.2 and 6). What it refuses itself, before
//! any hook runs, never gets here.

use std::net::Ipv6Addr;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Version};
use pingora_http::RequestHeader;

use crate::core::model::ClientLimits;

use super::answer::Refusal;

/// What an admitted request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted<'r> {
    /// The host without port; empty if an HTTP/1.0 request names none.
    pub(super) host: &'r str,
    /// The path without query.
    pub(super) path: &'r str,
    /// Whether the client wants another protocol than HTTP.
    pub(super) upgrade: bool,
}

/// Admits a request; `raw` is its header as it came, `None` in HTTP/2, where the size of a header is
/// bounded as it is decoded.
pub(super) fn admit<'r>(
    request: &'r RequestHeader,
    raw: Option<&[u8]>,
    limits: &ClientLimits,
) -> Result<Admitted<'r>, Refusal> {
    if exceeds(raw.map_or(0, <[u8]>::len), limits.header_bytes)
        || exceeds(request.headers.len(), limits.header_count)
    {
        return Err(Refusal::HeaderTooLarge);
    }
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(Refusal::Method);
    }
    if !raw.is_none_or(has_plain_request_line) {
        return Err(Refusal::Malformed("the request line is not three words of visible ASCII"));
    }
    if request.version == Version::HTTP_2 {
        check_http2(request)?;
    }
    check_framing(request)?;
    let host = host(request)?;
    let path = path(request)?;
    if content_length(request).is_some_and(|length| length > limits.body_bytes) {
        return Err(Refusal::BodyTooLarge);
    }
    let upgrade = asks_for_upgrade(request);
    if upgrade && !may_upgrade(request) {
        return Err(Refusal::Upgrade);
    }
    Ok(Admitted { host, path, upgrade })
}

/// Whether the request line is what RFC 9112, section 3, says. Pingora escapes what is not allowed
/// in a target, and so corrects what it should refuse.
fn has_plain_request_line(raw: &[u8]) -> bool {
    let line = raw.trim_ascii_start().split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words = line.split(|b| *b == b' ');
    words.clone().count() == 3
        && words.into_iter().all(|word| !word.is_empty() && word.iter().all(u8::is_ascii_graphic))
}

/// What HTTP/2 can carry here and HTTP/1.1 cannot: no path at all, which reads as `/`; bytes beyond
/// ASCII in a target, which Pingora would put into a request line as they are; a quote
/// in a name, which `http` takes for a token's; and space around a value, which is malformed
/// (RFC 9113, section 8.2.1) and which a target would drop or not.
fn check_http2(request: &RequestHeader) -> Result<(), Refusal> {
    if request.uri.path().is_empty() {
        return Err(Refusal::Malformed("the path is missing"));
    }
    if !request.raw_path().iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::Malformed("the path is not visible ASCII"));
    }
    let is_space = |byte: &u8| b" \t".contains(byte);
    let is_padded = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.first().is_some_and(is_space) || value.last().is_some_and(is_space)
    };
    let is_quoted = |name: &HeaderName| name.as_str().contains('"');
    if request.headers.iter().any(|(name, value)| is_quoted(name) || is_padded(value)) {
        return Err(Refusal::Malformed(
            "a field's name is no token, or its value begins or ends with space",
        ));
    }
    Ok(())
}

fn exceeds(count: usize, limit: u32) -> bool {
    u32::try_from(count).is_ok_and(|count| count > limit) || u32::try_from(count).is_err()
}

/// The announced length; one that no number holds counts as the largest.
pub(super) fn content_length(request: &RequestHeader) -> Option<u64> {
    let value = request.headers.get(CONTENT_LENGTH)?;
    Some(value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
}

/// Bytes after a header that asks for an upgrade belong to the new protocol; a body there could be
/// taken for either.
fn may_upgrade(request: &RequestHeader) -> bool {
    request.method == Method::GET
        && content_length(request).is_none_or(|length| length == 0)
        && !request.headers.contains_key(TRANSFER_ENCODING)
}

fn check_framing(request: &RequestHeader) -> Result<(), Refusal> {
    let digits = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !at_most_one(request, &CONTENT_LENGTH, digits) {
        return Err(Refusal::Malformed("content-length must be given once, as one number"));
    }
    let chunked = |value: &[u8]| value.eq_ignore_ascii_case(b"chunked");
    if !at_most_one(request, &TRANSFER_ENCODING, chunked) {
        return Err(Refusal::Malformed("the only transfer-encoding understood is chunked"));
    }
    Ok(())
}

fn at_most_one(request: &RequestHeader, name: &HeaderName, valid: impl Fn(&[u8]) -> bool) -> bool {
    let mut values = request.headers.get_all(name).into_iter();
    values.next().is_none_or(|value| valid(value.as_bytes())) && values.next().is_none()
}

fn host(request: &RequestHeader) -> Result<&str, Refusal> {
    let mut values = request.headers.get_all(HOST).into_iter();
    let authority = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (None, _) if request.version < Version::HTTP_11 => {
            return Ok(absolute_authority(request.raw_path()).and_then(without_port).unwrap_or(""));
        }
        // HTTP/2 says it in a pseudo-header, which Pingora compared with a host that is there too.
        (None, _) if request.version == Version::HTTP_2 => {
            request.uri.authority().map(http::uri::Authority::as_str)
        }
        (None, _) | (Some(_), Some(_)) => None,
    };
    authority.and_then(without_port).ok_or(Refusal::Malformed("exactly one valid host is needed"))
}

/// The host of `host` or `host:port`; `None` if it is not one.
fn without_port(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let valid_port = match port.strip_prefix(':') {
        Some("") => true,
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    let valid_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    (valid_host && valid_port).then_some(host)
}

fn absolute_authority(target: &[u8]) -> Option<&str> {
    let target = std::str::from_utf8(target).ok()?;
    let (_scheme, rest) = target.split_once("://")?;
    rest.split(['/', '?']).next()
}

fn path(request: &RequestHeader) -> Result<&str, Refusal> {
    let target = request.raw_path();
    let absolute = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if target == b"*" && request.method == Method::OPTIONS {
        return Ok("/");
    }
    if target.starts_with(b"/") || absolute(b"http://") || absolute(b"https://") {
        return Ok(request.uri.path());
    }
    Err(Refusal::Malformed("the request's target is neither a path nor an http URI"))
}

/// Whether a client wants another protocol than HTTP. The offer to go on in HTTP/2 (`h2c`) may
/// be ignored by anybody, and is.
fn asks_for_upgrade(request: &RequestHeader) -> bool {
    let tokens = |name: HeaderName| {
        let lines = request.headers.get_all(name).into_iter();
        lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
    };
    request.version == Version::HTTP_11
        && tokens(CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
        && tokens(UPGRADE).any(|token| !token.is_empty() && !token.eq_ignore_ascii_case(b"h2c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> RequestHeader {
        let mut request =
            RequestHeader::build(method, target.as_bytes(), None).expect("a request header");
        request.set_version(Version::HTTP_11);
        for (name, value) in fields {
            request.append_header((*name).to_owned(), *value).expect("valid");
        }
        request
    }

    fn check(
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        expected: Result<(&str, &str), u16>,
    ) {
        let request = request(method, target, fields);
        let found = admit(&request, None, &ClientLimits::default())
            .map(|admitted| (admitted.host, admitted.path))
            .map_err(|refusal| refusal.status());
        assert_eq!(found, expected, "{method} {target} {fields:?}");
    }

    #[test]
    fn a_host_is_needed_and_loses_its_port() {
        check("GET", "/a?b", &[("host", "shop.test")], Ok(("shop.test", "/a")));
        check("GET", "/", &[("host", "shop.test:8080")], Ok(("shop.test", "/")));
        check("GET", "/", &[("host", "[::1]:8080")], Ok(("[::1]", "/")));
        check("GET", "/", &[], Err(400));
        check("GET", "/", &[("host", "a"), ("host", "a")], Err(400));
        for bad in ["", "a b", "a/b", "u@a", ":80", "a:x", "a:99999", "a:+1", "[::1", "[x]"] {
            check("GET", "/", &[("host", bad)], Err(400));
        }
    }

    #[test]
    fn a_target_is_a_path_or_an_http_uri() {
        let host = [("host", "shop.test")];
        check("GET", "http://shop.test/x?y", &host, Ok(("shop.test", "/x")));
        check("OPTIONS", "*", &host, Ok(("shop.test", "/")));
        check("GET", "*", &host, Err(400));
    }

    #[test]
    fn lengths_and_codings_are_given_once() {
        let with = |name, value| [("host", "a"), (name, value)];
        check("POST", "/", &with("content-length", "5"), Ok(("a", "/")));
        check("POST", "/", &with("transfer-encoding", "Chunked"), Ok(("a", "/")));
        for bad in ["5, 5", "+5", "", "0x5"] {
            check("POST", "/", &with("content-length", bad), Err(400));
        }
        for bad in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            check("POST", "/", &with("transfer-encoding", bad), Err(400));
        }
        let twice = [("host", "a"), ("content-length", "5"), ("content-length", "5")];
        check("POST", "/", &twice, Err(400));
    }

    #[test]
    fn tunnels_traces_and_upgrades_are_refused_but_an_offer_of_http2_is_ignored() {
        check("TRACE", "/", &[("host", "a")], Err(405));
        let upgrade = |to| [("host", "a"), ("connection", "keep-alive, Upgrade"), ("upgrade", to)];
        let wants = |method, fields: &[(&str, &str)]| {
            let request = request(method, "/", fields);
            let found = admit(&request, None, &ClientLimits::default());
            found.map(|admitted| admitted.upgrade).map_err(Refusal::status)
        };
        assert_eq!(wants("GET", &upgrade("websocket")), Ok(true));
        assert_eq!(wants("GET", &upgrade("h2c")), Ok(false));
        assert_eq!(wants("POST", &upgrade("websocket")), Err(501));
        let [host, connection, wanted] = upgrade("websocket");
        let with_body = [host, connection, wanted, ("content-length", "5")];
        assert_eq!(wants("GET", &with_body), Err(501));
        check("GET", "/", &[("host", "a"), ("upgrade", "websocket")], Ok(("a", "/")));
    }

    #[test]
    fn a_request_line_is_three_words_of_visible_ascii() {
        for good in ["GET / HTTP/1.1\r\nhost: a\r\n", "\r\nGET /a%20b?c HTTP/1.1\n"] {
            assert!(has_plain_request_line(good.as_bytes()), "{good:?}");
        }
        for bad in
            ["GET /a b HTTP/1.1\r\n", "GET /\x01 HTTP/1.1", "GET  / HTTP/1.1", "GET /é HTTP/1.1"]
        {
            assert!(!has_plain_request_line(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn what_http_2_alone_can_carry_is_refused() {
        let sent = |path: &str, name: &'static str, value: &str| {
            let uri = format!("http://shop.test{path}");
            let request = http::Request::get(uri).version(Version::HTTP_2);
            let name = HeaderName::from_lowercase(name.as_bytes()).expect("a name");
            let (parts, ()) = request.header(name, value).body(()).expect("valid").into_parts();
            let request = RequestHeader::from(parts);
            admit(&request, None, &ClientLimits::default()).map(|_| ()).map_err(Refusal::status)
        };
        assert_eq!(sent("/a?b=c", "x-a", "b c"), Ok(()));
        assert_eq!(sent("/a", "x-a", ""), Ok(()));
        for (path, name, value) in [
            ("/\u{e9}", "x-a", "b"),
            ("/?\u{e9}", "x-a", "b"),
            ("/a", "x\"a", "b"),
            ("/a", "x-a", " b"),
            ("/a", "x-a", "b\t"),
            ("/a", "x-a", " "),
        ] {
            assert_eq!(sent(path, name, value), Err(400), "{path} {name} {value:?}");
        }
    }

    #[test]
    fn a_header_has_a_largest_size_and_count() {
        let limits = ClientLimits { header_count: 2, ..ClientLimits::default() };
        let most = usize::try_from(limits.header_bytes).expect("fits");
        let small = request("GET", "/", &[("host", "a"), ("x", "1")]);
        let raw =
            |length: usize| [b"GET / HTTP/1.1\r\n".as_slice(), &vec![b'a'; length - 16]].concat();
        assert!(admit(&small, Some(&raw(most)), &limits).is_ok());
        assert_eq!(admit(&small, Some(&raw(most + 1)), &limits), Err(Refusal::HeaderTooLarge));
        let many = request("GET", "/", &[("host", "a"), ("x", "1"), ("x", "2")]);
        assert_eq!(admit(&many, None, &limits), Err(Refusal::HeaderTooLarge));
    }
}
