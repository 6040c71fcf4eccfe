//! How much a target may say around its answer: bounds on its header, on 1xx answers, on trailers.
//!
//! Pingora reads a header of up to a mebibyte, and as many 1xx answers as come. What is above the
//! bounds is a broken answer. Its connection of HTTP/1.1 is not used again; on one of HTTP/2, which
//! others share, its stream alone is reset.

use http::HeaderMap;
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
        if size(&header.headers) > MAX_HEADER {
            return refuse("the header of the answer is too large");
        }
        Ok(())
    }

    /// Takes the trailers that came from a target.
    ///
    /// # Errors
    /// They are too large, or too many. The error is the target's.
    pub(super) fn admit_trailers(trailers: &HeaderMap) -> Result<()> {
        if trailers.len() > MAX_TRAILERS || size(trailers) > MAX_HEADER {
            return refuse("the trailers of the answer are too large");
        }
        Ok(())
    }
}

fn refuse(why: &'static str) -> Result<()> {
    let mut error = Error::explain(ErrorType::InvalidHTTPHeader, why);
    error.as_up();
    Err(error)
}

/// The size of fields as HTTP/1.1 writes them.
fn size(fields: &HeaderMap) -> usize {
    let line = |name: &http::HeaderName, value: &http::HeaderValue| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    fields.iter().map(|(name, value)| line(name, value)).sum()
}

/// The most 1xx answers to one request.
const MAX_INTERIM: u32 = 32;
/// The largest header of an answer, and the largest trailers, in bytes.
const MAX_HEADER: usize = 256 * 1_024;
/// The most trailers of an answer: as many as Pingora takes fields in a header.
const MAX_TRAILERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::testkit::{Act, Origin, World, body, field, ok, service, status};
    use super::*;
    use http::HeaderValue;

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
    fn trailers_are_admitted_up_to_their_size_and_number() {
        let one = |bytes: usize| header(200, bytes - "x-large: \r\n".len()).headers.clone();
        AnswerBounds::admit_trailers(&one(MAX_HEADER)).expect("they fit");
        AnswerBounds::admit_trailers(&one(MAX_HEADER + 1)).expect_err("too large");
        let mut many = HeaderMap::new();
        for _ in 0..MAX_TRAILERS {
            many.append("x", HeaderValue::from_static("1"));
        }
        AnswerBounds::admit_trailers(&many).expect("not too many");
        many.append("x", HeaderValue::from_static("1"));
        AnswerBounds::admit_trailers(&many).expect_err("one too many");
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
