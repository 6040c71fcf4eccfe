//! Which header fields pass, and which the proxy sets.
//!
//! No client is trusted to say where a request came from (`forwarded` knows who is), so what it
//! says about that is replaced. Names are compared with `_` as `-`: many targets cannot tell the two apart.

use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::core::model::{ListenerSpec, RuleActions, Side};
use crate::core::routing::{LiveTarget, ServiceRoute};

use super::cookie::CohortId;
use super::forwarded::Origin;
use super::rewrite;

/// The id of a request: the client's if it is a sane one, else 128 random bits.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
        (1..=REQUEST_ID_LIMIT).contains(&value.len()) && value.as_bytes().iter().all(allowed)
    };
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        let id = format!("{:032x}", rand::random::<u128>());
        HeaderValue::try_from(id).expect("hexadecimal digits are a header value")
    })
}

/// What a request takes with it to a target, besides what its client wrote.
#[derive(Debug)]
pub(super) struct Onward<'r> {
    /// Where it comes from.
    pub(super) origin: &'r Origin,
    /// Which fields tell who the client is.
    pub(super) identity: &'r IdentityHeaders,
    /// The id that it has here and at its target.
    pub(super) request_id: &'r HeaderValue,
}

impl Onward<'_> {
    /// Prepares a request for a target; Pingora has taken the hop-by-hop fields out.
    pub(super) fn to_target(
        &self,
        request: &mut RequestHeader,
        actions: &RuleActions,
        target: &LiveTarget,
    ) -> Result<()> {
        let (origin, identity) = (self.origin, self.identity);
        let forged: Vec<HeaderName> =
            request.headers.keys().filter(|name| identity.is_forgeable(name)).cloned().collect();
        for name in &forged {
            request.remove_header(name);
        }
        if let Some(forwarded_for) = origin.forwarded_for.clone() {
            request.insert_header("x-forwarded-for", forwarded_for)?;
        }
        let named = host_of(request);
        if !request.headers.contains_key(HOST) {
            // HTTP/1.1 has to name a host, which HTTP/2 does elsewhere, and HTTP/1.0 need not.
            let target = || HeaderValue::try_from(target.address().to_string()).ok();
            if let Some(host) = named.clone().or_else(target) {
                request.insert_header(HOST, host)?;
            }
        }
        if let Some(host) = origin.host.clone().or(named) {
            request.insert_header("x-forwarded-host", host)?;
        }
        request.insert_header("x-forwarded-proto", if origin.secure { "https" } else { "http" })?;
        if let (Some(name), Some(subject)) = (identity.set.clone(), origin.subject.clone()) {
            request.insert_header(name, subject)?;
        }
        request.insert_header(REQUEST_ID, self.request_id.clone())?;
        join_cookies(request)?;
        if !request.raw_path().starts_with(b"/") && request.raw_path() != b"*" {
            // A target that came as an absolute URI leaves as a path: this is the last proxy.
            request.set_uri(request.uri.clone());
        }
        rewrite::request(request, actions, target)
    }

    /// A copy of a request that a mirror may send: prepared as for its target, and marked.
    pub(super) fn mirrored(
        &self,
        original: &RequestHeader,
        actions: &RuleActions,
        target: &LiveTarget,
    ) -> Result<RequestHeader> {
        let mut copy = original.clone();
        for name in not_to_pass(&original.headers) {
            copy.remove_header(&name);
        }
        copy.remove_header(&CONTENT_LENGTH);
        self.to_target(&mut copy, actions, target)?;
        copy.insert_header("x-tidegate-mirror", "1")?;
        Ok(copy)
    }
}

/// Prepares a target's interim response (103 and its like) for a client.
pub(super) fn interim_to_client(response: &mut ResponseHeader) {
    for name in not_to_pass(&response.headers) {
        response.remove_header(&name);
    }
}

