//! What others answer over HTTP, in a case.

use std::collections::BTreeMap;

use super::situation::texts;
use crate::config::node::Node;
use crate::config::params::params;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Method and URL, `GET https://api.example.com/health`; the URL has a path.
    pub request: String,
    /// What comes of it.
    pub outcome: HttpOutcome,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpOutcome {
    /// A response.
    Response {
        /// The status.
        status: u16,
        /// Names in lower case and values.
        headers: BTreeMap<String, String>,
        /// The body.
        body: String,
    },
    /// Nobody there.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// An answer that is too long.
    TooLarge,
    /// Something that is no HTTP.
    Broken,
}

/// Reads the answers of a case.
pub(super) fn answers(node: &Node<'_>) -> Vec<HttpAnswer> {
    node.items(MAX_ANSWERS).iter().filter_map(answer).collect()
}

fn answer(node: &Node<'_>) -> Option<HttpAnswer> {
    let mut fields = node.fields();
    let request = fields.require("request").and_then(|node| node.checked(request));
    let outcome = fields.sole(&["status", "fails"]);
    let headers = fields.take("headers").as_ref().map(texts).unwrap_or_default();
    let body = fields.take("body");
    let json = fields.take("json");
    fields.finish();
    if let (Some(_), Some(json)) = (&body, &json) {
        json.mistake("only one of `body` and `json` can be here");
    }
    let body = match (body, json) {
        (Some(body), _) => body.text().map(str::to_owned),
        (None, Some(json)) => params(&json).map(|json| json.as_str().to_owned()),
        (None, None) => Some(String::new()),
    };
    let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let outcome = match outcome? {
        ("status", node) => HttpOutcome::Response {
            status: node.count(100..=599).and_then(|status| u16::try_from(status).ok())?,
            headers: headers.collect(),
            body: body?,
        },
        (_, node) => node.word(&FAILURES)?.clone(),
    };
    Some(HttpAnswer { request: request?, outcome })
}

/// A method and a URL, whose path is at least `/`.
fn request(text: &str) -> Result<String, String> {
    let shown: String = text.chars().take(80).collect();
    let wanted = || {
        format!("{shown:?} is not a request: for example \"GET https://api.example.com/health\"")
    };
    let (method, url) = text.split_once(' ').ok_or_else(wanted)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.filter(|rest| !rest.is_empty() && !rest.contains([' ', '#']));
    let rest = rest.ok_or_else(wanted)?;
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(wanted());
    }
    let scheme = &url[..url.len() - rest.len()];
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("{method} {scheme}{host}{slash}{path}"))
}

const FAILURES: [(&str, &HttpOutcome); 4] = [
    ("unreachable", &HttpOutcome::Unreachable),
    ("timeout", &HttpOutcome::Timeout),
    ("too-large", &HttpOutcome::TooLarge),
    ("broken", &HttpOutcome::Broken),
];
const MAX_ANSWERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    fn read(text: &str) -> (Vec<HttpAnswer>, String) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let read = answers(&Node::root(&yaml, &mistakes));
        (read, mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default())
    }

    #[test]
    fn an_answer_is_a_response_or_a_failure() {
        let (answers, mistakes) = read(
            "- request: GET https://a.example?x=1\n\
             \x20 status: 200\n\
             \x20 headers: { Content-Type: application/json }\n\
             \x20 json: { b: [1], a: ok }\n\
             - { request: 'POST http://a.example:8080/y', fails: timeout }\n",
        );
        assert_eq!(mistakes, "");
        assert_eq!(answers[0].request, "GET https://a.example/?x=1");
        let expected = HttpOutcome::Response {
            status: 200,
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            body: r#"{"a":"ok","b":[1]}"#.to_owned(),
        };
        assert_eq!(answers[0].outcome, expected);
        assert_eq!(answers[1].request, "POST http://a.example:8080/y");
        assert_eq!(answers[1].outcome, HttpOutcome::Timeout);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let check = |text: &str, expected: &str| {
            let (_, mistakes) = read(text);
            assert!(mistakes.contains(expected), "{mistakes}\ndoes not contain\n{expected}");
        };
        check("[{ status: 200 }]", "[0]: `request` is missing");
        check("[{ request: GET https://a.example }]", "one of `status`, `fails` is missing");
        check("[{ request: 'https://a.example', status: 200 }]", "is not a request: for example");
        check("[{ request: get https://a.example, status: 200 }]", "is not a request");
        check("[{ request: GET ftp://a.example, status: 200 }]", "is not a request");
        check("[{ request: GET https://a.example, status: 99 }]", "a whole number from 100 to 599");
        check("[{ request: GET https://a.example, fails: often }]", "[0].fails: found \"often\"");
        check(
            "[{ request: GET https://a.example, status: 200, body: x, json: {} }]",
            "[0].json: only one of `body` and `json` can be here",
        );
    }
}
