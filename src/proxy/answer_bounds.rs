//! How much a target may say before its answer: bounds on its header, and on 1xx answers.
//!
//! Pingora reads a header of up to a mebibyte, and as many 1xx answers as come. What is above the
//! bounds is a broken answer. Its connection of HTTP/1.1 is not used again; on one of HTTP/2, which
//! others share, its stream alone is reset.

use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

/// What the targets of one request have said before their answer.
#[derive(Debug, Default)]
pub(super) struct AnswerBounds {
    interim: u32,
}

impl AnswerBounds {
    /// Takes a header that came from a target.
    ///
    /// # Errors
    /// It is too large, or it is one 1xx answer too many. The error is the target's.
    pub(super) fn admit(&mut self, header: &ResponseHeader) -> Result<()> {
        if header.status.is_informational() {
            self.interim = self.interim.saturating_add(1);
        }
        if self.interim > MAX_INTERIM {
            return refuse("too many 1xx answers");
        }
        if size(header) > MAX_HEADER {
            return refuse("the header of the answer is too large");
        }
        Ok(())
    }
}

fn refuse(why: &'static str) -> Result<()> {
    let mut error = Error::explain(ErrorType::InvalidHTTPHeader, why);
    error.as_up();
    Err(error)
}

/// The size of a header as HTTP/1.1 writes it, its first line left out.
fn size(header: &ResponseHeader) -> usize {
    let line = |name: &http::HeaderName, value: &http::HeaderValue| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    header.headers.iter().map(|(name, value)| line(name, value)).sum()
}

/// The most 1xx answers to one request.
const MAX_INTERIM: u32 = 32;
/// The largest header of an answer, in bytes.
const MAX_HEADER: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::super::testkit::{Act, Origin, World, body, field, ok, service, status};
    use super::*;

    fn header(status: u16, bytes: usize) -> ResponseHeader {
        let mut header = ResponseHeader::build(status, None).expect("valid");
        header.insert_header("x-large", "x".repeat(bytes)).expect("valid");
        header
    }

    #[test]
    fn a_header_is_admitted_up_to_its_size() {
        let line = "x-large: \r\n".len();
        AnswerBounds::default().admit(&header(200, MAX_HEADER - line)).expect("it fits");
        AnswerBounds::default().admit(&header(200, MAX_HEADER - line + 1)).expect_err("too large");
    }

    #[test]
    fn only_so_many_interim_answers_are_admitted_before_the_last_one() {
        let mut bounds = AnswerBounds::default();
        for _ in 0..MAX_INTERIM {
            bounds.admit(&header(103, 1)).expect("not too many");
        }
        bounds.admit(&header(200, 1)).expect("it is the answer");
        bounds.admit(&header(103, 1)).expect_err("one too many");
    }

    #[tokio::test]
    async fn an_answer_with_too_large_a_header_is_a_broken_one_and_its_connection_is_left() {
        let large = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n", "x".repeat(MAX_HEADER));
        let origin = Origin::new(move |_, number| match number {
            0 => vec![Act::Send(format!("{large}content-length: 0\r\n\r\n"))],
            _ => ok("fine"),
        })
        .await;
        let world = World::new(service(0, &[origin.address], &[]));
        let answer = world.get("").await;
        assert_eq!(
            (status(&answer), field(&answer, "x-tidegate-error")),
            (502, Some("target_broken"))
        );
        assert_eq!(body(&world.get("").await), "fine");
        assert_eq!(origin.connections(), 2);
    }
}
