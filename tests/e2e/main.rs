//! End to end: the real binary over real sockets, with real targets and real load.
//!
//! `kit` has what a test needs to set the scene; every other file is one promise of the product.

mod attempts;
mod checks;
mod cli;
mod crash;
mod demo;
mod evidence;
mod explain;
mod gate_calls;
mod history;
mod kit;
mod logs;
mod mistakes;
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
mod uploads;
