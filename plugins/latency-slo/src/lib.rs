//! A gate that lets a rollout go on while green answers fast enough.
//!
//! The host reads quantiles from a histogram, so they can be 12.5 % too large. Both sides are read
//! alike, which is why the comparison with blue needs no allowance for it.

use gate_kit::{Call, Side, Verdict, hold, requests, seconds, telemetry};
use serde::Deserialize;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The share of requests that the bounds are about, in percent.
    pub percentile: f64,
    /// The longest time green may take; `None` sets no such bound.
    pub max_ms: Option<f64>,
    /// How many times as long as blue green may take; `None` does not compare.
    pub max_ratio: Option<f64>,
    /// How far back to look.
    pub window_ms: u32,
    /// How many requests a side must have answered before it is judged, or compared with.
    pub min_requests: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            percentile: 99.0,
            max_ms: None,
            max_ratio: None,
            window_ms: 60_000,
            min_requests: 100,
        }
    }
}

/// What was measured of one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Requests in the window.
    pub requests: f64,
    /// The latency at the percentile; `None` if nothing was measured.
    pub latency_ms: Option<f64>,
}

gate_kit::gate!(evaluate);

/// Asks the host for the latency of both sides and judges green's.
///
/// # Errors
/// None of its own.
pub fn evaluate(call: &Call, params: &Params) -> Result<Verdict, String> {
    let q = params.percentile / 100.0;
    let seen = |side| Seen {
        requests: requests(side, params.window_ms),
        latency_ms: telemetry::latency_quantile(side, q, params.window_ms),
    };
    Ok(decide(params, call.weight_percent, seen(Side::Green), seen(Side::Blue)))
}

/// Judges green by the bounds that are set; with too few requests it holds, unless green has no
/// weight and waiting would bring none.
#[must_use]
pub fn decide(params: &Params, weight_percent: f64, green: Seen, blue: Seen) -> Verdict {
    let needed = f64::from(params.min_requests);
    let window = seconds(params.window_ms);
    let enough = |seen: Seen| seen.latency_ms.filter(|_| seen.requests >= needed);
    let Some(latency) = enough(green) else {
        if weight_percent <= 0.0 {
            return Verdict::Pass;
        }
        return hold(format!(
            "{} more green requests: {} of {needed} in the last {window} s",
            (needed - green.requests).max(1.0),
            green.requests
        ));
    };
    let found = format!(
        "green's p{} is {latency:.1} ms of {} requests in the last {window} s",
        params.percentile, green.requests
    );
    if let Some(bound) = params.max_ms.filter(|bound| latency > *bound) {
        return Verdict::Fail(format!("{found}, above {bound} ms"));
    }
    if let (Some(ratio), Some(blue)) = (params.max_ratio, enough(blue))
        && latency > ratio * blue
    {
        return Verdict::Fail(format!("{found}, more than {ratio} times blue's {blue:.1} ms"));
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{defaults_in, params};

    fn seen(requests: f64, latency_ms: f64) -> Seen {
        Seen { requests, latency_ms: Some(latency_ms) }
    }

    const NOTHING: Seen = Seen { requests: 0.0, latency_ms: None };

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Pass => String::new(),
            Verdict::Fail(reason) => format!("fail: {reason}"),
            Verdict::Hold(hold) => format!("hold: {}", hold.reason),
        }
    }

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let text = defaults_in(include_str!("../params.schema.json"));
        assert_eq!(params::<Params>(&text), Ok(Params::default()));
    }

    #[test]
    fn a_fixed_bound_may_be_reached_and_not_passed() {
        let params = Params { max_ms: Some(250.0), ..Params::default() };
        assert_eq!(decide(&params, 10.0, seen(100.0, 250.0), NOTHING), Verdict::Pass);
        let failed = reason(decide(&params, 10.0, seen(100.0, 251.0), NOTHING));
        assert_eq!(
            failed,
            "fail: green's p99 is 251.0 ms of 100 requests in the last 60 s, above 250 ms"
        );
    }

    #[test]
    fn green_is_compared_with_a_blue_that_has_enough_requests() {
        let params = Params { max_ratio: Some(1.5), ..Params::default() };
        let slow = seen(100.0, 301.0);
        let failed = reason(decide(&params, 10.0, slow, seen(100.0, 200.0)));
        assert!(failed.ends_with("more than 1.5 times blue's 200.0 ms"), "{failed}");
        assert_eq!(decide(&params, 10.0, slow, seen(99.0, 200.0)), Verdict::Pass);
        assert_eq!(decide(&params, 10.0, slow, seen(100.0, 201.0)), Verdict::Pass);
    }

    #[test]
    fn too_few_requests_hold_a_green_that_has_weight() {
        let params = Params { max_ms: Some(1.0), ..Params::default() };
        let held = reason(decide(&params, 10.0, seen(99.0, 500.0), NOTHING));
        assert_eq!(held, "hold: 1 more green requests: 99 of 100 in the last 60 s");
        assert!(reason(decide(&params, 10.0, NOTHING, NOTHING)).starts_with("hold: 100 more"));
        assert_eq!(decide(&params, 0.0, NOTHING, NOTHING), Verdict::Pass);
    }
}
