//! `gates`: the components that services can use, each pinned by its digest.

use std::collections::BTreeMap;
use std::path::Path;

use super::component;
use super::gate_grants::{grants, limits};
use super::node::Node;
use super::resolve;
use crate::core::model::{GateKey, GateName, GateSpec, Sha256, UploadedGate};

/// Reads the section, and the components that it names; apart from them, the gates whose components
/// are uploaded.
pub(super) fn gates(
    node: &Node<'_>,
    base_dir: &Path,
) -> (BTreeMap<GateName, GateSpec>, BTreeMap<GateName, UploadedGate>) {
    let mut uploaded = BTreeMap::new();
    let named = node.named(MAX_GATES, |name, node| {
        if node.child("uploaded").is_none() {
            return gate(name, node, base_dir);
        }
        let gate = uploaded_gate(name, node)?;
        uploaded.insert(gate.name.clone(), gate);
        None
    });
    (named, uploaded)
}

/// Reads the keys that sign what is uploaded.
pub(super) fn gate_keys(node: &Node<'_>) -> Vec<GateKey> {
    node.items(MAX_KEYS).iter().filter_map(|node| node.parsed()).collect()
}

fn uploaded_gate(name: Option<GateName>, node: &Node<'_>) -> Option<UploadedGate> {
    let mut fields = node.fields();
    let uploaded = fields.take("uploaded").and_then(|node| node.only_true());
    let sha256 = fields.take("sha256").and_then(|node| node.parsed());
    let grants = fields.take("grants").as_ref().map(grants).unwrap_or_default();
    let limits = limits(fields.take("limits").as_ref(), &grants);
    fields.finish();
    uploaded?;
    Some(UploadedGate { name: name?, sha256, limits, grants })
}

fn gate(name: Option<GateName>, node: &Node<'_>, base_dir: &Path) -> Option<GateSpec> {
    let mut fields = node.fields();
    let component = fields.require("component");
    let pin = fields.require("sha256");
    let grants = fields.take("grants").as_ref().map(grants).unwrap_or_default();
    let limits = limits(fields.take("limits").as_ref(), &grants);
    fields.finish();
    let wanted = pin.as_ref().and_then(|node| node.parsed::<Sha256>());
    let component = component.and_then(|node| Some((node.text()?, node)));
    let found = component.as_ref().and_then(|(path, node)| {
        let file = resolve(base_dir, path);
        let digest = component::digest(&file);
        digest.map_err(|error| node.mistake(format!("{} {error}", file.display()))).ok()
    });
    if let (Some(pin), Some(wanted), Some(found)) = (pin, wanted, found)
        && wanted != found
    {
        pin.mistake(format!("the component hashes to {found}, not to {wanted}"));
    }
    let (component, _) = component?;
    Some(GateSpec { name: name?, component: component.to_owned(), sha256: wanted?, limits, grants })
}

/// The most gates of a configuration.
const MAX_GATES: usize = 100;
/// The most keys.
const MAX_KEYS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::with;
    use crate::core::model::{GateLimits, Span};

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn read(gate: &str) -> Result<GateSpec, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("budget.wasm"), COMPONENT).unwrap();
        std::fs::write(dir.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let gate = gate.replace("DIGEST", &Sha256::of(COMPONENT).to_string());
        let config = Config::parse(&with(&format!("gates: {{ budget: {gate} }}")), dir.path());
        let config = config.map_err(|errors| errors.to_string())?;
        let gate = config.gates.values().next().unwrap().clone();
        assert!(config.component_path(&gate).is_file());
        Ok(gate)
    }

    #[test]
    fn a_gate_is_a_component_with_its_digest() {
        let gate = read("{ component: ./budget.wasm, sha256: DIGEST }").unwrap();
        assert_eq!(
            (gate.component.as_str(), gate.limits),
            ("./budget.wasm", GateLimits::default())
        );
        let limits = "limits: { deadline: 1s, memory: 1MiB }";
        let gate =
            read(&format!("{{ component: budget.wasm, sha256: DIGEST, {limits} }}")).unwrap();
        let expected = GateLimits {
            deadline: Span::from_secs(1),
            memory_bytes: 1 << 20,
            ..GateLimits::default()
        };
        assert_eq!(gate.limits, expected);
    }

    #[test]
    fn a_gate_may_be_uploaded_and_pinned_or_not() {
        let read = |text: &str| Config::parse(&with(text), Path::new(""));
        let config = read("gates: { free: { uploaded: true }, budget: { uploaded: true, sha256: DIGEST, limits: { memory: 1MiB }, grants: { clock: true } } }".replace("DIGEST", &Sha256::of(COMPONENT).to_string()).as_str()).unwrap();
        assert!(config.gates.is_empty());
        let [budget, free] = config.uploaded_gates.values().collect::<Vec<_>>()[..] else {
            panic!("two gates");
        };
        assert_eq!((budget.sha256, free.sha256), (Some(Sha256::of(COMPONENT)), None));
        assert_eq!(budget.limits.memory_bytes, 1 << 20);
        assert!(budget.grants.clock && !free.grants.clock);
        let refuses = |text: &str, expected: &str| {
            let found = read(text).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
        };
        refuses("gates: { free: { uploaded: false } }", "gates.free.uploaded: false says nothing");
        let both = "gates: { free: { uploaded: true, component: x.wasm } }";
        refuses(both, "gates.free.component: unknown key");
        let keys = format!("gate_keys: [{}]", "ab".repeat(32));
        assert_eq!(read(&keys).unwrap().gate_keys.len(), 1);
        refuses("gate_keys: [abc]", "gate_keys[0]: \"abc\" is not a public key");
    }

    #[test]
    fn what_is_no_pinned_component_is_refused() {
        let check = |gate: &str, expected: &str| {
            let found = read(gate).unwrap_err();
            assert!(found.contains(expected), "{found}\ndoes not contain\n{expected}");
            assert_eq!(found.lines().count(), 1, "{found}");
        };
        let zeros = "0".repeat(63);
        let digest = Sha256::of(COMPONENT);
        check("{ sha256: DIGEST }", "line 4: gates.budget: `component` is missing");
        check("{ component: budget.wasm }", "gates.budget: `sha256` is missing");
        check("{ component: none.wasm, sha256: DIGEST }", "none.wasm cannot be read: ");
        check(
            "{ component: core.wasm, sha256: DIGEST }",
            "core.wasm is a core module, not a component",
        );
        check(
            &format!("{{ component: budget.wasm, sha256: a{zeros} }}"),
            &format!("gates.budget.sha256: the component hashes to {digest}, not to a{zeros}"),
        );
        check(
            "{ component: budget.wasm, sha256: abc }",
            "gates.budget.sha256: \"abc\" is not a SHA-256 digest",
        );
        check(
            "{ component: budget.wasm, sha256: DIGEST, limits: { memory: 16 } }",
            "gates.budget.limits.memory: \"16\" is not an amount of bytes",
        );
        check(
            "{ component: budget.wasm, sha256: DIGEST, limits: { memory: 16MB } }",
            "is not an amount of bytes",
        );
        check(
            "{ component: budget.wasm, sha256: DIGEST, limits: { memory: 1KiB } }",
            "\"1KiB\" is not between",
        );
        check(
            "{ component: budget.wasm, sha256: DIGEST, limits: { deadline: 2m } }",
            "limits.deadline: 2m is too long: at most 10s",
        );
        check(
            "{ component: budget.wasm, sha256: DIGEST, limit: {} }",
            "gates.budget.limit: unknown key; did you mean `limits`?",
        );
    }
}
