//! A gate's `params`: YAML that becomes the canonical text of one JSON object.
//!
//! Whether they fit the gate's schema is for the gate's host to say, which knows the component.

use std::collections::BTreeMap;

use saphyr::{Scalar, YamlData};
use serde_json::Value;

use super::document::Yaml;
use super::node::Node;
use crate::core::model::ParamsText;

/// Reads the section.
pub(super) fn params(node: &Node<'_>) -> Option<ParamsText> {
    if !node.yaml().data.is_mapping() {
        return node.wanted("a mapping");
    }
    let text = match json(node.yaml(), MAX_DEPTH) {
        Ok(value) => value.to_string(),
        Err(reason) => {
            node.mistake(reason);
            return None;
        }
    };
    if text.len() > MAX_BYTES {
        node.mistake(format!("are {} bytes as JSON, at most {MAX_BYTES} are allowed", text.len()));
        return None;
    }
    Some(ParamsText::from_canonical(&text))
}

fn json(yaml: &Yaml, depth: usize) -> Result<Value, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("are nested deeper than {MAX_DEPTH} levels"));
    };
    match &yaml.data {
        YamlData::Value(scalar) => scalar_json(scalar),
        YamlData::Sequence(items) => items.iter().map(|item| json(item, depth)).collect(),
        YamlData::Mapping(mapping) => {
            // Sorted here: whether the library's own map sorts depends on its features.
            let mut sorted = BTreeMap::new();
            for (key, value) in mapping {
                let Some(key) = key.data.as_str() else {
                    return Err("have a key that is not a text: put it in quotes".to_owned());
                };
                sorted.insert(key.to_owned(), json(value, depth)?);
            }
            Ok(Value::Object(sorted.into_iter().collect()))
        }
        YamlData::Tagged(..)
        | YamlData::Representation(..)
        | YamlData::Alias(_)
        | YamlData::BadValue => Err("have a value with a tag, which JSON cannot hold".to_owned()),
    }
}

fn scalar_json(scalar: &Scalar<'_>) -> Result<Value, String> {
    match scalar {
        Scalar::Null => Ok(Value::Null),
        Scalar::Boolean(flag) => Ok(Value::from(*flag)),
        Scalar::Integer(number) => Ok(Value::from(*number)),
        Scalar::FloatingPoint(number) => serde_json::Number::from_f64(number.into_inner())
            .map(Value::Number)
            .ok_or_else(|| format!("have the number {number}, which JSON cannot hold")),
        Scalar::String(text) => Ok(Value::from(text.as_ref())),
    }
}

const MAX_DEPTH: usize = 16;
const MAX_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    fn check(text: &str, expected: Result<&str, &str>) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let found = params(&Node::root(&yaml, &mistakes));
        match (found, mistakes.into_errors(), expected) {
            (Some(found), None, Ok(expected)) => assert_eq!(found.as_str(), expected),
            (None, Some(errors), Err(expected)) => {
                assert!(errors.to_string().contains(expected), "{errors}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn params_become_json_with_sorted_keys() {
        check("{}", Ok("{}"));
        check(
            "{b: 1, a: {d: [x, 0.5, true, ~], c: '1'}}",
            Ok(r#"{"a":{"c":"1","d":["x",0.5,true,null]},"b":1}"#),
        );
        check("slo: 99.9", Ok(r#"{"slo":99.9}"#));
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        check("[1]", Err("wanted a mapping, found a list"));
        check("{a: .inf}", Err("have the number inf, which JSON cannot hold"));
        check("{1: a}", Err("have a key that is not a text"));
        check("{a: !x [b]}", Err("have a value with a tag"));
        check(
            &format!("{{a: {}{}}}", "[".repeat(20), "]".repeat(20)),
            Err("are nested deeper than 16 levels"),
        );
        check(&format!("a: {}", "x".repeat(MAX_BYTES)), Err("at most 16384 are allowed"));
    }
}
