//! A gate that asks an HTTP endpoint for an approval and polls it.
//!
//! The first call sends the question by POST. While the answer is `pending` the gate holds, and
//! later calls look with GET for what became of it. An approval is remembered, so that it is asked
//! for once.

pub mod kept;
pub mod reply;

use std::collections::BTreeMap;

use gate_kit::http::Request;
use gate_kit::{Call, Verdict, hold_for, web};
use kept::Kept;
use reply::{Reply, Status, retry_after_ms};
use serde::Deserialize;
use serde_json::json;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Where the question is sent.
    pub url: String,
    /// Where the answer is looked for, with `{id}` in it; `None` is the URL with `/{id}` after it.
    pub poll_url: Option<String>,
    /// What one approval is for.
    #[serde(default)]
    pub per: Per,
    /// How long to wait before looking again.
    #[serde(default = "fifteen_seconds")]
    pub poll_ms: u32,
    /// Headers to send.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long to wait for an answer.
    #[serde(default = "three_seconds")]
    pub timeout_ms: u32,
}

/// What one approval is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The whole rollout.
    #[default]
    Rollout,
    /// Each stage.
    Stage,
    /// Each step of each stage.
    Step,
}

fn fifteen_seconds() -> u32 {
    15_000
}

fn three_seconds() -> u32 {
    3_000
}

gate_kit::gate!(evaluate);

/// Asks for the approval, or looks what became of it.
///
/// # Errors
/// The endpoint gives no answer to the question, or one that cannot be remembered.
pub fn evaluate(call: &Call, params: &Params) -> Result<Verdict, String> {
    // What is taken back already needs nobody's leave.
    if ["on-rollback", "after-rollback"].contains(&call.stage.as_str()) {
        return Ok(Verdict::Pass);
    }
    let about = subject(call, params.per);
    let kept = Kept::load(&about);
    if kept.as_ref().is_some_and(|kept| kept.approved) {
        return Ok(Verdict::Pass);
    }
    let id = kept.and_then(|kept| kept.id);
    let request = match &id {
        Some(id) => web::get(poll_url(params, id), &params.headers, params.timeout_ms),
        None => question(call, params, &about),
    };
    let response = web::send(&request)?;
    if id.is_some() && [404, 410].contains(&response.status) {
        Kept::forget()?;
        return Ok(hold_for("the endpoint has lost the question: asking again".to_owned(), 1_000));
    }
    let reply = Reply::read(&response)?;
    let kept = Kept { about, id: reply.id.clone().or(id), approved: reply.status.is_approved() };
    kept.save()?;
    Ok(verdict(&reply, retry_after_ms(&response).unwrap_or(params.poll_ms), kept.id.as_deref()))
}

impl Status {
    fn is_approved(self) -> bool {
        match self {
            Self::Approved => true,
            Self::Denied | Self::Pending => false,
        }
    }
}

/// What an approval is about, as one word.
#[must_use]
pub fn subject(call: &Call, per: Per) -> String {
    match per {
        Per::Rollout => call.rollout.clone(),
        Per::Stage => format!("{}/{}", call.rollout, call.stage),
        Per::Step => format!("{}/{}/{}", call.rollout, call.stage, call.step),
    }
}

/// Where the answer to a question is.
#[must_use]
pub fn poll_url(params: &Params, id: &str) -> String {
    let id = web::encode(id);
    match &params.poll_url {
        Some(url) => url.replace("{id}", &id),
        None => format!("{}/{id}", params.url.trim_end_matches('/')),
    }
}

/// The question. Its key is the same if it has to be asked again.
#[must_use]
pub fn question(call: &Call, params: &Params, about: &str) -> Request {
    let body = json!({
        "key": about,
        "rollout": call.rollout,
        "service": call.service,
        "stage": call.stage,
        "step": call.step,
        "blue_revision": call.blue_revision,
        "green_revision": call.green_revision,
        "weight_percent": call.weight_percent,
        "next_weight_percent": call.next_weight_percent,
    });
    let mut request = web::get(params.url.clone(), &params.headers, params.timeout_ms);
    request.method = "POST".to_owned();
    request.headers.push(("content-type".to_owned(), "application/json".to_owned()));
    request.headers.push(("idempotency-key".to_owned(), about.to_owned()));
    request.body = body.to_string();
    request
}

/// What an answer leads to.
#[must_use]
pub fn verdict(reply: &Reply, retry_after_ms: u32, id: Option<&str>) -> Verdict {
    let id = id.map(|id| format!(" {id}")).unwrap_or_default();
    let reason = reply.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match reply.status {
        Status::Approved => Verdict::Pass,
        Status::Denied => Verdict::Fail(format!("request{id} is denied{reason}")),
        Status::Pending => {
            hold_for(format!("request{id} waits for an approval{reason}"), retry_after_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{defaults_in, example_call, params};

    fn parsed(more: &str) -> Params {
        params(&format!(r#"{{"url":"https://changes.example.com/requests/"{more}}}"#))
            .expect("valid")
    }

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let defaults = defaults_in(include_str!("../params.schema.json"));
        let inner = defaults.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        assert_eq!(parsed(&format!(",{}", inner.expect("an object"))), parsed(""));
    }

    #[test]
    fn an_approval_is_for_what_the_operator_chose() {
        let mut call = example_call();
        call.step = 2;
        assert_eq!(subject(&call, Per::Rollout), "d-ABCDEFGH1");
        assert_eq!(subject(&call, Per::Stage), "d-ABCDEFGH1/during-step");
        assert_eq!(subject(&call, Per::Step), "d-ABCDEFGH1/during-step/2");
    }

    #[test]
    fn an_id_cannot_leave_its_place_in_the_url() {
        let url = poll_url(&parsed(""), "../a?b");
        assert_eq!(url, "https://changes.example.com/requests/..%2Fa%3Fb");
        let other = parsed(r#","poll_url":"https://changes.example.com/r?id={id}""#);
        assert_eq!(poll_url(&other, "7"), "https://changes.example.com/r?id=7");
    }

    #[test]
    fn the_question_has_a_key_that_tells_it_from_others() {
        let request = question(&example_call(), &parsed(r#","headers":{"a":"b"}"#), "d-ABCDEFGH1");
        let headers: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(headers, ["a", "content-type", "idempotency-key"]);
        let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!((&body["key"], &body["green_revision"]), (&json!("d-ABCDEFGH1"), &json!("v2")));
    }

    #[test]
    fn each_answer_leads_to_its_verdict() {
        let answer = |status, reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            verdict(&Reply { status, id: None, reason }, 15_000, Some("7"))
        };
        assert_eq!(answer(Status::Approved, None), Verdict::Pass);
        let denied = Verdict::Fail("request 7 is denied: too late".to_owned());
        assert_eq!(answer(Status::Denied, Some("too late")), denied);
        let pending = hold_for("request 7 waits for an approval".to_owned(), 15_000);
        assert_eq!(answer(Status::Pending, None), pending);
    }
}
