//! The decision: numbers in, verdict out.

use gate_kit::{Verdict, hold, seconds};
use serde::Deserialize;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The share of requests that must succeed, in percent.
    pub slo: f64,
    /// How far back to look.
    pub window_ms: u32,
    /// How many green requests the window must hold before green is judged.
    pub min_requests: u32,
    /// How many times the budget the error rate may be.
    pub max_burn: f64,
    /// What to answer when nothing was measured.
    pub on_no_data: OnNoData,
}

/// What to answer while green has weight and nothing at all was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNoData {
    /// Wait for it.
    Hold,
    /// Go on without.
    Pass,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            slo: 99.9,
            window_ms: 60_000,
            min_requests: 100,
            max_burn: 10.0,
            on_no_data: OnNoData::Hold,
        }
    }
}

impl Params {
    /// The error rate above which the gate fails, in percent.
    fn limit(&self) -> f64 {
        self.max_burn * (100.0 - self.slo)
    }
}

/// What there is to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Green's weight in force.
    pub weight_percent: f64,
    /// Green's requests in the window; `None` if nothing was measured.
    pub requests: Option<f64>,
    /// Green's error rate in the window, in percent; `None` if nothing was measured.
    pub error_rate: Option<f64>,
}

/// Judges green by its own error budget.
///
/// With too few requests it holds, with one exception: while green has no weight no time of
/// waiting brings any, and a hold would keep the rollout from ever beginning.
#[must_use]
pub fn decide(params: &Params, seen: Seen) -> Verdict {
    let (requests, error_rate) = match (seen.requests, seen.error_rate) {
        (Some(requests), Some(error_rate)) => (requests, error_rate),
        (Some(_), None) | (None, Some(_)) | (None, None) => (0.0, 0.0),
    };
    let needed = f64::from(params.min_requests);
    let window = seconds(params.window_ms);
    if requests < needed {
        let pass_without = requests <= 0.0 && params.on_no_data == OnNoData::Pass;
        if pass_without || seen.weight_percent <= 0.0 {
            return Verdict::Pass;
        }
        return hold(format!(
            "{} more green requests: {requests} of {needed} in the last {window} s",
            needed - requests
        ));
    }
    let limit = params.limit();
    if error_rate > limit {
        return Verdict::Fail(format!(
            "green's error rate is {error_rate:.3}% of {requests} requests in the last {window} s, \
             above {limit:.3}% ({} times the error budget of an SLO of {}%)",
            params.max_burn, params.slo
        ));
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{Hold, defaults_in, params};

    fn seen(requests: f64, error_rate: f64) -> Seen {
        Seen { weight_percent: 10.0, requests: Some(requests), error_rate: Some(error_rate) }
    }

    fn nothing(weight_percent: f64) -> Seen {
        Seen { weight_percent, requests: None, error_rate: None }
    }

    #[test]
    fn an_empty_object_means_the_defaults() {
        assert_eq!(params::<Params>("{}"), Ok(Params::default()));
        let parsed = params::<Params>(r#"{"on_no_data":"pass","slo":99}"#).expect("valid");
        assert_eq!((parsed.slo, parsed.on_no_data), (99.0, OnNoData::Pass));
        assert!(params::<Params>(r#"{"sloo":99}"#).is_err());
    }

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let text = defaults_in(include_str!("../params.schema.json"));
        assert_eq!(params::<Params>(&text), Ok(Params::default()));
    }

    #[test]
    fn green_is_judged_only_with_enough_requests() {
        let params = Params::default();
        let Verdict::Hold(Hold { reason, .. }) = decide(&params, seen(99.0, 100.0)) else {
            panic!("expected a hold");
        };
        assert_eq!(reason, "1 more green requests: 99 of 100 in the last 60 s");
        assert!(matches!(decide(&params, seen(100.0, 100.0)), Verdict::Fail(_)));
        assert_eq!(decide(&params, seen(100.0, 0.0)), Verdict::Pass);
    }

    #[test]
    fn green_fails_above_the_permitted_burn_and_not_at_it() {
        let params = Params { slo: 99.0, max_burn: 2.0, ..Params::default() };
        assert_eq!(decide(&params, seen(1_000.0, 2.0)), Verdict::Pass);
        let Verdict::Fail(reason) = decide(&params, seen(1_000.0, 2.1)) else {
            panic!("expected a fail");
        };
        assert!(reason.contains("2.100%") && reason.contains("2.000%"), "{reason}");
    }

    #[test]
    fn no_data_does_what_the_operator_chose() {
        let hold = Params::default();
        let pass = Params { on_no_data: OnNoData::Pass, ..Params::default() };
        assert!(matches!(decide(&hold, nothing(1.0)), Verdict::Hold(_)));
        assert_eq!(decide(&pass, nothing(1.0)), Verdict::Pass);
        assert!(matches!(decide(&pass, seen(1.0, 0.0)), Verdict::Hold(_)));
    }

    #[test]
    fn a_green_without_weight_does_not_keep_the_rollout_from_beginning() {
        assert_eq!(decide(&Params::default(), nothing(0.0)), Verdict::Pass);
    }
}
