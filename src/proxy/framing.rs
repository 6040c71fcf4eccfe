//! The framing of answers to clients of HTTP/1.0, who know no chunks.
//!
//! Pingora frames an answer of HTTP/2 without a length in chunks, after its hook for the header. A
//! module of the session sees the header later; only sessions of these clients get one. Without any
//! framing an answer ends with its connection.

use std::any::Any;

use async_trait::async_trait;
use http::Version;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora_core::Result;
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, HttpModules, Module};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

/// Frames no answer of a session in chunks.
pub(super) fn never_in_chunks(session: &mut Session) {
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(Unchunking));
    session.downstream_modules_ctx = modules.build_ctx();
}

/// Whether the answer to a client of this version has no other end than its connection's.
pub(super) fn ends_with_connection(version: Version, response: &ResponseHeader) -> bool {
    let framed = [CONTENT_LENGTH, TRANSFER_ENCODING];
    version < Version::HTTP_11 && !framed.iter().any(|name| response.headers.contains_key(name))
}

/// Makes the module.
#[derive(Debug)]
struct Unchunking;

impl HttpModuleBuilder for Unchunking {
    fn init(&self) -> Module {
        Box::new(Unchunked)
    }
}

/// The module.
#[derive(Debug)]
struct Unchunked;

#[async_trait]
impl HttpModule for Unchunked {
    async fn response_header_filter(
        &mut self,
        response: &mut ResponseHeader,
        _end_of_stream: bool,
    ) -> Result<()> {
        response.remove_header(&TRANSFER_ENCODING);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testkit::{World, body, field, service, status};
    use super::super::wirekit::{H2Origin, Says};
    use crate::core::model::{TargetProtocol, Transport};
    use crate::core::routing::Link;

    #[tokio::test]
    async fn an_answer_of_http_2_without_a_length_ends_with_the_connection_for_http_1_0() {
        const FINE: Says = Says { headers: &[], body: "fine", trailers: &[] };
        let origin = H2Origin::new(FINE, None).await;
        let mut route = service(0, &[origin.address], &[]);
        let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
        route.blue.link = Arc::new(Link::new(1, transport));
        let world = World::new(route);
        let check = async |request: &str, framing: Option<&str>, content: &str| {
            let mut client = world.client().await;
            client.send(request).await;
            let answer = client.rest().await;
            assert_eq!((status(&answer), body(&answer)), (200, content), "{answer}");
            assert_eq!(field(&answer, "transfer-encoding"), framing, "{answer}");
            assert_eq!(field(&answer, "connection"), Some("close"), "{answer}");
        };
        let old = "GET / HTTP/1.0\r\nhost: shop.test\r\nconnection: keep-alive\r\n\r\n";
        check(old, None, "fine").await;
        let new = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
        // As it was sent: nothing here takes chunks apart.
        check(new, Some("chunked"), "4\r\nfine\r\n0\r\n\r\n").await;
    }
}
