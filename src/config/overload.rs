//! `overload`: from when on new requests are refused.

use saphyr::{Scalar, YamlData};

use super::OverloadSpec;
use super::bytes::bytes_between;
use super::node::Node;
use crate::core::model::MemoryLimit;

/// Reads the section; without one, the limit is that of the system.
pub(super) fn overload(node: Option<&Node<'_>>) -> OverloadSpec {
    let Some(node) = node else { return OverloadSpec::default() };
    let mut fields = node.fields();
    let memory_limit = fields.take("memory_limit").and_then(|node| memory_limit(&node));
    fields.finish();
    OverloadSpec { memory_limit: memory_limit.unwrap_or_default() }
}

fn memory_limit(node: &Node<'_>) -> Option<MemoryLimit> {
    if let YamlData::Value(Scalar::String(text)) = &node.yaml().data {
        let word: &str = text;
        if word == "off" {
            return Some(MemoryLimit::Off);
        }
    }
    bytes_between(node, "1MiB", "1024TiB").map(MemoryLimit::Bytes)
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{BASE, parse, refuses, with};
    use crate::core::model::MemoryLimit;

    #[test]
    fn a_memory_limit_is_an_amount_or_off_and_by_default_the_systems() {
        let limit = |text: &str| parse(text).expect("no mistake").overload.memory_limit;
        let written = |value: &str| limit(&with(&format!("overload: {{ memory_limit: {value} }}")));
        assert_eq!(limit(BASE), MemoryLimit::OfTheSystem);
        assert_eq!(limit(&with("overload: {}")), MemoryLimit::OfTheSystem);
        assert_eq!(written("512MiB"), MemoryLimit::Bytes(512 << 20));
        assert_eq!(written("off"), MemoryLimit::Off);
        let refused = |value: &str, expected: &str| {
            refuses(&with(&format!("overload: {{ memory_limit: {value} }}")), expected);
        };
        refused("9KiB", "overload.memory_limit: \"9KiB\" is not between 1MiB and 1024TiB");
        refused("512", "overload.memory_limit: \"512\" is not an amount of bytes");
        refused("on", "overload.memory_limit: \"on\" is not an amount of bytes");
        refuses(&with("overload: { memory: 1GiB }"), "overload.memory: unknown key");
    }
}
