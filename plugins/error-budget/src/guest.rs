//! The component's side of the contract in `wit/`.

use crate::decision::{self, Decision, Params, Seen};
use tidegate::gate::telemetry::{Side, metric};

wit_bindgen::generate!({ path: "../../wit", world: "gate" });

struct ErrorBudget;

impl Guest for ErrorBudget {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            params_schema: include_str!("../params.schema.json").to_owned(),
        }
    }

    fn evaluate(call: Call) -> Result<Verdict, String> {
        let params = Params::parse(&call.params)?;
        let seen = Seen {
            weight_percent: call.weight_percent,
            requests: metric(Side::Green, "requests", params.window_ms),
            error_rate: metric(Side::Green, "error_rate", params.window_ms),
        };
        Ok(match decision::decide(&params, seen) {
            Decision::Pass => Verdict::Pass,
            Decision::Fail(reason) => Verdict::Fail(reason),
            Decision::Hold(reason) => Verdict::Hold(Hold { reason, retry_after_ms: None }),
        })
    }
}

export!(ErrorBudget);