/// Prepares a target's final response for a client that speaks this version.
pub(super) fn to_client(
    response: &mut ResponseHeader,
    client: Version,
    service: &ServiceRoute,
    side: Side,
    issued: Option<CohortId>,
    actions: &RuleActions,
) -> Result<()> {
    for name in not_to_pass(&response.headers) {
        response.remove_header(&name);
    }
    response.set_version(Version::HTTP_11);
    if response.headers.contains_key(TRANSFER_ENCODING) {
        // Two framings of one body are how responses are smuggled: the coding wins (RFC 9112,
        // section 6.3). HTTP/1.0 does not know it, and reads until the connection closes.
        response.remove_header(&CONTENT_LENGTH);
        if client < Version::HTTP_11 {
            response.remove_header(&TRANSFER_ENCODING);
        }
    }
    rewrite::response(response, actions)?;
    if service.tell_side {
        response.insert_header("x-tidegate-side", side.as_str())?;
        response.insert_header("x-tidegate-generation", service.generation.to_string())?;
        if let Some(revision) = &service.side(side).revision {
            response.insert_header("x-tidegate-revision", revision.as_str().as_bytes())?;
        }
    }
    if let (Some(id), Some(sticky)) = (issued, &service.stickiness) {
        response.append_header(SET_COOKIE, id.set_cookie(&sticky.issued))?;
    }
    Ok(())
}

/// The fields that tell targets who a client is by its certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct IdentityHeaders {
    /// The one that this listener sets; `None` if it asks for no certificates.
    set: Option<HeaderName>,
    /// Those that any listener sets, and so no client.
    ours: Arc<[HeaderName]>,
}

impl IdentityHeaders {
    /// The fields of one of these listeners.
    pub(super) fn of(listener: &ListenerSpec, all: &[ListenerSpec]) -> Self {
        let name = |listener: &ListenerSpec| {
            let clients = listener.tls.as_ref()?.client_certificates.as_ref()?;
            HeaderName::try_from(clients.header.as_str()).ok()
        };
        Self { set: name(listener), ours: all.iter().filter_map(name).collect() }
    }

    /// Whether a client could pretend something with a field.
    pub(super) fn is_forgeable(&self, name: &HeaderName) -> bool {
        is_forgeable(name.as_str())
            || self.ours.iter().any(|of_ours| {
                of_ours.as_str().len() == name.as_str().len()
                    && begins(name.as_str(), of_ours.as_str())
            })
    }
}

/// What a request calls the host: in HTTP/2 it may say so in a pseudo-header alone.
fn host_of(request: &RequestHeader) -> Option<HeaderValue> {
    let authority = || HeaderValue::try_from(request.uri.authority()?.as_str()).ok();
    request.headers.get(HOST).cloned().or_else(authority)
}

/// Puts cookies into one field: HTTP/2 may send each in a field of its own, and where it ends they
/// have to be one again (RFC 9113, section 8.2.3), for targets that read the first field alone.
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    if request.headers.get_all(COOKIE).into_iter().nth(1).is_none() {
        return Ok(());
    }
    let lines = request.headers.get_all(COOKIE).into_iter();
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::try_from(lines.join(b"; ".as_slice()));
    request.insert_header(COOKIE, joined.expect("parts of values and `; ` make a value"))
}

fn is_forgeable(name: &str) -> bool {
    let is = |wanted: &str| name.len() == wanted.len() && begins(name, wanted);
    is("forwarded")
        || is("x-real-ip")
        || begins(name, "x-forwarded-")
        || begins(name, "x-client-cert-")
        || begins(name, PREFIX_OF_OURS)
}

fn begins(name: &str, prefix: &str) -> bool {
    let dashed = |b: u8| if b == b'_' { b'-' } else { b };
    name.len() >= prefix.len()
        && name.bytes().map(dashed).zip(prefix.bytes().map(dashed)).all(|(a, b)| a == b)
}

/// Fields that end here: hop-by-hop ones, those that `Connection` names, and our own.
pub(super) fn not_to_pass(headers: &HeaderMap) -> Vec<HeaderName> {
    let nominated = |name: &HeaderName| {
        let mut lines = headers.get_all(CONNECTION).into_iter();
        *name != CONTENT_LENGTH
            && *name != TRANSFER_ENCODING
            && lines.any(|line| {
                let mut tokens = line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
                tokens.any(|token| token.eq_ignore_ascii_case(name.as_str().as_bytes()))
            })
    };
    let ends_here = |name: &&HeaderName| {
        HOP_BY_HOP.contains(&name.as_str())
            || name.as_str().starts_with(PREFIX_OF_OURS)
            || nominated(name)
    };
    headers.keys().filter(ends_here).cloned().collect()
}

const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_LIMIT: usize = 128;
const PREFIX_OF_OURS: &str = "x-tidegate-";
const HOP_BY_HOP: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "te", "upgrade"];

