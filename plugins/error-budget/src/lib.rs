//! A gate that lets a rollout go on while green keeps within its error budget.

pub mod decision;

use decision::{Params, Seen};
use gate_kit::{Call, Side, Verdict, telemetry};

gate_kit::gate!(evaluate);

/// Asks the host for green's numbers and judges them.
///
/// # Errors
/// None of its own.
pub fn evaluate(call: &Call, params: &Params) -> Result<Verdict, String> {
    let metric = |name| telemetry::metric(Side::Green, name, params.window_ms);
    let seen = Seen {
        weight_percent: call.weight_percent,
        requests: metric("requests"),
        error_rate: metric("error_rate"),
    };
    Ok(decision::decide(params, seen))
}
