//! What an answer of the API says (`/api/v1/query`).

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{Failure, shortened};
use crate::core::model::QueryAnswer;

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    #[serde(default)]
    result: Value,
}

/// One series of a vector.
#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<Point>,
}

/// The time of the query, and a number written as text.
type Point = (f64, String);

/// Reads an answer.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<QueryAnswer, Failure> {
    if status.is_redirection() {
        return Err(Failure::lasting(format!("status {status}: redirects are not followed")));
    }
    let envelope = serde_json::from_slice::<Envelope>(body);
    if !status.is_success() {
        return refusal(status, envelope.ok());
    }
    let envelope = envelope.map_err(|error| {
        Failure::lasting(format!("what answers there is no Prometheus server: {error}"))
    })?;
    if envelope.status != "success" {
        return refusal(status, Some(envelope));
    }
    let data = envelope.data.ok_or_else(|| Failure::lasting("an answer without data"))?;
    let broken = |error: serde_json::Error| Failure::lasting(format!("a broken answer: {error}"));
    match data.result_type.as_str() {
        "vector" => vector(&serde_json::from_value::<Vec<Series>>(data.result).map_err(broken)?),
        "scalar" => {
            let (_, text): Point = serde_json::from_value(data.result).map_err(broken)?;
            number(&text)
        }
        other => Ok(QueryAnswer::Mistaken {
            why: format!("its result is a {}, wanted one number", shortened(other)),
        }),
    }
}

/// What a status other than success says: a query that is wrong, or a server that cannot answer.
fn refusal(status: StatusCode, envelope: Option<Envelope>) -> Result<QueryAnswer, Failure> {
    let said = envelope.map(|envelope| {
        let kind = envelope.error_type.unwrap_or_default();
        let error = envelope.error.unwrap_or_default();
        shortened(&format!("{kind}: {error}"))
    });
    match (status, said) {
        // The two that the API gives for a query that it cannot parse or cannot compute.
        (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, Some(said)) => {
            Ok(QueryAnswer::Mistaken { why: said })
        }
        (status, said) => {
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            let why = format!("status {status}{said}");
            let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            Err(if is_passing { Failure::passing(why) } else { Failure::lasting(why) })
        }
    }
}

fn vector(series: &[Series]) -> Result<QueryAnswer, Failure> {
    match series {
        [] => Ok(QueryAnswer::NoData { why: "no series".to_owned() }),
        [one] => match &one.value {
            Some((_, text)) => number(text),
            None => Ok(QueryAnswer::Mistaken { why: "its result is a histogram".to_owned() }),
        },
        [first, second, ..] => {
            let (first, second) = (labels(first), labels(second));
            let count = series.len();
            let why = format!(
                "{count} series where one is wanted, {first} and {second} among them: aggregate \
                 them, with sum() or max()"
            );
            Ok(QueryAnswer::Mistaken { why: shortened(&why) })
        }
    }
}

fn number(text: &str) -> Result<QueryAnswer, Failure> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(QueryAnswer::Value(value)),
        Ok(_) => Ok(QueryAnswer::NoData { why: shortened(text) }),
        Err(_) => Err(Failure::lasting(format!("{text:?} is not a number"))),
    }
}

/// The labels of a series as people write them, shortened.
fn labels(series: &Series) -> String {
    let pairs = series.metric.iter().map(|(name, value)| format!("{name}={value:?}"));
    let text = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// How much of a series' labels is told.
const SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result_type: &str, result: &str) -> QueryAnswer {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"{result_type}","result":{result}}},"warnings":["x"]}}"#
        );
        read(StatusCode::OK, body.as_bytes()).expect(result)
    }

    fn series(labels: &str, value: &str) -> String {
        format!(r#"{{"metric":{{{labels}}},"value":[1435781451.781,"{value}"]}}"#)
    }

    #[test]
    fn one_number_is_an_answer() {
        let check = |text: &str, expected: f64| {
            let vector = answer("vector", &format!("[{}]", series("", text)));
            assert_eq!(vector, QueryAnswer::Value(expected));
            let scalar = answer("scalar", &format!(r#"[1435781451,"{text}"]"#));
            assert_eq!(scalar, QueryAnswer::Value(expected));
        };
        check("1", 1.0);
        check("0.25", 0.25);
        check("-1e-3", -0.001);
    }

    #[test]
    fn no_number_is_no_data() {
        let check = |answer: QueryAnswer, expected: &str| {
            assert_eq!(answer, QueryAnswer::NoData { why: expected.to_owned() });
        };
        check(answer("vector", "[]"), "no series");
        for text in ["NaN", "+Inf", "-Inf"] {
            check(answer("vector", &format!("[{}]", series("", text))), text);
            check(answer("scalar", &format!(r#"[1,"{text}"]"#)), text);
        }
    }

    #[test]
    fn what_is_not_one_number_shows_a_mistake() {
        let check = |answer: QueryAnswer, expected: &str| {
            let QueryAnswer::Mistaken { why } = answer else { panic!("{answer:?}") };
            assert!(why.contains(expected), "{why}");
        };
        check(answer("matrix", "[]"), "a matrix, wanted one number");
        check(answer("string", r#"[1,"x"]"#), "a string, wanted one number");
        let two = format!("[{},{}]", series(r#""job":"a""#, "1"), series(r#""job":"b""#, "2"));
        check(
            answer("vector", &two),
            "2 series where one is wanted, {job=\"a\"} and {job=\"b\"} among them: aggregate them",
        );
        check(answer("vector", r#"[{"metric":{},"histogram":[1,{}]}]"#), "a histogram");
        let refused = r#"{"status":"error","errorType":"bad_data","error":"1:4: parse error"}"#;
        for status in [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY] {
            let read = read(status, refused.as_bytes()).expect("an answer");
            check(read, "bad_data: 1:4: parse error");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_failure_that_passes_or_lasts() {
        let check = |status: u16, body: &str, expected: &str, is_passing: bool| {
            let status = StatusCode::from_u16(status).expect("a status");
            let failure = read(status, body.as_bytes()).expect_err(body);
            assert!(failure.why.contains(expected), "{failure}");
            assert_eq!(failure.is_passing, is_passing, "{failure}");
            assert!(failure.why.chars().count() <= super::super::TEXT_LIMIT);
        };
        let unavailable = r#"{"status":"error","errorType":"unavailable","error":"starting"}"#;
        check(503, unavailable, "status 503 Service Unavailable: unavailable: starting", true);
        check(502, "<html>", "status 502 Bad Gateway", true);
        check(429, "", "status 429", true);
        check(401, "", "status 401 Unauthorized", false);
        check(404, "not found", "status 404", false);
        check(400, "not JSON", "status 400", false);
        check(302, "", "redirects are not followed", false);
        check(200, "<html>", "no Prometheus server", false);
        check(200, r#"{"status":"success"}"#, "without data", false);
        check(200, r#"{"status":"error","error":"x"}"#, "status 200 OK: : x", false);
        let broken = r#"{"status":"success","data":{"resultType":"vector","result":{}}}"#;
        check(200, broken, "a broken answer", false);
        let odd = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"one"]}}"#;
        check(200, odd, "\"one\" is not a number", false);
        check(500, &"x".repeat(5_000), "status 500", true);
    }
}
