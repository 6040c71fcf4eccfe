//! What the endpoint answers.

use gate_kit::http::Response;
use gate_kit::web;
use serde::Deserialize;

/// An answer of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reply {
    /// What was decided.
    pub status: Status,
    /// The id to poll with; `None` asks the same again.
    #[serde(default)]
    pub id: Option<String>,
    /// Why, for people; `None` says nothing.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The rollout may go on.
    Approved,
    /// It has to be taken back.
    Denied,
    /// Nothing yet.
    Pending,
}

impl Reply {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is no answer to the question.
    pub fn read(response: &Response) -> Result<Self, String> {
        let status = response.status;
        if !(200..300).contains(&status) {
            return Err(format!("the endpoint answers {status}: {}", web::excerpt(&response.body)));
        }
        serde_json::from_str(&response.body).map_err(|error| {
            format!("the endpoint answers {status} with: {}: {error}", web::excerpt(&response.body))
        })
    }
}

/// How long the endpoint asks to wait, in milliseconds; `None` if it does not say it in seconds.
#[must_use]
pub fn retry_after_ms(response: &Response) -> Option<u32> {
    let (_, value) = response.headers.iter().find(|(name, _)| name == "retry-after")?;
    value.trim().parse::<u32>().ok().map(|seconds| seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        let headers = vec![("retry-after".to_owned(), "30".to_owned())];
        Response { status, headers, body: body.to_owned() }
    }

    #[test]
    fn an_answer_has_a_status_and_perhaps_an_id_and_a_reason() {
        let reply = Reply::read(&response(202, r#"{"status":"pending","id":"7","more":1}"#));
        let expected = Reply { status: Status::Pending, id: Some("7".to_owned()), reason: None };
        assert_eq!(reply, Ok(expected));
        assert_eq!(retry_after_ms(&response(202, "")), Some(30_000));
    }

    #[test]
    fn what_is_no_answer_is_an_error_in_words() {
        let error = |status, body| Reply::read(&response(status, body)).expect_err(body);
        assert_eq!(error(503, "later"), "the endpoint answers 503: later");
        assert!(error(200, r#"{"status":"maybe"}"#).contains("maybe"));
        assert!(error(200, "").starts_with("the endpoint answers 200 with: : "));
    }
}
