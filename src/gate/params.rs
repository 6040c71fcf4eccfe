//! A gate's parameters against the schema that the gate described them with.
//!
//! The schema comes from the guest, so what could make checking expensive is refused: references,
//! which can be remote, endless or exponential, patterns that need backtracking, and many of them:
//! a pattern of a few letters may take a quarter of a megabyte.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::GateError;
use super::words;
use crate::core::model::ParamsText;

/// The longest schema in bytes.
pub(super) const LONGEST_SCHEMA: usize = 64 << 10;

/// The longest parameters in bytes.
const LONGEST_PARAMS: usize = 64 << 10;
const PATTERN_BYTES: usize = 256 << 10;
/// The most patterns of a schema.
const PATTERNS: usize = 32;
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
const VIOLATIONS_SHOWN: usize = 20;

/// A compiled schema.
pub(super) struct ParamsSchema(Validator);

impl ParamsSchema {
    /// Compiles the text of a schema.
    pub(super) fn compile(text: &str) -> Result<Self, GateError> {
        let refused = |text: &str| GateError::Schema { text: words::clean(text) };
        if text.len() > LONGEST_SCHEMA {
            return Err(refused(&format!("longer than {LONGEST_SCHEMA} bytes")));
        }
        let schema: Value =
            serde_json::from_str(text).map_err(|error| refused(&format!("not JSON: {error}")))?;
        if let Some(keyword) = reference(&schema) {
            return Err(refused(&format!("`{keyword}` is not permitted: write it in place")));
        }
        if patterns(&schema) > PATTERNS {
            return Err(refused(&format!("more than {PATTERNS} patterns")));
        }
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .build(&schema)
            .map(Self)
            .map_err(|error| {
                refused(&format!("{}: {error}", place(error.instance_path().as_str())))
            })
    }

    /// Checks parameters; an error lists every violation with its place.
    pub(super) fn check(&self, params: &ParamsText) -> Result<(), GateError> {
        let text = params.as_str();
        let refused = |violations| Err(GateError::Params { violations });
        if text.len() > LONGEST_PARAMS {
            return refused(vec![format!("longer than {LONGEST_PARAMS} bytes")]);
        }
        let value: Value = match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) => return refused(vec!["not a JSON object".to_owned()]),
            Err(error) => return refused(vec![format!("not JSON: {error}")]),
        };
        let violations: Vec<_> = self
            .0
            .iter_errors(&value)
            .take(VIOLATIONS_SHOWN)
            .map(|error| {
                words::clean(&format!("{}: {error}", place(error.instance_path().as_str())))
            })
            .collect();
        if violations.is_empty() { Ok(()) } else { refused(violations) }
    }
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "/" } else { pointer }
}

/// The first key of a schema that refers to another place.
fn reference(schema: &Value) -> Option<&'static str> {
    match schema {
        Value::Object(entries) => entries.iter().find_map(|(key, value)| {
            REFERENCES.into_iter().find(|keyword| keyword == key).or_else(|| reference(value))
        }),
        Value::Array(items) => items.iter().find_map(reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// How many patterns a schema has, and properties that are called so.
fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Object(entries) => {
            let of = |(key, value): (&String, &Value)| {
                let own = match (key.as_str(), value) {
                    ("pattern", _) => 1,
                    ("patternProperties", Value::Object(named)) => named.len(),
                    (_, _) => 0,
                };
                own + patterns(value)
            };
            entries.iter().map(of).sum()
        }
        Value::Array(items) => items.iter().map(patterns).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(schema: &str, params: &str) -> Vec<String> {
        let schema = ParamsSchema::compile(schema).expect("a schema");
        match schema.check(&ParamsText::from_canonical(params)) {
            Ok(()) => Vec::new(),
            Err(GateError::Params { violations }) => violations,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_violation_is_listed_with_its_place() {
        let schema = r#"{"properties":{"a":{"type":"integer"},"b":{"properties":{"c":{"maximum":1}}}},
            "additionalProperties":false}"#;
        assert_eq!(violations(schema, r#"{"a":1,"b":{"c":1}}"#), Vec::<String>::new());
        let found = violations(schema, r#"{"a":"x","b":{"c":2},"d":1}"#);
        assert_eq!(found.len(), 3, "{found:?}");
        for start in ["/a: ", "/b/c: ", "/: "] {
            assert!(found.iter().any(|violation| violation.starts_with(start)), "{found:?}");
        }
    }

    #[test]
    fn parameters_are_one_json_object_of_bounded_length() {
        assert_eq!(violations("{}", "[]"), ["not a JSON object"]);
        assert!(violations("{}", "{")[0].starts_with("not JSON"));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(LONGEST_PARAMS));
        assert!(violations("{}", &long)[0].starts_with("longer than"));
    }

    #[test]
    fn a_schema_that_could_be_expensive_or_is_none_is_refused() {
        let refusal =
            |schema: &str| ParamsSchema::compile(schema).err().expect("refused").to_string();
        assert!(refusal(r#"{"$ref":"https://example.com/s.json"}"#).contains("$ref"));
        assert!(refusal(r##"{"properties":{"a":{"$ref":"#"}}}"##).contains("$ref"));
        assert!(refusal(r#"{"pattern":"(a+)+\\1"}"#).contains("pattern"));
        assert!(refusal(r#"{"type":"thing"}"#).contains("type"));
        assert!(refusal(r#"{"pattern":"((a{99}){99}){99}"}"#).contains("pattern"));
        let many = r#"{"pattern":"^a"},"#.repeat(PATTERNS + 1);
        let many = format!(r#"{{"allOf":[{}]}}"#, many.trim_end_matches(','));
        assert!(refusal(&many).contains("more than 32 patterns"));
        let named = |at: usize| format!(r#""^{at}":{{}}"#);
        let named = (0..=PATTERNS).map(named).collect::<Vec<_>>().join(",");
        let many = format!(r#"{{"patternProperties":{{{named}}}}}"#);
        assert!(refusal(&many).contains("more than 32 patterns"));
        assert!(refusal("{").contains("not JSON"));
        assert!(refusal(&" ".repeat(LONGEST_SCHEMA + 1)).contains("longer than"));
    }
}
