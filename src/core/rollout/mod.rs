//! The rollout engine.

mod gate;

pub use gate::{GateAnswer, GateCall, GateErrorKind};
