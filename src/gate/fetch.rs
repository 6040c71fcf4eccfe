//! A guest's request over HTTP: what is wrong with it, and whether a grant permits it.

use http::{HeaderName, HeaderValue, Uri};

use super::bindings::tidegate::gate::http::Request;
use super::outside::{FetchError, OutgoingRequest};
use super::words;
use crate::core::model::{HostPort, HttpGrant, Span};

/// Makes a request that a grant permits of what a guest asks for.
///
/// # Errors
/// It is no request, or none of the grants is about it.
pub(super) fn permitted(
    request: Request,
    grants: &[HttpGrant],
    longest: Span,
    longest_body: usize,
) -> Result<OutgoingRequest, FetchError> {
    let Place { is_https, host, path } = place(&request.url)?;
    let usual = if is_https { 443 } else { 80 };
    let port = host.port().unwrap_or(usual);
    let mut about =
        grants.iter().filter(|grant| grant.is_about(host.host(), port, usual)).peekable();
    if about.peek().is_none() {
        return Err(FetchError::Denied(format!(
            "no grant is about {}: list it under `grants.http` of the gate",
            words::clean(&host.to_string())
        )));
    }
    let method =
        |grant: &&HttpGrant| grant.methods.iter().any(|method| method.as_str() == request.method);
    let Some(grant) = about.find(method) else {
        return Err(FetchError::Denied(format!(
            "{} is not granted for {host}: list it under `methods` of the grant",
            words::clean(&request.method)
        )));
    };
    let headers = headers(request.headers)?;
    let asked = request.timeout_ms.map_or(longest, |ms| Span::from_ms(ms.into()));
    Ok(OutgoingRequest {
        method: request.method,
        is_https,
        host: host.host().to_owned(),
        port,
        authority: host.to_string(),
        path,
        headers,
        body: request.body,
        grant: grant.clone(),
        timeout: asked.min(longest),
        longest_body,
    })
}

/// Where a URL leads.
struct Place {
    is_https: bool,
    host: HostPort,
    path: String,
}

fn place(url: &str) -> Result<Place, FetchError> {
    let invalid = |why: &str| FetchError::Invalid(format!("the URL {why}"));
    if url.len() > LONGEST_URL {
        return Err(invalid(&format!("is longer than {LONGEST_URL} bytes")));
    }
    // The parser leaves it out without a word.
    if url.contains('#') {
        return Err(invalid("has a fragment"));
    }
    let parsed: Uri = url.parse().map_err(|_| invalid("cannot be read"))?;
    let is_https = match parsed.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) | None => return Err(invalid("is neither http nor https")),
    };
    let authority = parsed.authority().ok_or_else(|| invalid("has no host"))?;
    // Nobody would be sent it, and a mistake in the rest would be told with it.
    if authority.as_str().contains('@') {
        return Err(invalid("has a user in it, which belongs into a header"));
    }
    let host = authority
        .as_str()
        .parse::<HostPort>()
        .map_err(|error| invalid(&format!("has a bad host: {error}")))?;
    let path = parsed.path_and_query().map_or("/", |path| path.as_str());
    // A query alone has no path in front of it.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Place { is_https, host, path })
}

fn headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, FetchError> {
    if headers.len() > MOST_HEADERS {
        let text = format!("the request has more than {MOST_HEADERS} headers");
        return Err(FetchError::Invalid(text));
    }
    let checked = |(name, value): (String, String)| {
        let shown = words::clean(&name);
        let bad = |what: &str| FetchError::Invalid(format!("the header {shown:?} {what}"));
        let name: HeaderName = name.parse().map_err(|_| bad("has a bad name"))?;
        if is_the_hosts(&name) {
            return Err(bad("is set by the host"));
        }
        HeaderValue::from_str(&value).map_err(|_| bad("has a bad value"))?;
        Ok((name.as_str().to_owned(), value))
    };
    headers.into_iter().map(checked).collect()
}

/// Whether a header is the host's to set.
pub(super) fn is_the_hosts(name: &HeaderName) -> bool {
    HOST_SETS.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}

