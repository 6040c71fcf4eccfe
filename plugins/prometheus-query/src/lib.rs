//! A gate that compares the answer of a Prometheus query with bounds.

pub mod answer;

use std::collections::BTreeMap;

use answer::Sample;
use gate_kit::{Call, Verdict, hold, web};
use serde::Deserialize;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Where the API is, without `/api/v1`.
    pub url: String,
    /// An instant query.
    pub query: String,
    /// A value above this is a fail; `None` sets no such bound, as with the next three.
    pub fail_above: Option<f64>,
    /// A value below this is a fail.
    pub fail_below: Option<f64>,
    /// A value above this is a hold.
    pub hold_above: Option<f64>,
    /// A value below this is a hold.
    pub hold_below: Option<f64>,
    /// What to answer when there is no value.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// Headers to send.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long to wait for the answer.
    #[serde(default = "three_seconds")]
    pub timeout_ms: u32,
}

/// What to answer when the query has no result, or only NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNoData {
    /// Wait for it.
    #[default]
    Hold,
    /// Go on without.
    Pass,
    /// Take it back.
    Fail,
}

fn three_seconds() -> u32 {
    3_000
}

gate_kit::gate!(evaluate);

/// Asks Prometheus and compares what it says.
///
/// # Errors
/// There is no answer to the query: none from Prometheus, one about a mistake, or one that is no
/// number.
pub fn evaluate(call: &Call, params: &Params) -> Result<Verdict, String> {
    let request = web::get(url(call, params), &params.headers, params.timeout_ms);
    let response = web::send(&request)?;
    Ok(decide(params, &answer::read(&response)?))
}

/// The URL of the query, with the names in it replaced.
#[must_use]
pub fn url(call: &Call, params: &Params) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let query = params
        .query
        .replace("$service", &quoted(&call.service))
        .replace("$rollout", &quoted(&call.rollout))
        .replace("$green", &quoted(&call.green_revision))
        .replace("$blue", &quoted(call.blue_revision.as_deref().unwrap_or_default()));
    format!("{}/api/v1/query?query={}", params.url.trim_end_matches('/'), web::encode(&query))
}

/// Compares every sample with every bound: one beyond a bound is enough, and a fail beats a hold.
#[must_use]
pub fn decide(params: &Params, samples: &[Sample]) -> Verdict {
    if samples.is_empty() {
        let reason = format!("no data for the query {}", web::excerpt(&params.query));
        return match params.on_no_data {
            OnNoData::Hold => hold(reason),
            OnNoData::Pass => Verdict::Pass,
            OnNoData::Fail => Verdict::Fail(reason),
        };
    }
    if let Some(reason) = beyond(samples, params.fail_above, params.fail_below) {
        return Verdict::Fail(reason);
    }
    beyond(samples, params.hold_above, params.hold_below).map_or(Verdict::Pass, hold)
}

fn beyond(samples: &[Sample], above: Option<f64>, below: Option<f64>) -> Option<String> {
    samples.iter().find_map(|Sample { labels, value }| {
        let (side, bound) = match (above, below) {
            (Some(bound), _) if *value > bound => ("above", bound),
            (_, Some(bound)) if *value < bound => ("below", bound),
            _ => return None,
        };
        let space = if labels.is_empty() { "" } else { " for " };
        Some(format!("the query gives {value}{space}{labels}, {side} {bound}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{example_call, params};

    fn parsed(more: &str) -> Params {
        params(&format!(r#"{{"url":"http://prometheus:9090/","query":"up",{more}}}"#))
            .expect("valid")
    }

    fn sample(labels: &str, value: f64) -> Sample {
        Sample { labels: labels.to_owned(), value }
    }

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let defaults = gate_kit::defaults_in(include_str!("../params.schema.json"));
        let inner = defaults.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        assert_eq!(parsed(inner.expect("an object")), parsed(r#""timeout_ms":3000"#));
    }

    #[test]
    fn names_in_the_query_are_replaced_and_the_rest_is_encoded() {
        let mut params = parsed(r#""fail_above":1"#);
        params.query = r#"x{s="$service",g="$green",b="$blue",r=~"a$"}"#.to_owned();
        let mut call = example_call();
        call.green_revision = "v\"2".to_owned();
        call.blue_revision = None;
        let expected = web::encode(r#"x{s="shop",g="v\"2",b="",r=~"a$"}"#);
        assert_eq!(
            url(&call, &params),
            format!("http://prometheus:9090/api/v1/query?query={expected}")
        );
    }

    #[test]
    fn one_sample_beyond_a_bound_is_enough_and_a_fail_beats_a_hold() {
        let params = parsed(r#""fail_above":5,"hold_above":2,"hold_below":-1"#);
        let decide = |values: &[f64]| {
            let samples: Vec<_> = values.iter().map(|value| sample("", *value)).collect();
            decide(&params, &samples)
        };
        assert_eq!(decide(&[0.0, 2.0]), Verdict::Pass);
        assert_eq!(decide(&[0.0, 3.0]), hold("the query gives 3, above 2".to_owned()));
        assert_eq!(decide(&[-2.0]), hold("the query gives -2, below -1".to_owned()));
        let failed = Verdict::Fail("the query gives 6, above 5".to_owned());
        assert_eq!(decide(&[3.0, 6.0]), failed);
    }

    #[test]
    fn no_data_does_what_the_operator_chose() {
        let verdict = |more: &str| decide(&parsed(more), &[]);
        assert!(matches!(verdict(r#""fail_above":5"#), Verdict::Hold(_)));
        assert_eq!(verdict(r#""fail_above":5,"on_no_data":"pass""#), Verdict::Pass);
        assert!(matches!(verdict(r#""fail_above":5,"on_no_data":"fail""#), Verdict::Fail(_)));
    }
}
