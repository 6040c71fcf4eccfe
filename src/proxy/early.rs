//! Early answers: what Pingora says itself to a request that it cannot read, before any hook runs.
//!
//! Nothing there can be told what to answer. But its answer is written in the task of the request,
//! whose course knows that no header was read, so that the stream (`wire`) can write another one in
//! its place: one that says whose it is, and has an id as every answer of the proxy's own.

use super::course::Course;
use super::substitute::Substitute;

/// The answer in the place of these bytes; `None` unless they are Pingora's refusal of a request
/// that no hook has seen.
pub(super) fn instead_of(bytes: &[u8]) -> Option<Substitute> {
    if !bytes.starts_with(REFUSAL) || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let course = Course::current().filter(|course| !course.has_header())?;
    course.cannot_be_read();
    let id = format!("{:032x}", rand::random::<u128>());
    tracing::debug!(request_id = %id, "a request cannot be read");
    Some(Substitute::of(answer(&id, date_of(bytes))))
}

/// The answer. It has no body: whether the request was a HEAD is not known.
fn answer(id: &str, date: Option<&str>) -> Vec<u8> {
    let date = date.map(|date| format!("{date}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 400 Bad Request\r\n{date}content-length: 0\r\ncache-control: no-store\r\n\
         x-tidegate-error: bad_request\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// The line of the field `date` in a header.
fn date_of(header: &[u8]) -> Option<&str> {
    let header = std::str::from_utf8(header).ok()?;
    header
        .split("\r\n")
        .find(|line| line.get(..DATE.len()).is_some_and(|name| name.eq_ignore_ascii_case(DATE)))
}

const REFUSAL: &[u8] = b"HTTP/1.1 400 ";
const DATE: &str = "date:";

#[cfg(test)]
mod tests {
    use super::super::testkit::{Origin, World, field, service, status, until};
    use super::*;
    use crate::telemetry::EdgeEvent;

    #[tokio::test]
    async fn a_request_that_cannot_be_read_is_refused_in_the_proxys_own_words() {
        let origin = Origin::saying("fine").await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut ids = Vec::new();
        let bad = [
            "GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: shop.test\r\nx : 1\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            // Request lines that Pingora does not get to see (`inspector`).
            "GET /\u{1} HTTP/1.1\r\nhost: shop.test\r\n\r\n",
            "\u{16}\u{3}\u{1}\0",
        ];
        for request in bad {
            let mut client = world.client().await;
            // What was read before on the connection says nothing about this one.
            assert_eq!(status(&client.get("/", "").await), 200);
            client.send(request).await;
            let answer = client.rest().await;
            assert_eq!(status(&answer), 400, "{answer}");
            for (name, expected) in [
                ("x-tidegate-error", "bad_request"),
                ("content-length", "0"),
                ("connection", "close"),
            ] {
                assert_eq!(field(&answer, name), Some(expected), "{answer}");
            }
            assert!(field(&answer, "date").is_some() && answer.ends_with("\r\n\r\n"), "{answer}");
            let id = field(&answer, "x-request-id").expect("an id").to_owned();
            assert!(id.len() == 32 && !ids.contains(&id), "{id}");
            ids.push(id);
        }
        let counted = || world.recorder.edge_count(EdgeEvent::Unreadable);
        until("all are counted", || counted() == 5).await;
        assert_eq!(origin.seen().len(), 5);
    }

    #[test]
    fn nothing_else_that_is_written_is_another_answer() {
        for bytes in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\nx",
            // Outside of a request nobody refuses anything.
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(instead_of(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }
}
