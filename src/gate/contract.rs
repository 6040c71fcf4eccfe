//! Whether a component keeps to the contract in `wit/`.
//!
//! The check before linking exists for its words: wasmtime calls every missing import "function
//! implementation is missing", whatever the reason.

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

use super::GateError;
use super::bindings::{Gate, GatePre};
use super::imports::CallData;
use super::words;

/// The version of the contract; while it is 0.x a change of the second number breaks gates.
const VERSION: &str = "0.1.0";
const OFFERED: [(&str, &[&str]); 4] = [
    ("tidegate:gate/types", &[]),
    ("tidegate:gate/telemetry", &["metric"]),
    ("tidegate:gate/state", &["get", "set"]),
    ("tidegate:gate/log", &["write"]),
];
const DEMANDED: [&str; 2] = ["describe", "evaluate"];

/// Compiles a component and links it, without running anything of it.
pub(super) fn link(engine: &Engine, bytes: &[u8]) -> Result<GatePre<CallData>, GateError> {
    let component = Component::new(engine, bytes).map_err(|error| {
        let text = format!("{error:#}");
        let cut_off = text.contains("out of bounds") || text.contains("unexpected end");
        let hint = if cut_off { " (the file is cut off or damaged)" } else { "" };
        GateError::Invalid { text: words::clean(&text) + hint }
    })?;
    let problems = problems(engine, &component);
    if !problems.is_empty() {
        return Err(GateError::Contract { problems });
    }
    let mut linker = Linker::new(engine);
    let linked = Gate::add_to_linker::<_, HasSelf<_>>(&mut linker, |data: &mut CallData| data)
        .and_then(|()| linker.instantiate_pre(&component))
        .and_then(GatePre::new);
    linked.map_err(|error| GateError::Contract {
        problems: vec![words::clean(&format!("{error:#}"))],
    })
}

fn problems(engine: &Engine, component: &Component) -> Vec<String> {
    let kind = component.component_type();
    let mut problems = Vec::new();
    for (name, item) in kind.imports(engine) {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let offer = OFFERED.iter().find(|(offered, _)| *offered == interface);
        let (Some((_, functions)), ComponentItem::ComponentInstance(instance)) = (offer, &item.ty)
        else {
            problems.push(format!("import `{name}` is not available to gates"));
            continue;
        };
        if track(version) != track(VERSION) {
            problems.push(format!("import `{name}`: this host offers version {VERSION}"));
            continue;
        }
        for (function, item) in instance.exports(engine) {
            let is_function = matches!(item.ty, ComponentItem::ComponentFunc(_));
            if is_function && !functions.contains(&function) {
                problems.push(format!("import `{name}`: there is no `{function}`"));
            }
        }
    }
    for name in DEMANDED {
        if kind.get_export(engine, name).is_none() {
            problems.push(format!("export `{name}` is missing"));
        }
    }
    problems.iter().map(|problem| words::clean(problem)).collect()
}

/// The part of a version that must be the same on both sides.
fn track(version: &str) -> &str {
    let digits = if version.starts_with("0.") { 2 } else { 1 };
    let end = version.match_indices('.').nth(digits - 1).map_or(version.len(), |(at, _)| at);
    &version[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_in_the_contract() {
        let wit = include_str!("../../wit/gate.wit");
        assert!(wit.contains(&format!("package tidegate:gate@{VERSION};")));
    }

    #[test]
    fn versions_match_along_their_compatibility_track() {
        for (version, expected) in [("0.1.0", "0.1"), ("0.12.3", "0.12"), ("1.2.3", "1"), ("", "")]
        {
            assert_eq!(track(version), expected, "{version}");
        }
    }
}