#[cfg(test)]
mod tests {
    use super::super::testkit::{Act, Origin, World, field, service};

    #[tokio::test]
    async fn what_a_client_says_about_its_origin_is_replaced() {
        let origin = Origin::saying("fine").await;
        let world = World::new(service(0, &[origin.address], &[]));
        let forged = "Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\
            X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Port: 666\r\nX-Real-IP: 6.6.6.6\r\n\
            X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\n\
            X-Tidegate-Side: green\r\ntraceparent: 00-1-2-01\r\nx-request-id: abc-1\r\n";
        world.get(forged).await;
        world.get("x-request-id: a b\r\n").await;
        let seen = origin.seen();
        assert!(!seen[0].contains("6.6.6.6") && !seen[0].contains("666"), "{}", seen[0]);
        assert!(!seen[0].to_ascii_lowercase().contains("x-tidegate"), "{}", seen[0]);
        let check = |name, expected| assert_eq!(field(&seen[0], name), Some(expected));
        check("x-forwarded-for", "127.0.0.1");
        check("x-forwarded-host", "shop.test");
        check("x-forwarded-proto", "http");
        check("traceparent", "00-1-2-01");
        check("x-request-id", "abc-1");
        check("host", "shop.test");
        assert_eq!(field(&seen[1], "x-request-id").map(str::len), Some(32));
    }

    #[tokio::test]
    async fn hop_by_hop_fields_end_here_in_both_directions() {
        let reply = "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\n\
            proxy-connection: keep-alive\r\nx-tidegate-side: green\r\nx-tidegate-error: no\r\n\
            x-end: 1\r\ncontent-length: 2\r\n\r\nok";
        let origin = Origin::new(move |_, _| vec![Act::Send(reply.to_owned())]).await;
        let world = World::new(service(0, &[origin.address], &[]));
        let answer = world
            .get(
                "Connection: keep-alive, x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\n\
                 TE: trailers\r\nProxy-Connection: keep-alive\r\nX-End: 1\r\n",
            )
            .await;
        let seen = origin.seen().remove(0);
        for name in ["x-secret", "keep-alive", "te", "proxy-connection"] {
            assert_eq!(field(&seen, name), None, "{name} in {seen}");
        }
        for name in ["x-hop", "keep-alive", "proxy-connection", "x-tidegate-error"] {
            assert_eq!(field(&answer, name), None, "{name} in {answer}");
        }
        assert_eq!(field(&seen, "x-end"), Some("1"));
        assert_eq!(field(&answer, "x-end"), Some("1"));
        assert_eq!(field(&answer, "x-tidegate-side"), Some("blue"));
        assert_eq!(field(&answer, "x-tidegate-generation"), Some("7"));
    }

    #[tokio::test]
    async fn cookies_in_several_fields_arrive_in_one() {
        let origin = Origin::saying("fine").await;
        let world = World::new(service(0, &[origin.address], &[]));
        world.get("cookie: a=b\r\ncookie: c=d; e=f\r\n").await;
        let seen = origin.seen().remove(0);
        assert_eq!(field(&seen, "cookie"), Some("a=b; c=d; e=f"));
        assert_eq!(seen.to_ascii_lowercase().matches("\r\ncookie:").count(), 1, "{seen}");
    }

    #[tokio::test]
    async fn a_client_of_http_1_0_gets_no_chunks() {
        let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let origin = Origin::new(move |_, _| vec![Act::Send(reply.to_owned())]).await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut old = world.client().await;
        old.send("GET / HTTP/1.0\r\nhost: shop.test\r\nconnection: keep-alive\r\n\r\n").await;
        let answer = old.rest().await;
        assert_eq!(field(&answer, "transfer-encoding"), None);
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        let mut new = world.client().await;
        new.send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await;
        assert!(new.rest().await.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    }

    #[tokio::test]
    async fn an_absolute_target_is_forwarded_as_a_path() {
        let origin = Origin::saying("fine").await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut client = world.client().await;
        client.get("http://shop.test/a?b=c", "").await;
        client.get("/a%20b?c", "").await;
        let first = |n: usize| origin.seen()[n].lines().next().map(str::to_owned);
        assert_eq!(first(0).as_deref(), Some("GET /a?b=c HTTP/1.1"));
        assert_eq!(first(1).as_deref(), Some("GET /a%20b?c HTTP/1.1"));
    }
}
