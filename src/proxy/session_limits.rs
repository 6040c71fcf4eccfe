//! What a session is set to before anything is known of its request: how long its connection is
//! kept, how long its client is waited for, and what a client of HTTP/1.0 is spared.

use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, Version};
use pingora_proxy::Session;

use crate::core::model::Span;

use super::framing::never_in_chunks;
use super::phases::Phases;

impl Phases {
    /// Sets what holds for the session's next request.
    pub(super) fn set_limits(&self, session: &mut Session) {
        let limits = &self.listener.limits;
        if self.drain.is_stopping() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some((limits.keepalive.ms() / 1_000).max(1)));
        }
        // Off, a byte that arrives while a request is in flight makes its answer a 400.
        session.set_pipelining_enabled(true);
        session.set_abort_on_close(false);
        // Interim answers are unknown to HTTP/1.0 (RFC 9110, section 15.2).
        let knows_none = session.req_header().version < Version::HTTP_11;
        session.set_ignore_info_resp(knows_none);
        if knows_none {
            never_in_chunks(session);
            // It is to be ignored there, also by the target (RFC 9110, section 10.1.1).
            session.req_header_mut().remove_header(&EXPECT);
        }
        let time = |span: Span| Some(Duration::from(span));
        session.set_read_timeout(time(limits.body_read));
        session.set_write_timeout(time(limits.response_write));
        session.set_total_drain_timeout(time(limits.body_drain));
        if closes(&session.req_header().headers) {
            // Pingora reads the first of several lines alone.
            session.set_keepalive(None);
        }
    }
}

/// Whether a client wants its connection closed (RFC 9112, section 9.6).
fn closes(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).into_iter();
    let mut tokens = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testkit::{Act, Origin, World, body, ok, service, status, until};

    const GET: &str = "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";

    #[tokio::test]
    async fn bytes_that_come_while_a_request_is_in_flight_do_no_harm() {
        let slow = |_: &str, _| {
            let mut acts = vec![Act::Wait(Duration::from_millis(300))];
            acts.extend(ok("slow"));
            acts
        };
        for early in [GET, "\r\n"] {
            let origin = Origin::new(slow).await;
            let world = World::new(service(0, &[origin.address], &[]));
            let mut client = world.client().await;
            client.send(GET).await;
            until("the target has the request", || origin.seen().len() == 1).await;
            client.send(early).await;
            assert_eq!(status(&client.answer().await), 200);
            if early == "\r\n" {
                client.send(GET).await;
            }
            assert_eq!(status(&client.answer().await), 200);
            assert_eq!(origin.seen().len(), 2);
            client.send(&format!("{GET}{GET}")).await;
            assert_eq!(status(&client.answer().await), 200);
            assert_eq!(status(&client.answer().await), 200);
            assert_eq!(origin.seen().len(), 4);
        }
    }

    #[tokio::test]
    async fn a_client_that_closes_its_sending_half_gets_its_answer() {
        let origin = Origin::new(|_, _| {
            let mut acts = vec![Act::Wait(Duration::from_millis(100))];
            acts.extend(ok("late"));
            acts
        })
        .await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut client = world.client().await;
        client.send(GET).await;
        client.half_close().await;
        assert_eq!(body(&client.answer().await), "late");
    }
}
