//! A gate that asks an endpoint whether all is well.
//!
//! It sends its request through `wasi:http`, with the library that every program for WASI has, and
//! shows how that is done in a gate. The others use the contract's own `fetch`, which is shorter.

pub mod exchange;
pub mod place;

use std::collections::BTreeMap;

use exchange::{Failure, Question, Reply};
use gate_kit::{Call, Verdict, hold, web};
use place::Place;
use serde::Deserialize;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is asked.
    pub url: String,
    /// How it is asked.
    #[serde(default = "get")]
    pub method: String,
    /// Headers to send.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is sent along; nothing if it is empty.
    #[serde(default)]
    pub body: String,
    /// The status of the answer if all is well.
    #[serde(default = "ok")]
    pub status: u16,
    /// What the answer has in it if all is well.
    #[serde(default)]
    pub contains: String,
    /// What it comes to if all is not well.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How long to wait for an answer.
    #[serde(default = "three_seconds")]
    pub timeout_ms: u32,
}

/// What it comes to if all is not well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Green is bad.
    #[default]
    Fail,
    /// The rollout waits until all is well.
    Hold,
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

fn three_seconds() -> u32 {
    3_000
}

gate_kit::gate!(evaluate);

/// Asks, and says what the answer means.
///
/// # Errors
/// The question cannot be sent, or is not permitted.
pub fn evaluate(_: &Call, params: &Params) -> Result<Verdict, String> {
    let question = Question {
        method: &params.method,
        place: Place::of(&params.url)?,
        headers: &params.headers,
        body: &params.body,
        timeout_ms: params.timeout_ms,
    };
    match exchange::ask(&question) {
        Ok(reply) => Ok(verdict(params, wrong_with(params, &reply))),
        Err(Failure::NoAnswer(why)) => Ok(verdict(params, Some(format!("does not answer: {why}")))),
        Err(Failure::NotSent(why)) => Err(format!("{}: {why}", params.url)),
    }
}

/// What is wrong with an answer; `None` if all is well.
#[must_use]
pub fn wrong_with(params: &Params, reply: &Reply) -> Option<String> {
    let Reply { status, body } = reply;
    if *status != params.status {
        return Some(format!("answers {status} and not {}: {}", params.status, web::excerpt(body)));
    }
    let is_there = body.contains(&params.contains);
    (!is_there).then(|| format!("answers without {:?}: {}", params.contains, web::excerpt(body)))
}

/// The verdict, by what is wrong.
#[must_use]
pub fn verdict(params: &Params, wrong: Option<String>) -> Verdict {
    let Some(wrong) = wrong else { return Verdict::Pass };
    let reason = format!("{} {wrong}", params.url);
    match params.on_failure {
        OnFailure::Fail => Verdict::Fail(reason),
        OnFailure::Hold => hold(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{defaults_in, params};

    fn parsed(more: &str) -> Params {
        params(&format!(r#"{{"url":"https://shop.example.com/health"{more}}}"#)).expect("valid")
    }

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let defaults = defaults_in(include_str!("../params.schema.json"));
        let inner = defaults.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        assert_eq!(parsed(&format!(",{}", inner.expect("an object"))), parsed(""));
    }

    #[test]
    fn all_is_well_if_status_and_body_are_as_they_should_be() {
        let wrong = |more: &str, status, body: &str| {
            wrong_with(&parsed(more), &Reply { status, body: body.to_owned() })
        };
        assert_eq!(wrong("", 200, "anything"), None);
        assert_eq!(wrong(r#","status":204"#, 204, ""), None);
        assert_eq!(wrong(r#","contains":"up""#, 200, "all is up"), None);
        assert_eq!(wrong("", 503, "later"), Some("answers 503 and not 200: later".to_owned()));
        let missing = Some("answers without \"up\": down".to_owned());
        assert_eq!(wrong(r#","contains":"up""#, 200, "down"), missing);
    }

    #[test]
    fn the_operator_chooses_what_a_failure_comes_to() {
        let wrong = || Some("answers 503".to_owned());
        let reason = "https://shop.example.com/health answers 503".to_owned();
        assert_eq!(verdict(&parsed(""), None), Verdict::Pass);
        assert_eq!(verdict(&parsed(""), wrong()), Verdict::Fail(reason.clone()));
        assert_eq!(verdict(&parsed(r#","on_failure":"hold""#), wrong()), hold(reason));
    }
}
