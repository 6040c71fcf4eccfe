//! Trailers: which of them pass, and how they reach a client of HTTP/1.1.
//!
//! Those of a target of HTTP/2 always pass (`exchange`); Pingora writes them to clients of HTTP/2
//! alone. To a client of HTTP/1.1 that takes them (`TE: trailers`) the stream (`wire`) writes them with
//! the last chunk, in the place of Pingora's.
//!
//! In HTTP/1.1 Pingora reads past them, on both sides. Where a group lets them pass, `exchange`
//! carries what may bear some; those of a request are read along by the client's stream.
//!
//! All others end here, as they may (RFC 9110, section 6.5.1; RFC 9112, section 7.1.2), and so do
//! those of a request of HTTP/2, which Pingora does not read. The message in front of them is whole in
//! each case.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Version};
use pingora_http::{RequestHeader, ResponseHeader};

use super::course::Course;
use super::forward::IdentityHeaders;
use super::substitute::Substitute;

/// Whether a client takes trailers (RFC 9110, section 10.1.4).
pub(super) fn are_taken_by(request: &RequestHeader) -> bool {
    let lines = request.headers.get_all(TE).into_iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    request.version >= Version::HTTP_11
        && codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Whether a request of HTTP/1.1 says that trailers follow its chunks (RFC 9110, section 6.6.2).
pub(super) fn are_announced_by(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && request.headers.contains_key(TRAILER)
        && request.headers.contains_key(TRANSFER_ENCODING)
}

/// Whether the answer of a target goes to a client in chunks that trailers may follow.
pub(super) fn may_follow(response: &ResponseHeader, request: &RequestHeader) -> bool {
    // Without a length Pingora frames it in chunks.
    request.version == Version::HTTP_11
        && !response.headers.contains_key(CONTENT_LENGTH)
        && are_taken_by(request)
}

/// Takes out what is never a trailer: it would lead those astray who put trailers and header
/// together.
pub(super) fn to_client(trailers: &mut HeaderMap) {
    remove(trailers, |name| is_of_header(name.as_str()));
}

/// Takes out what is never a trailer, and what a client could pretend something with. Names are
/// compared with `_` as `-`: many targets cannot tell the two apart.
pub(super) fn to_target(trailers: &mut HeaderMap, identity: &IdentityHeaders) {
    remove(trailers, |name| {
        let spelled = name.as_str().replace('_', "-");
        is_of_header(&spelled) || spelled == "x-request-id" || identity.is_forgeable(name)
    });
}

/// Takes out what a request has not announced: its target may have no place for it.
pub(super) fn keep_announced(trailers: &mut HeaderMap, request: &RequestHeader) {
    let lines = request.headers.get_all(TRAILER);
    let is_announced = |name: &HeaderName| {
        let mut names = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        names.any(|other| other.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    remove(trailers, |name| !is_announced(name));
}

fn is_of_header(name: &str) -> bool {
    HEADER_ONLY.contains(&name) || HEADER_ONLY_PREFIXES.iter().any(|own| name.starts_with(own))
}

fn remove(trailers: &mut HeaderMap, ends_here: impl Fn(&HeaderName) -> bool) {
    let ending = |name: &&HeaderName| ends_here(name);
    let ending: Vec<HeaderName> = trailers.keys().filter(ending).cloned().collect();
    for name in &ending {
        trailers.remove(name);
    }
}

/// Has trailers written with the last chunk of the answer to the request under way in this task.
pub(super) fn follow_chunks(trailers: &HeaderMap) {
    if trailers.is_empty() {
        return;
    }
    let mut last_chunk = b"0\r\n".to_vec();
    for (name, value) in trailers {
        last_chunk.extend_from_slice(name.as_str().as_bytes());
        last_chunk.extend_from_slice(b": ");
        last_chunk.extend_from_slice(value.as_bytes());
        last_chunk.extend_from_slice(b"\r\n");
    }
    last_chunk.extend_from_slice(b"\r\n");
    let last_chunk = Bytes::from(last_chunk);
    Course::tell(|course| course.ends_chunks_with(last_chunk));
}

/// The last chunk with its trailers; `None` unless these bytes are Pingora's, and trailers follow.
/// To be asked for whole writes alone.
pub(super) fn instead_of(bytes: &[u8]) -> Option<Substitute> {
    if bytes != LAST_CHUNK {
        return None;
    }
    Course::last_chunk().map(Substitute::of)
}

/// How Pingora ends chunks, in a write of its own.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Fields that frame or route a message, say who somebody is, control its answer or how its content
/// is read (RFC 9110, section 6.5.1).
const HEADER_ONLY: [&str; 39] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];
/// What the proxy says, or vouches for.
const HEADER_ONLY_PREFIXES: [&str; 2] = ["x-forwarded-", "x-tidegate-"];

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use http::HeaderValue;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::super::testkit::{
        Act, Client, Origin, PATIENCE, World, body, field, public, service, status, table,
    };
    use super::super::wirekit::{H2Client, H2Origin, Says, h2c_listener, listener, post, shake};
    use super::*;
    use crate::core::model::{ListenerSpec, TargetProtocol, Transport, WhenIdle};
    use crate::core::routing::{Link, ServiceRoute};
    use crate::tls::testkit::{Authority, listener_tls};

    const SUMMED: Says = Says {
        headers: &[("trailer", "x-sum")],
        body: "fine",
        trailers: &[
            ("set-cookie", "a=b"),
            ("x-tidegate-error", "no"),
            ("content-type", "text/html"),
            ("x-sum", "s u m"),
        ],
    };

    /// A service whose target speaks HTTP/2 in the clear.
    fn h2c(target: SocketAddr) -> ServiceRoute {
        let mut route = service(0, &[target], &[]);
        let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
        route.blue.link = Arc::new(Link::new(1, transport));
        route
    }

    /// All that a client hears that asks twice on one connection, with these fields.
    async fn heard_twice(mut client: Client, fields: &str) -> String {
        let ask = |connection: &str| {
            format!("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: {connection}\r\n{fields}\r\n")
        };
        client.send(&format!("{}{}", ask("te"), ask("close"))).await;
        client.rest().await
    }

    #[tokio::test]
    async fn trailers_of_http_2_follow_the_chunks_to_a_client_of_http_1_1_that_takes_them() {
        let origin = H2Origin::new(SUMMED, None).await;
        let plain = World::new(h2c(origin.address));
        let authority = Authority::new();
        let tls = Some(listener_tls(&[authority.signs("shop", &["shop.test"])]));
        let secure = ListenerSpec { tls, ..listener(public()) };
        let secure = World::listening(table(h2c(origin.address), WhenIdle::Refuse), &[secure]);
        for fields in ["te: trailers\r\n", "te: deflate;q=0.5\r\nte: gzip , Trailers\r\n"] {
            let stream = shake(secure.address(), authority.client(), "shop.test").await;
            for client in [plain.client().await, Client::over(stream.expect("shaken"))] {
                let heard = heard_twice(client, fields).await;
                let expected = "\r\n\r\n4\r\nfine\r\n0\r\nx-sum: s u m\r\n\r\n";
                assert_eq!(heard.matches(expected).count(), 2, "{heard}");
                assert!(heard.ends_with(expected), "{heard}");
                assert_eq!(field(&heard, "trailer"), Some("x-sum"));
            }
        }
        let seen = origin.seen();
        assert_eq!(seen.len(), 8);
        assert!(seen.iter().all(|asked| asked.field("te") == Some("trailers")), "{seen:?}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_take_trailers_gets_the_answer_without_them() {
        let origin = H2Origin::new(SUMMED, None).await;
        let world = World::new(h2c(origin.address));
        for fields in ["", "te: gzip\r\n", "te: xtrailers, trailers;q=1\r\n"] {
            let heard = heard_twice(world.client().await, fields).await;
            let expected = "\r\n\r\n4\r\nfine\r\n0\r\n\r\n";
            assert_eq!(heard.matches(expected).count(), 2, "{heard}");
            assert!(heard.ends_with(expected) && !heard.contains("s u m"), "{heard}");
        }
        let seen = origin.seen();
        assert!(seen.iter().all(|asked| asked.field("te").is_none()), "{seen:?}");
        let mut old = world.client().await;
        old.send("GET / HTTP/1.0\r\nhost: shop.test\r\nte: trailers\r\n\r\n").await;
        assert_eq!(body(&old.rest().await), "fine");
    }

    #[tokio::test]
    async fn what_looks_like_the_last_chunk_is_not_taken_for_it() {
        const CHUNKED: Says = Says { headers: &[], body: "0\r\n\r\n", ..SUMMED };
        const SIZED: Says = Says { headers: &[("content-length", "5")], ..CHUNKED };
        let chunks = "\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\nx-sum: s u m\r\n\r\n";
        for (says, expected) in [(CHUNKED, chunks), (SIZED, "\r\n\r\n0\r\n\r\n")] {
            let origin = H2Origin::new(says, None).await;
            let world = World::new(h2c(origin.address));
            let heard = heard_twice(world.client().await, "te: trailers\r\n").await;
            assert_eq!(heard.matches(expected).count(), 2, "{heard}");
            assert!(heard.ends_with(expected), "{heard}");
        }
    }

    #[tokio::test]
    async fn trailers_of_http_2_reach_clients_of_http_2_without_what_is_never_one() {
        let origin = H2Origin::new(SUMMED, None).await;
        let table = table(h2c(origin.address), WhenIdle::Refuse);
        let world = World::listening(table, &[h2c_listener()]);
        let answer = H2Client::of(&world).await.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
        assert_eq!(answer.trailer("x-sum"), Some("s u m"));
        assert_eq!(answer.trailers.len(), 1, "{answer:?}");
    }

    #[tokio::test]
    async fn trailers_of_a_target_of_http_1_1_end_here_and_its_answer_is_whole() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        const SCRIPTS: [&[&str]; 3] = [
            &[HEAD, "4\r\nfine\r\n0\r\nx-sum: s u m\r\ncontent-length: 9\r\n\r\n"],
            &[HEAD, "4\r\nfine\r\n0\r\n", "x-sum: s u m\r\n", "x-b: 1\r\n\r\n"],
            &[HEAD, "4\r\nfine\r\n", "0\r\nx-sum: s u m\r", "\n\r\n"],
        ];
        for parts in SCRIPTS {
            let send = |part: &&str| Act::Send((*part).to_owned());
            let origin = Origin::new(move |_, _| parts.iter().map(send).collect()).await;
            let route = service(0, &[origin.address], &[]);
            let old = World::new(route.clone());
            let heard = heard_twice(old.client().await, "te: trailers\r\n").await;
            let expected = "\r\n\r\n4\r\nfine\r\n0\r\n\r\n";
            assert_eq!(heard.matches(expected).count(), 2, "{heard}");
            assert!(heard.ends_with(expected) && !heard.contains("s u m"), "{heard}");
            // Nothing of it was left over on the connection to the target.
            assert_eq!((origin.seen().len(), origin.connections()), (2, 1), "{parts:?}");
            let new = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
            let client = H2Client::of(&new).await;
            for _ in 0..2 {
                let answer = client.get("/").await;
                assert_eq!((answer.status, answer.body.as_str()), (200, "fine"), "{parts:?}");
                assert!(answer.trailers.is_empty(), "{answer:?}");
            }
        }
    }

    const UPLOAD: &str = "POST / HTTP/1.1\r\nhost: shop.test\r\ntrailer: x-sum\r\n\
        transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: s u m\r\nhost: evil.test\r\n\r\n";
    const FINE: Says = Says { headers: &[("content-length", "4")], body: "fine", trailers: &[] };

    /// Uploads twice with trailers, on one connection of HTTP/1.1.
    async fn upload(world: &World) {
        let mut client = world.client().await;
        for _ in 0..2 {
            client.send(UPLOAD).await;
            let answer = client.answer().await;
            assert_eq!((status(&answer), body(&answer)), (200, "fine"));
        }
    }

    /// Uploads twice with trailers, on one connection of HTTP/2.
    async fn upload_by_http2(route: ServiceRoute) {
        let world = World::listening(table(route, WhenIdle::Refuse), &[h2c_listener()]);
        let stream = TcpStream::connect(world.address()).await.expect("connected");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driver = tokio::spawn(connection);
        for _ in 0..2 {
            sender = sender.ready().await.expect("ready");
            let (answer, mut body) = sender.send_request(post("/", &[]), false).expect("sent");
            body.send_data(Bytes::from_static(b"hello"), false).expect("sent");
            let sum = (HeaderName::from_static("x-sum"), HeaderValue::from_static("s u m"));
            body.send_trailers(HeaderMap::from_iter([sum])).expect("sent");
            let answer = timeout(PATIENCE, answer).await.expect("an answer in time");
            assert_eq!(answer.expect("an answer").status().as_u16(), 200);
        }
        driver.abort();
    }

    #[tokio::test]
    async fn trailers_of_requests_end_here_and_targets_of_http_1_1_get_the_body_whole() {
        let origin = Origin::saying("fine").await;
        let route = service(0, &[origin.address], &[]);
        upload(&World::new(route.clone())).await;
        assert_eq!(origin.connections(), 1);
        upload_by_http2(route).await;
        let seen = origin.seen();
        assert_eq!(seen.len(), 4);
        for request in &seen {
            assert_eq!(field(request, "host"), Some("shop.test"));
            assert!(request.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{request}");
            assert!(!request.contains("s u m") && !request.contains("evil"), "{request}");
        }
    }

    #[tokio::test]
    async fn trailers_of_requests_end_here_and_targets_of_http_2_get_the_body_whole() {
        let origin = H2Origin::new(FINE, None).await;
        upload(&World::new(h2c(origin.address))).await;
        upload_by_http2(h2c(origin.address)).await;
        let seen = origin.seen();
        assert_eq!(seen.len(), 4);
        for asked in &seen {
            assert_eq!((asked.body.as_str(), asked.field("x-sum")), ("hello", None), "{asked:?}");
        }
    }

    #[test]
    fn fields_that_belong_into_a_header_are_taken_out_of_trailers() {
        let mut trailers = HeaderMap::new();
        let kept = ["etag", "authentication-info", "grpc-status", "grpc-message", "x-sum"];
        for name in HEADER_ONLY.iter().chain(&["x-forwarded-for", "x-tidegate-side"]).chain(&kept) {
            trailers.append(*name, HeaderValue::from_static("1"));
            trailers.append(*name, HeaderValue::from_static("2"));
        }
        to_client(&mut trailers);
        assert_eq!(trailers.keys_len(), kept.len(), "{trailers:?}");
        assert!(kept.iter().all(|name| trailers.get_all(*name).iter().count() == 2));
    }

    #[test]
    fn what_a_client_must_not_say_is_taken_out_of_its_trailers_however_it_is_spelled() {
        let mut trailers = HeaderMap::new();
        let gone = [
            "content-length",
            "content_length",
            "transfer_encoding",
            "x-forwarded-for",
            "X_Forwarded_Host",
            "x-real-ip",
            "x-client-cert-subject",
            "x-tidegate-side",
            "x_request_id",
        ];
        for name in gone.iter().chain(&["x-sum", "etag"]) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            trailers.append(name, HeaderValue::from_static("1"));
        }
        to_target(&mut trailers, &IdentityHeaders::default());
        let mut left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["etag", "x-sum"]);
    }

    #[tokio::test]
    async fn the_last_chunk_alone_is_replaced_and_by_the_trailers_of_this_request() {
        assert!(instead_of(LAST_CHUNK).is_none(), "there is no request");
        let course = Arc::new(Course::default());
        let request = async {
            assert!(instead_of(LAST_CHUNK).is_none());
            follow_chunks(&HeaderMap::new());
            assert!(instead_of(LAST_CHUNK).is_none());
            let sum = (HeaderName::from_static("x-sum"), HeaderValue::from_static("s u m"));
            follow_chunks(&HeaderMap::from_iter([sum]));
            for other in ["", "0", "0\r\n", "0\r\n\r\n0", "a0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
                assert!(instead_of(other.as_bytes()).is_none(), "{other:?}");
            }
            let substitute = instead_of(LAST_CHUNK).expect("trailers follow");
            assert_eq!(substitute.rest(), b"0\r\nx-sum: s u m\r\n\r\n");
        };
        course.of(request).await;
    }
}
