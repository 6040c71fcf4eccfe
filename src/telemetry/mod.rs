//! Counting: what every request came to, per service, side and target group.
//!
//! The proxy records without a lock or an allocation; everything else reads snapshots. The numbers
//! are cumulative and never taken back: who needs a window subtracts (`core::analysis`). What the
//! proxy does not count itself (weights, states, rollouts) is given to the exposition as plain
//! values by whoever knows it.

mod bell;
mod copies;
mod edge;
mod exposition;
mod family;
mod gate_gauges;
mod gauges;
mod late_failures;
mod lateness;
mod log;
mod memory;
mod meter;
mod pressure;
mod recorder;
mod reloads;
mod windows;

pub use copies::{Copies, MirrorOutcome, RetryKind};
pub use edge::EdgeEvent;
pub use exposition::{CONTENT_TYPE, render};
pub use gate_gauges::{GateGauge, GateGauges};
pub use gauges::{
    AlarmGauge, BurnRateGauge, EjectionsGauge, GateCallsGauge, Gauges, GreenTotals, ROLLOUT_STATES,
    RevisionGauge, ServiceGauges, TargetGauge,
};
pub use lateness::{Lateness, LatenessGauge};
pub use log::{Log, LogWriter};
pub use memory::{allowed_bytes, resident_bytes};
pub use pressure::Pressure;
pub use recorder::{MeterKey, Outcome, OutcomeKind, Recorder, Turn};
pub use reloads::Reloads;
pub use windows::Windows;
