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
use super::{wasi, words};
use crate::core::model::GateGrants;

/// The version of the contract.
const VERSION: &str = "1.0.0";
const PACKAGE: &str = "tidegate:gate/";
const WASI: &str = "wasi:";
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
        needs: Some(Needs { key: HTTP, given: |grants| !grants.http.is_empty() }),
    },
];
/// What is written at a gate that may send requests.
const HTTP: &str = "grants: { http: [{ host: … }] }";
const DEMANDED: [&str; 2] = ["describe", "evaluate"];
/// The most exports of a component that are named where one is missing.
const SHOWN: usize = 8;

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
    let kind = component.component_type();
    let wants_wasi = kind.imports(engine).any(|(name, _)| name.starts_with(WASI));
    let linked = Gate::add_to_linker::<_, HasSelf<_>>(&mut linker, |data: &mut CallData| data)
        .and_then(|()| if wants_wasi { wasi::link(&mut linker) } else { Ok(()) })
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
        if wasi::OFFERED.contains(&interface) {
            problems.extend(problem_of_wasi(name, version, grants));
            continue;
        }
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
            problems.push(not_granted(name, needs.key));
        }
    }
    let missing = DEMANDED.iter().filter(|name| kind.get_export(engine, name).is_none());
    let missing: Vec<String> = missing.map(|name| format!("export `{name}` is missing")).collect();
    if !missing.is_empty() {
        let has: Vec<String> =
            kind.exports(engine).map(|(name, _)| format!("`{name}`")).take(SHOWN).collect();
        let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
        problems.extend(missing);
        problems.push(format!(
            "the component exports {has}; wanted is the world `gate` of tidegate:gate@{VERSION}"
        ));
    }
    problems.iter().map(|problem| words::clean(problem)).collect()
}

/// What is wrong with the import of an interface of WASI's that is offered.
fn problem_of_wasi(name: &str, version: &str, grants: &GateGrants) -> Option<String> {
    if track(version) != track(wasi::VERSION) {
        return Some(format!(
            "import `{name}`: the gate is built for version {version} of WASI, this host offers \
             version {}",
            wasi::VERSION
        ));
    }
    grants.http.is_empty().then(|| not_granted(name, HTTP))
}

fn not_granted(name: &str, key: &str) -> String {
    format!("import `{name}` is not granted: write `{key}` at the gate if it may have that")
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
    if interface.starts_with(WASI) {
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
    use std::collections::BTreeMap;
    use std::path::Path;

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

    /// The contracts that were released, without what is said in them.
    const RELEASED: [(&str, &str); 1] =
        [("1.0.0", include_str!("../../tests/gates/released/1.0.0.wit"))];

    /// Interfaces and worlds, each with its lines.
    fn items(wit: &str) -> BTreeMap<&str, Vec<&str>> {
        let (mut items, mut open) = (BTreeMap::<&str, Vec<&str>>::new(), None);
        let lines = wit.lines().map(str::trim_end);
        for line in lines.filter(|line| !line.is_empty() && !line.trim().starts_with("///")) {
            if line.starts_with("interface ") || line.starts_with("world ") {
                open = Some(line);
            }
            if let Some(name) = open {
                items.entry(name).or_default().push(line);
            }
            if line == "}" {
                open = None;
            }
        }
        items
    }

    #[test]
    fn what_was_released_is_there_as_it_was() {
        let now = items(WIT);
        for (version, wit) in RELEASED {
            let then = items(wit);
            assert!(then.len() > 10, "{then:?}");
            for (name, lines) in then {
                assert_eq!(now.get(name), Some(&lines), "{name} is not as in {version}");
            }
        }
        let why = "release it with its WIT and a component in tests/gates/released";
        assert!(RELEASED.iter().any(|(version, _)| *version == VERSION), "{why}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gates/released");
        assert!(folder.join(format!("{VERSION}.wasm")).is_file(), "{why}");
    }

    #[test]
    fn versions_match_along_their_compatibility_track() {
        for (version, expected) in [("0.1.0", "0.1"), ("0.12.3", "0.12"), ("1.2.3", "1"), ("", "")]
        {
            assert_eq!(track(version), expected, "{version}");
        }
    }
}
