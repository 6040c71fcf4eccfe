//! End to end: the real binary over real sockets, with real targets and real load.
//!
//! `kit` has what a test needs to set the scene; every other file is one promise of the product.

mod attempts;
mod checks;
mod cli;
mod crash;
#[path = "../alarms/daemon.rs"]
#[expect(dead_code, reason = "Alertmanager belongs to the tests of alarms")]
mod daemon;
mod demo;
mod evidence;
mod explain;
#[path = "../alarms/exporter.rs"]
mod exporter;
mod gate_calls;
mod gate_languages;
#[path = "../../src/gate/guest.rs"]
mod guest;
mod history;
mod kit;
mod logs;
mod mistakes;
mod prometheus_gate;
mod readme;
mod reload;
mod replay;
mod restart;
mod revival;
mod shipped_gates;
mod simulation;
mod targets;
mod traffic;
mod upgrade;
mod upload_midway;
mod uploads;
