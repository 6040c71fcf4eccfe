//! A gate that holds a rollout until each side had enough requests for its numbers to mean
//! something.

use gate_kit::{Call, Side, Verdict, hold, requests, seconds};
use serde::Deserialize;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many requests green must have answered in the window.
    pub min_green_requests: u32,
    /// How many requests blue must have answered in the window; 0 asks for none.
    pub min_blue_requests: u32,
    /// How far back to look.
    pub window_ms: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { min_green_requests: 100, min_blue_requests: 0, window_ms: 60_000 }
    }
}

gate_kit::gate!(evaluate);

/// Asks the host how many requests there were.
///
/// # Errors
/// None of its own.
pub fn evaluate(call: &Call, params: &Params) -> Result<Verdict, String> {
    let green = requests(Side::Green, params.window_ms);
    let blue = requests(Side::Blue, params.window_ms);
    Ok(decide(params, call.weight_percent, green, blue))
}

/// Holds while a side that has weight had too few requests. One without weight is not waited for:
/// no time brings it any.
#[must_use]
pub fn decide(params: &Params, weight_percent: f64, green: f64, blue: f64) -> Verdict {
    let sides = [
        ("green", params.min_green_requests, green, weight_percent > 0.0),
        ("blue", params.min_blue_requests, blue, weight_percent < 100.0),
    ];
    for (side, needed, seen, has_weight) in sides {
        let needed = f64::from(needed);
        if has_weight && seen < needed {
            return hold(format!(
                "{} more {side} requests: {seen} of {needed} in the last {} s",
                needed - seen,
                seconds(params.window_ms)
            ));
        }
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{defaults_in, params};

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let text = defaults_in(include_str!("../params.schema.json"));
        assert_eq!(params::<Params>(&text), Ok(Params::default()));
    }

    #[test]
    fn each_side_that_has_weight_is_waited_for() {
        let params = Params { min_blue_requests: 50, ..Params::default() };
        let check = |weight, green, blue, expected: Option<&str>| {
            let expected = expected.map_or(Verdict::Pass, |reason| hold(reason.to_owned()));
            assert_eq!(decide(&params, weight, green, blue), expected);
        };
        let green = "1 more green requests: 99 of 100 in the last 60 s";
        let blue = "50 more blue requests: 0 of 50 in the last 60 s";
        check(10.0, 99.0, 50.0, Some(green));
        check(10.0, 100.0, 50.0, None);
        check(10.0, 100.0, 0.0, Some(blue));
        check(0.0, 0.0, 50.0, None);
        check(0.0, 0.0, 0.0, Some(blue));
        check(100.0, 100.0, 0.0, None);
    }
}
