//! What Prometheus answers to an instant query.

use std::collections::BTreeMap;

use gate_kit::http::Response;
use gate_kit::web;
use serde::Deserialize;

/// One value with the labels that it belongs to; a scalar has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels as PromQL writes them.
    pub labels: String,
    /// The value; never NaN.
    pub value: f64,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// `None` for a native histogram.
    value: Option<(f64, String)>,
}

/// Reads the samples that have a value.
///
/// # Errors
/// Prometheus did not answer the query, or with something that is no number.
pub fn read(response: &Response) -> Result<Vec<Sample>, String> {
    let answer: Answer = serde_json::from_str(&response.body).map_err(|error| {
        let body = web::excerpt(&response.body);
        format!("Prometheus answers {} and not as its API does: {error}: {body}", response.status)
    })?;
    if response.status != 200 || answer.status != "success" {
        let why = answer.error.unwrap_or(answer.status);
        return Err(format!("Prometheus answers {}: {}", response.status, web::excerpt(&why)));
    }
    let series = match answer.data {
        Some(Data::Vector(series)) => series,
        Some(Data::Scalar(value)) => {
            vec![Series { metric: BTreeMap::new(), value: Some(value) }]
        }
        Some(Data::Matrix(_)) => return Err("the query gives a range: ask for one value".into()),
        Some(Data::String(_)) => return Err("the query gives a text, not a number".into()),
        None => return Err("Prometheus answers without a result".into()),
    };
    let mut samples = Vec::new();
    for Series { metric, value } in series {
        let (_, text) = value.ok_or("the query gives a histogram, not a number")?;
        let value: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
        if !value.is_nan() {
            samples.push(Sample { labels: labels(&metric), value });
        }
    }
    Ok(samples)
}

fn labels(metric: &BTreeMap<String, String>) -> String {
    if metric.is_empty() {
        return String::new();
    }
    let labels: Vec<_> = metric.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Vec<Sample>, String> {
        read(&Response { status, headers: Vec::new(), body: body.to_owned() })
    }

    fn success(data: &str) -> Result<Vec<Sample>, String> {
        answer(200, &format!(r#"{{"status":"success","data":{data}}}"#))
    }

    #[test]
    fn vectors_and_scalars_are_read_and_nan_is_no_value() {
        let vector = r#"{"resultType":"vector","result":[
            {"metric":{"job":"a","x":"1"},"value":[1.5,"0.25"]},
            {"metric":{},"value":[1.5,"NaN"]}, {"metric":{},"value":[1.5,"+Inf"]}]}"#;
        let sample = |labels: &str, value| Sample { labels: labels.to_owned(), value };
        let expected = vec![sample(r#"{job="a", x="1"}"#, 0.25), sample("", f64::INFINITY)];
        assert_eq!(success(vector), Ok(expected));
        let scalar = r#"{"resultType":"scalar","result":[1.5,"3"]}"#;
        assert_eq!(success(scalar), Ok(vec![sample("", 3.0)]));
        assert_eq!(success(r#"{"resultType":"vector","result":[]}"#), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_answer_is_an_error_in_words() {
        let check = |found: Result<Vec<Sample>, String>, expected: &str| {
            let found = found.expect_err(expected);
            assert!(found.contains(expected), "{found}");
        };
        let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error at 3"}"#;
        check(answer(400, bad), "Prometheus answers 400: parse error at 3");
        check(answer(200, bad), "parse error at 3");
        check(answer(503, "Service Unavailable"), "answers 503 and not as its API does");
        check(success(r#"{"resultType":"matrix","result":[]}"#), "gives a range");
        check(success(r#"{"resultType":"string","result":[1,"x"]}"#), "gives a text");
        check(
            success(r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}"#),
            "gives a histogram",
        );
    }
}
