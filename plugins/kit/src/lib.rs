//! What gates in Rust share: the contract's types and imports, parameters, and the export.
//!
//! A gate is a function from a call and its parameters to a verdict, a schema in
//! `params.schema.json`, and one line:
//!
//! ```ignore
//! gate_kit::gate!(evaluate);
//!
//! fn evaluate(call: &Call, params: &Params) -> Result<Verdict, String> { … }
//! ```
//!
//! The world is the one with everything, but a component imports only what its gate calls: one that
//! never asks for the time needs no grant for it.

pub mod web;

use serde::de::DeserializeOwned;

/// The contract in `wit/` as Rust types, generated.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "gate-with-all",
        pub_export_macro: true,
        export_macro_name: "export_world",
        default_bindings_module: "gate_kit::bindings",
        additional_derives: [Clone, PartialEq],
    });
}

pub use bindings::tidegate::gate::telemetry::Side;
pub use bindings::tidegate::gate::{http, log, state, telemetry, wall_clock};
pub use bindings::{Call, Description, Hold, Verdict};

/// Exports a function as the gate of this crate. Its second argument says what the parameters are;
/// the schema is `params.schema.json` beside `Cargo.toml`.
#[macro_export]
macro_rules! gate {
    ($evaluate:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::bindings::Guest for Exported {
                fn describe() -> $crate::Description {
                    $crate::Description {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        params_schema: include_str!(concat!(
                            env!("CARGO_MANIFEST_DIR"),
                            "/params.schema.json"
                        ))
                        .to_owned(),
                    }
                }

                fn evaluate(call: $crate::Call) -> Result<$crate::Verdict, String> {
                    $evaluate(&call, &$crate::params(&call.params)?)
                }
            }

    $crate::bindings::export_world!(Exported with_types_in $crate::bindings);
        };
    };
}

/// Reads the text of one JSON object.
///
/// # Errors
/// The text does not fit. The host has checked it against the schema, so this means that schema and
/// type disagree, or that the schema cannot say what the type asks for.
pub fn params<P: DeserializeOwned>(text: &str) -> Result<P, String> {
    serde_json::from_str(text).map_err(|error| format!("parameters: {error}"))
}

/// A hold that leaves it to the host when to ask again.
#[must_use]
pub fn hold(reason: String) -> Verdict {
    Verdict::Hold(Hold { reason, retry_after_ms: None })
}

/// A hold that says when to ask again.
#[must_use]
pub fn hold_for(reason: String, retry_after_ms: u32) -> Verdict {
    Verdict::Hold(Hold { reason, retry_after_ms: Some(retry_after_ms) })
}

/// How many requests of a side were scored over a window; 0 if nothing is known.
#[must_use]
pub fn requests(side: Side, window_ms: u32) -> f64 {
    telemetry::metric(side, "requests", window_ms).unwrap_or(0.0)
}

/// A window in seconds, to be read by people.
#[must_use]
pub fn seconds(ms: u32) -> f64 {
    f64::from(ms) / 1_000.0
}

/// The parameters when nothing is configured, read from the defaults in a schema: what a test
/// compares with the defaults of the type.
///
/// # Panics
/// The text is no schema with properties.
#[must_use]
pub fn defaults_in(schema: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(schema).expect("valid JSON");
    let properties = schema["properties"].as_object().expect("properties");
    let defaults = properties.iter().filter_map(|(key, property)| {
        property.get("default").map(|default| (key.clone(), default.clone()))
    });
    serde_json::Value::Object(defaults.collect()).to_string()
}

/// A call about 10 % of the traffic during step 0, for tests.
#[must_use]
pub fn example_call() -> Call {
    Call {
        rollout: "d-ABCDEFGH1".to_owned(),
        service: "shop".to_owned(),
        stage: "during-step".to_owned(),
        step: 0,
        attempt: 1,
        blue_revision: Some("v1".to_owned()),
        green_revision: "v2".to_owned(),
        weight_percent: 10.0,
        next_weight_percent: 10.0,
        elapsed_ms: 60_000.0,
        params: "{}".to_owned(),
        attributes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_from_the_properties_that_have_one() {
        let schema = r#"{"properties":{"a":{"default":1},"b":{},"c":{"default":"x"}}}"#;
        assert_eq!(defaults_in(schema), r#"{"a":1,"c":"x"}"#);
    }

    #[test]
    fn parameters_that_do_not_fit_are_an_error_in_words() {
        assert_eq!(params::<Vec<u8>>("[1,2]"), Ok(vec![1, 2]));
        assert!(params::<Vec<u8>>("{}").expect_err("no list").starts_with("parameters: "));
    }
}
