//! Which module may use which crate: every dependency has a line, so that each has a place, and
//! `core` stays free of I/O, clocks and chance.

use super::code::paths;
use super::tree::SourceFile;

/// Finds every path of a file's production code into a crate or a part of `std` that its module
/// may not use.
pub(crate) fn check(file: &SourceFile) -> Vec<String> {
    let module = file.module().join("::");
    let refused = |segments: &[&str]| {
        let path = segments.join("::");
        let of_crate = PLACES.iter().find(|place| place.name == segments[0]);
        let misplaced = of_crate.is_some_and(|place| !place.permits(&module));
        let impure = is_in(&module, "core")
            && IMPURE.iter().any(|part| is_in(&path, part))
            && !PURE.iter().any(|part| is_in(&path, part));
        (misplaced || impure).then_some(path)
    };
    let tell = |(line, path)| format!("{}:{line}: {module} may not use {path}", file.path);
    paths(file.production())
        .into_iter()
        .filter_map(|path| refused(&path.segments).map(|text| tell((path.line, text))))
        .collect()
}

/// The dependencies of a manifest that have no line.
pub(crate) fn unplaced(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]"));
    let lines = section.unwrap_or_default().lines().skip(1);
    let names = lines.filter_map(|line| Some(line.split_once('=')?.0.trim().replace('-', "_")));
    names.filter(|name| !PLACES.iter().any(|place| place.name == name)).collect()
}

/// Where a crate may be used.
struct Place {
    name: &'static str,
    modules: &'static [&'static str],
}

impl Place {
    fn permits(&self, module: &str) -> bool {
        self.modules.iter().any(|allowed| is_in(module, allowed))
    }
}

fn is_in(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

const fn place(name: &'static str, modules: &'static [&'static str]) -> Place {
    Place { name, modules }
}

/// Everything with something to say; `core`, `clock` and `config` are silent.
const ADAPTERS: &[&str] = &[
    "store",
    "telemetry",
    "probe",
    "promql",
    "gate",
    "resolve",
    "control",
    "proxy",
    "admin",
    "cli",
    "app",
];
/// Whoever waits for something; `core`, `clock`, `config` and `telemetry` do not.
const ASYNC: &[&str] =
    &["store", "probe", "promql", "gate", "resolve", "control", "proxy", "admin", "cli", "app"];
/// Whoever speaks HTTP.
const HTTP: &[&str] = &["probe", "promql", "gate", "proxy", "admin", "cli", "app"];

/// The table. A crate that several modules use is small; a large one has one home.
const PLACES: &[Place] = &[
    place("anstream", &["cli", "app", "main"]),
    place("anstyle", &["cli", "app"]),
    place("anyhow", &["cli", "main"]),
    place("arc_swap", &["control", "proxy", "tls", "app"]),
    place("async_trait", &["store", "proxy", "control", "gate"]),
    place("axum", &["admin"]),
    place("bytes", HTTP),
    place("clap", &["cli", "main"]),
    place("comfy_table", &["cli"]),
    // Driven by hand: hyper would spawn tasks that nobody owns, and its client knows no more of a
    // target than the host that a request names.
    place("h2", &["probe", "proxy"]),
    place("hickory_resolver", &["resolve"]),
    place("http", HTTP),
    place("http_body_util", HTTP),
    place("hyper", HTTP),
    place("hyper_util", HTTP),
    place("ipnet", &["core", "config", "proxy"]),
    // In the configuration: the time of day in the cases of a gate.
    place("jiff", &["config", "proxy", "admin", "cli", "app"]),
    place("jsonschema", &["gate"]),
    place("pingora_core", &["proxy"]),
    place("pingora_http", &["proxy"]),
    place("pingora_proxy", &["proxy"]),
    place("ppp", &["proxy"]),
    place("prometheus", &["telemetry"]),
    place("rand", &["store", "gate", "control", "proxy", "admin", "app"]),
    // What rustls uses as well; here for the signatures of uploaded gates.
    place("ring", &["gate"]),
    place("rusqlite", &["store"]),
    place("rustix", &["store", "proxy", "gate", "cli", "app"]),
    place("rustls", &["tls"]),
    // The roots of the system, where neither a group nor a server of Prometheus names an authority.
    place("rustls_native_certs", &["tls"]),
    place("saphyr", &["config"]),
    place("saphyr_parser", &["config"]),
    // In core, derived by types alone: what they are written as is for others to say.
    place(
        "serde",
        &["core", "config", "store", "promql", "gate", "control", "proxy", "admin", "cli", "app"],
    ),
    place(
        "serde_json",
        &["config", "store", "promql", "gate", "control", "proxy", "admin", "cli", "app"],
    ),
    place("sha2", &["core"]),
    place("siphasher", &["core", "probe"]),
    place("subtle", &["admin"]),
    place(
        "thiserror",
        &[
            "core", "config", "store", "probe", "promql", "gate", "resolve", "control", "proxy",
            "admin", "cli", "app", "tls",
        ],
    ),
    // Gives memory back that a burst has used, which the C library's allocator does not.
    place("tikv_jemallocator", &["main"]),
    place("tokio", ASYNC),
    place("tokio_rustls", &["promql", "tls"]),
    // The one trait in which hyper's client takes a way to connect.
    place("tower_service", &["proxy"]),
    place("tracing", ADAPTERS),
    place("tracing_subscriber", &["cli", "main"]),
    place("utoipa", &["admin"]),
    place("wasmtime", &["gate"]),
    // The interfaces of `wasi:http` alone, and no way of theirs to send a request: that is ours.
    place("wasmtime_wasi", &["gate"]),
    place("wasmtime_wasi_http", &["gate"]),
    place("wasmtime_wasi_io", &["gate"]),
    // Makes a component of what a compiler has made, for the author of a gate.
    place("wit_component", &["cli"]),
    place("x509_parser", &["tls"]),
];

/// The parts of `std` that read or change the world outside of the process, or wait.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];
/// What is harmless among them: addresses are values.
const PURE: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::net::AddrParseError",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::new(path, text))
    }

    #[test]
    fn core_is_pure() {
        for text in [
            "use tokio::sync::watch;",
            "use tracing::info;",
            "fn f() { rand::random(); }",
            "use serde_json::Value;",
            "use std::fs;",
            "use std::{fs::File};",
            "use std::net::{SocketAddr, TcpStream};",
            "use std::time::{Duration, Instant};",
            "use std::net::*;",
        ] {
            assert_eq!(complaints("src/core/model/x.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn core_may_use_values_of_std_and_derives() {
        let text = "use std::net::{IpAddr, SocketAddr}; use std::time::Duration; \
                    use serde::Serialize; use std::sync::Arc;";
        assert_eq!(complaints("src/core/model/x.rs", text), [""; 0]);
    }

    #[test]
    fn a_large_crate_has_one_home() {
        assert_eq!(complaints("src/control/x.rs", "use wasmtime::Engine;").len(), 1);
        assert_eq!(complaints("src/gate/x.rs", "use wasmtime::Engine;").len(), 0);
    }

    #[test]
    fn a_dependency_without_a_line_is_found() {
        let manifest =
            "[package]\n\n[dependencies]\ntokio = \"1\"\nleft-pad = \"1\"\n\n[lints.rust]\n";
        assert_eq!(unplaced(manifest), ["left_pad"]);
    }
}
