//! `tidegate check`: what of a configuration only the gate host and DNS can tell.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::Gates;
use crate::telemetry::Windows;

use super::names::check_names_now;

/// Loads every gate of a configuration, checks the parameters of every use, and forgets them;
/// resolves every name of a target. Blocks.
///
/// # Errors
/// A sentence for each gate that cannot be used and each name that does not resolve, with its key
/// path.
pub fn check_config(config: &Config) -> Result<(), String> {
    match (check_gates(config), check_names_now(config)) {
        (Err(gates), Err(names)) => Err(format!("{gates}\n{names}")),
        (gates, names) => gates.and(names),
    }
}

fn check_gates(config: &Config) -> Result<(), String> {
    let gates = Gates::new(Clock::start(), Arc::new(Windows::default()), None);
    let checked = gates.prepare(config);
    gates.shutdown();
    checked
}
