//! Whether a component keeps to the contract in `wit/`, and to what it was granted.
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
use crate::core::model::GateGrants;

/// The version of the contract.
const VERSION: &str = "1.0.0";
const PACKAGE: &str = "tidegate:gate/";
static OFFERED: [Offer; 7] = [
    Offer { interface: "types", functions: &[], needs: None },
    Offer {
        interface: "telemetry",
        functions: &["metric", "statuses", "latency-quantile", "evidence"],
        needs: None,
    },
    Offer { interface: "state", functions: &["get", "set", "keys"], needs: None },
    Offer { interface: "log", functions: &["write"], needs: None },
    Offer {
        interface: "wall-clock",
        functions: &["now-ms"],
        needs: Some(Needs { key: "grants: { clock: true }", given: |grants| grants.clock }),
    },
    Offer {
        interface: "random",
        functions: &["number", "bytes"],
        needs: Some(Needs { key: "grants: { random: true }", given: |grants| grants.random }),
    },
    Offer {
        interface: "http",
        functions: &["fetch"],
        needs: Some(Needs {
            key: "grants: { http: [{ host: … }] }",
            given: |grants| !grants.http.is_empty(),
        }),
    },
];
const DEMANDED: [&str; 2] = ["describe", "evaluate"];

/// An interface that the host has.
struct Offer {
    interface: &'static str,
    functions: &'static [&'static str],
    /// `None` is there for every gate.
    needs: Option<Needs>,
}

/// What must be granted for an interface.
struct Needs {
    /// As it is written at the gate.
    key: &'static str,
    given: fn(&GateGrants) -> bool,
}

/// Links a component, whose native code the engine has in its cache, without running any of it.
pub(super) fn link(
    engine: &Engine,
    bytes: &[u8],
    grants: &GateGrants,
) -> Result<GatePre<CallData>, GateError> {
    let component = Component::new(engine, bytes).map_err(|error| {
        let text = format!("{error:#}");
        let cut_off = text.contains("out of bounds") || text.contains("unexpected end");
        let hint = if cut_off { " (the file is cut off or damaged)" } else { "" };
        GateError::Invalid { text: words::clean(&text) + hint }
    })?;
    let problems = problems(engine, &component, grants);
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

fn problems(engine: &Engine, component: &Component, grants: &GateGrants) -> Vec<String> {
    let kind = component.component_type();
    let mut problems = Vec::new();
    for (name, item) in kind.imports(engine) {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let Some(offer) = offer(interface) else {
            problems.push(format!("import `{name}` is not available to gates{}", hint(interface)));
            continue;
        };
        let ComponentItem::ComponentInstance(instance) = &item.ty else {
            problems.push(format!("import `{name}` is no interface"));
            continue;
        };
        if track(version) != track(VERSION) {
            problems.push(format!(
                "import `{name}`: the gate is built for version {version} of the contract, this \
                 host offers version {VERSION}"
            ));
            continue;
        }
        for (function, item) in instance.exports(engine) {
            let is_function = matches!(item.ty, ComponentItem::ComponentFunc(_));
            if is_function && !offer.functions.contains(&function) {
                problems.push(format!(
                    "import `{name}`: there is no `{function}` in version {VERSION}, which this \
                     host offers"
                ));
            }
        }
        if let Some(needs) = offer.needs.as_ref().filter(|needs| !(needs.given)(grants)) {
            problems.push(format!(
                "import `{name}` is not granted: write `{}` at the gate if it may have that",
                needs.key
            ));
        }
    }
    for name in DEMANDED {
        if kind.get_export(engine, name).is_none() {
            problems.push(format!("export `{name}` is missing"));
        }
    }
    problems.iter().map(|problem| words::clean(problem)).collect()
}

fn offer(interface: &str) -> Option<&'static Offer> {
    let name = interface.strip_prefix(PACKAGE)?;
    OFFERED.iter().find(|offer| offer.interface == name)
}

/// What may help the author of a gate that imports something else.
fn hint(interface: &str) -> String {
    if interface.starts_with(PACKAGE) {
        return format!(": this host offers version {VERSION} of the contract, which has none");
    }
    if interface.starts_with("wasi:") {
        return ": build the gate without WASI".to_owned();
    }
    String::new()
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

    const WIT: &str = include_str!("../../wit/gate.wit");

    #[test]
    fn the_version_is_the_one_in_the_contract() {
        assert!(WIT.contains(&format!("package tidegate:gate@{VERSION};")));
    }

    #[test]
    fn what_is_offered_is_what_the_contract_has() {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("gate.wit", WIT).expect("valid WIT");
        let package = &resolve.packages[package];
        let mut interfaces: Vec<_> = package.interfaces.keys().map(String::as_str).collect();
        let mut offered: Vec<_> = OFFERED.iter().map(|offer| offer.interface).collect();
        interfaces.sort_unstable();
        offered.sort_unstable();
        assert_eq!(offered, interfaces);
        for offer in &OFFERED {
            let interface = &resolve.interfaces[package.interfaces[offer.interface]];
            let mut functions: Vec<_> = interface.functions.keys().map(String::as_str).collect();
            let mut offered = offer.functions.to_vec();
            functions.sort_unstable();
            offered.sort_unstable();
            assert_eq!(offered, functions, "{}", offer.interface);
        }
    }

    #[test]
    fn versions_match_along_their_compatibility_track() {
        for (version, expected) in [("0.1.0", "0.1"), ("0.12.3", "0.12"), ("1.2.3", "1"), ("", "")]
        {
            assert_eq!(track(version), expected, "{version}");
        }
    }
}
