//! The answer that sends a client to the same place over TLS.
//!
//! 308, so that a client repeats its method and body. It is no error, and carries no
//! `x-tidegate-error`. The host is one that was admitted, and whatever of the path is not a
//! printable character is sent back percent-encoded, so that nothing a client writes can begin
//! another line.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, LOCATION};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::answer::{Refusal, keep_after_body};

/// A redirect to HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    location: HeaderValue,
}

impl Redirect {
    /// Sends a request back to its admitted host, which is without port.
    pub(super) fn https(host: &str, request: &RequestHeader) -> Result<Self, Refusal> {
        if host.is_empty() {
            return Err(Refusal::Malformed("a redirect needs a host to go to"));
        }
        let raw = request.raw_path();
        let target = if raw.starts_with(b"/") {
            raw
        } else {
            let origin_form = request.uri.path_and_query().map(|target| target.as_str().as_bytes());
            origin_form.filter(|target| target.starts_with(b"/")).unwrap_or(b"/")
        };
        let mut location = format!("https://{host}");
        for byte in target {
            if byte.is_ascii_graphic() {
                location.push(char::from(*byte));
            } else {
                location.push_str(&format!("%{byte:02X}"));
            }
        }
        let location = HeaderValue::try_from(location);
        Ok(Self { location: location.map_err(|_| Refusal::Internal)? })
    }

    /// Writes the answer; the connection may go on.
    pub(super) async fn write(
        self,
        session: &mut Session,
        request_id: &HeaderValue,
    ) -> pingora_core::Result<()> {
        if session.is_process_shutting_down() {
            session.set_keepalive(None);
        } else {
            keep_after_body(session);
        }
        let mut header = ResponseHeader::build(308_u16, Some(3))?;
        header.insert_header(LOCATION, self.location)?;
        header.insert_header(CONTENT_LENGTH, 0_usize)?;
        header.insert_header("x-request-id", request_id.clone())?;
        session.write_response_header(Box::new(header), false).await?;
        // There is no body, but what was written so far is sent with its end.
        session.write_response_body(None, true).await?;
        // What is left of the body is of no use; an error here changes nothing about the answer.
        let _ = session.drain_request_body().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testkit::{
        Origin, World, body, field, named_rule, service, status, table_with,
    };
    use super::*;
    use crate::core::model::{
        ClientLimits, Destination, HostMatch, PathMatch, RequestMatch, Rule, WhenIdle,
    };

    fn location(host: &str, target: &[u8]) -> Result<String, u16> {
        let request = RequestHeader::build("GET", target, None).expect("a request header");
        let redirect = Redirect::https(host, &request).map_err(Refusal::status)?;
        Ok(redirect.location.to_str().expect("printable").to_owned())
    }

    #[test]
    fn the_same_path_and_query_are_asked_for_over_tls() {
        let check = |target: &[u8], expected: &str| {
            assert_eq!(location("shop.test", target).as_deref(), Ok(expected));
        };
        check(b"/", "https://shop.test/");
        check(b"/a%20b?c=d&e=%2F", "https://shop.test/a%20b?c=d&e=%2F");
        check(b"//evil.test/x", "https://shop.test//evil.test/x");
        check(b"http://shop.test/a?b", "https://shop.test/a?b");
        check(b"http://shop.test", "https://shop.test/");
        check(b"*", "https://shop.test/");
        check("/caf\u{e9}".as_bytes(), "https://shop.test/caf%C3%A9");
        check(b"/\xff", "https://shop.test/%FF");
        assert_eq!(location("[::1]", b"/x"), Ok("https://[::1]/x".to_owned()));
        assert_eq!(location("", b"/"), Err(400));
    }

    fn redirecting() -> Rule {
        let path = PathMatch::prefix("/plain").expect("valid");
        // As specific as the other rule, but for its path.
        let host = HostMatch::exact("shop.test").expect("valid");
        let matched = RequestMatch { host, path, ..RequestMatch::default() };
        Rule { matched, to: Destination::RedirectToHttps, actions: Arc::default() }
    }

    #[tokio::test]
    async fn every_method_is_redirected_and_the_connection_goes_on() {
        let origin = Origin::saying("fine").await;
        let rules = [redirecting(), named_rule("shop.test")];
        let route = service(0, &[origin.address], &[]);
        let world = World::with(table_with(&rules, route, WhenIdle::Blue), ClientLimits::default());
        let mut client = world.client().await;
        let post = "POST /plain/a?b=c HTTP/1.1\r\nhost: Shop.test:8080\r\nx-request-id: r1\r\n\
            content-length: 4\r\n\r\nbody";
        let delete = post.replace("POST", "DELETE");
        for request in [post, delete.as_str()] {
            client.send(request).await;
            let answer = client.answer().await;
            assert_eq!(status(&answer), 308);
            assert_eq!(field(&answer, "location"), Some("https://Shop.test/plain/a?b=c"));
            assert_eq!(field(&answer, "x-request-id"), Some("r1"));
            assert_eq!(field(&answer, "x-tidegate-error"), None);
            assert_eq!(body(&answer), "");
        }
        assert!(origin.seen().is_empty());
        assert_eq!(body(&client.get("/other", "").await), "fine");
        client.send("GET /plain HTTP/1.0\r\n\r\n").await;
        let answer = client.rest().await;
        assert_eq!(field(&answer, "x-tidegate-error"), Some("no_rule"), "{answer}");
    }
}
