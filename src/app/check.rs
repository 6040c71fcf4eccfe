//! `tidegate check`: what of a configuration only the gate host can tell.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::Gates;
use crate::telemetry::Windows;

/// Loads every gate of a configuration, checks the parameters of every use, and forgets them.
/// Blocks.
///
/// # Errors
/// A sentence for each gate that cannot be used, with its key path.
pub fn check_gates(config: &Config) -> Result<(), String> {
    let gates = Gates::new(Clock::start(), Arc::new(Windows::default()), None);
    let checked = gates.prepare(config);
    gates.shutdown();
    checked
}