/// What is about the connection and the framing of the body (RFC 9110, sections 7.6.1 and 8.6).
const HOST_SETS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const LONGEST_URL: usize = 8 << 10;
const MOST_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(host: &str, methods: &[&str]) -> HttpGrant {
        HttpGrant {
            host: host.parse().expect("a host"),
            methods: methods.iter().map(|method| method.parse().expect("a method")).collect(),
            addresses: Vec::new(),
        }
    }

    fn request(method: &str, url: &str) -> Request {
        Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: String::new(),
            timeout_ms: None,
        }
    }

    fn outcome(request: Request) -> Result<OutgoingRequest, FetchError> {
        let grants = [
            grant("api.example.com", &["GET"]),
            grant("api.example.com", &["POST"]),
            grant("api.example.com:8443", &["GET"]),
            grant("[2606:4700::1111]", &["GET"]),
        ];
        permitted(request, &grants, Span::from_secs(2), 1_000)
    }

    #[test]
    fn what_is_granted_goes_where_its_url_says() {
        let check = |method, url, host, port, authority, path| {
            let found = outcome(request(method, url)).expect(url);
            let seen = (found.host.as_str(), found.port, found.authority.as_str());
            assert_eq!((seen, found.path.as_str()), ((host, port, authority), path), "{url}");
        };
        let api = "api.example.com";
        check("GET", "https://api.example.com", api, 443, api, "/");
        check("POST", "http://API.example.com./a%20b?c=d", api, 80, api, "/a%20b?c=d");
        check("GET", "https://api.example.com?c", api, 443, api, "/?c");
        let other = "api.example.com:8443";
        check("GET", "https://api.example.com:8443/x", api, 8_443, other, "/x");
        let address = "2606:4700::1111";
        check("GET", "http://[2606:4700::1111]/", address, 80, "[2606:4700::1111]", "/");
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let check = |method: &str, url: &str, expected: &str| match outcome(request(method, url)) {
            Err(FetchError::Denied(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{url}: {other:?}"),
        };
        check("GET", "https://evil.example.com/", "no grant is about evil.example.com");
        check("GET", "https://api.example.com:9000/", "no grant is about api.example.com:9000");
        check("GET", "http://169.254.169.254/latest", "no grant is about 169.254.169.254");
        check("DELETE", "https://api.example.com/", "DELETE is not granted for api.example.com");
        check("get", "https://api.example.com/", "get is not granted");
        check("POST", "https://api.example.com:8443/", "POST is not granted");
    }

    #[test]
    fn what_is_no_request_is_invalid() {
        let check = |request: Request, expected: &str| match outcome(request) {
            Err(FetchError::Invalid(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        };
        let get = |url: &str| request("GET", url);
        check(get("ftp://api.example.com/"), "neither http nor https");
        check(get("/path"), "neither http nor https");
        check(get("https://user:pass@api.example.com/"), "has a user in it");
        check(get("https://api.example.com:99999/"), "the URL");
        check(get("https://api.example.com/#a"), "fragment");
        check(get("https://api.example.com/a b"), "cannot be read");
        check(get(&format!("https://api.example.com/{}", "x".repeat(LONGEST_URL))), "longer than");
        let with = |name: &str, value: &str| Request {
            headers: vec![(name.to_owned(), value.to_owned())],
            ..get("https://api.example.com/")
        };
        check(with("Host", "evil.example.com"), "set by the host");
        check(with("transfer-encoding", "chunked"), "set by the host");
        check(with("proxy-authorization", "x"), "set by the host");
        check(with("a b", "x"), "bad name");
        check(with("x-a", "a\r\nhost: b"), "bad value");
        let many = vec![("a".to_owned(), "b".to_owned()); MOST_HEADERS + 1];
        check(Request { headers: many, ..get("https://api.example.com/") }, "more than 64");
    }

    #[test]
    fn a_request_waits_no_longer_than_its_call_has_time() {
        let timeout = |timeout_ms| {
            let request = Request { timeout_ms, ..request("GET", "https://api.example.com/") };
            outcome(request).expect("granted").timeout
        };
        assert_eq!(timeout(None), Span::from_secs(2));
        assert_eq!(timeout(Some(500)), Span::from_ms(500));
        assert_eq!(timeout(Some(60_000)), Span::from_secs(2));
    }
}
