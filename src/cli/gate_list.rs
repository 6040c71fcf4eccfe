//! Gates on a line each: whether they can be asked, what they may use, and how much of it.

use super::screen::plain;
use super::style;
use super::table::table;
use crate::admin::json::{Gate, GateGrants, GateLimits, HttpGrant};

/// All gates as a table.
pub(super) fn render(gates: &[Gate]) -> String {
    let row = |gate: &Gate| {
        let versions = if gate.uploaded { gate.kept_versions.to_string() } else { NONE.to_owned() };
        [
            gate.name.to_string(),
            style::gate(gate.state),
            plain(&grants(&gate.grants)),
            limits(&gate.limits),
            versions,
            gate.sha256.map_or(NONE.to_owned(), |sha256| sha256.to_string()),
        ]
    };
    let rows: Vec<_> = gates.iter().map(row).collect();
    table(["GATE", "STATE", "GRANTS", "LIMITS", "VERSIONS", "SHA-256"], &rows)
}

/// What is granted: `clock, GET/POST api.example.com`.
fn grants(grants: &GateGrants) -> String {
    let mut granted = Vec::new();
    granted.extend(grants.clock.then(|| "clock".to_owned()));
    granted.extend(grants.random.then(|| "random".to_owned()));
    let host = |grant: &HttpGrant| format!("{} {}", grant.methods.join("/"), grant.host);
    granted.extend(grants.http.iter().map(host));
    listed(&granted)
}

/// The limits that are not the defaults: `deadline 2s, memory 1MiB`.
fn limits(limits: &GateLimits) -> String {
    let changed: Vec<_> =
        limits.changed.iter().map(|key| format!("{} {}", plain(key), limit(limits, key))).collect();
    listed(&changed)
}

/// A limit as it is written in the configuration.
fn limit(limits: &GateLimits, key: &str) -> String {
    match key {
        "deadline" => limits.deadline.to_string(),
        "memory" => bytes(limits.memory_bytes),
        "fuel" => limits.fuel.map_or(NONE.to_owned(), |fuel| fuel.to_string()),
        "table_elements" => limits.table_elements.to_string(),
        "log" => bytes(limits.log_bytes.into()),
        "response" => bytes(limits.response_bytes.into()),
        "http_response" => bytes(limits.http_response_bytes.into()),
        "host_calls" => limits.host_calls.to_string(),
        "concurrent_calls" => limits.concurrent_calls.to_string(),
        // Of a process that is younger than this command.
        _ => "?".to_owned(),
    }
}

/// An amount of bytes in the largest unit that says it exactly.
fn bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { NONE.to_owned() } else { words.join(", ") }
}

const NONE: &str = "-";
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    fn gate(changes: &Value) -> Gate {
        let mut gate = json!({
            "name": "budget", "state": "ready", "uploaded": false, "kept_versions": 0,
            "sha256": "ab".repeat(32),
            "grants": { "clock": false, "random": false, "http": [] },
            "limits": {
                "deadline": "50ms", "deadline_ms": 50, "memory_bytes": 16 << 20,
                "table_elements": 20_000, "log_bytes": 16 << 10, "response_bytes": 1 << 20,
                "http_response_bytes": 256 << 10, "host_calls": 1_000, "concurrent_calls": 8,
                "changed": [],
            },
        });
        for (place, value) in changes.as_object().expect("an object") {
            *gate.pointer_mut(place).expect("it is there") = value.clone();
        }
        serde_json::from_value(gate).expect("a gate")
    }

    #[test]
    fn a_gate_is_a_line_with_what_it_may_use_and_how_much_of_it() {
        let host = json!({ "host": "a.example", "methods": ["GET", "POST"], "addresses": [] });
        let own = gate(&json!({
            "/name": "own", "/state": "no_component", "/uploaded": true, "/sha256": null,
            "/grants/clock": true, "/grants/http": [host],
            "/limits/memory_bytes": 1_536 << 10, "/limits/changed": ["memory"],
        }));
        let digest = "ab".repeat(32);
        assert_eq!(
            strip_str(&render(&[gate(&json!({})), own])).to_string(),
            format!(
                "GATE    STATE         GRANTS                     LIMITS          VERSIONS  SHA-256\n\
                 budget  ready         -                          -               -         {digest}\n\
                 own     no_component  clock, GET/POST a.example  memory 1536KiB  0         -"
            )
        );
    }

    #[test]
    fn limits_are_shown_as_the_configuration_has_them() {
        let changed = [
            "deadline",
            "memory",
            "fuel",
            "table_elements",
            "log",
            "response",
            "http_response",
            "host_calls",
            "concurrent_calls",
            "later",
        ];
        let gate = gate(&json!({ "/limits/changed": changed }));
        assert_eq!(
            limits(&gate.limits),
            "deadline 50ms, memory 16MiB, fuel -, table_elements 20000, log 16KiB, response 1MiB, \
             http_response 256KiB, host_calls 1000, concurrent_calls 8, later ?"
        );
        assert_eq!((bytes(0), bytes(1_025)), ("0B".to_owned(), "1025B".to_owned()));
    }
}
