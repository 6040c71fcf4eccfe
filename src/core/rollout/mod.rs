//! The rollout engine: one enum of states, advanced by one total function.
//!
//! [`Rollout::handle`] takes an event and the time and gives the next rollout and a list of
//! effects. It decides; it does nothing. The same events at the same times give the same
//! decisions, byte for byte, so a rollout can be replayed, simulated, and resumed after a crash
//! between any two effects.
//!
//! Two rules give it its shape:
//! - *Write-ahead for risk.* Green rises in two turns: the intention is saved, and only the
//!   answer [`Event::Saved`] lets [`Effect::Expose`] out.
//! - *Act first for safety.* Green is lowered by an `Expose` that stands before the `Save`.
//!
//! There is no waking effect: time arrives as [`Event::Ticked`] and [`Event::Observed`], several
//! times a second, and every duration is counted from what those bring. Nothing here reads a
//! clock, draws a number, or knows how a thing is stored.

mod bake;
mod cause;
mod command;
mod effect;
mod end;
mod event;
mod fact;
mod gate;
mod hearing;
mod hold;
mod judge;
mod machine;
mod progress;
mod round;
#[cfg(test)]
mod scenarios;
mod spec;
mod state;
mod timeline;

pub use bake::Bake;
pub use cause::{Cause, Regression};
pub use command::Refusal;
pub use effect::{Effect, Notice};
pub use event::{Actor, Command, Event, Evidence, Observation, Verb};
pub use fact::{Fact, Outcome};
pub use gate::{
    GateAnswer, GateCall, GateErrorKind, GateEvidence, GateMetric, GateState, GateStateError,
    GateStatuses, TelemetryView,
};
pub use hearing::{
    GateHearing, GateTranscript, Heard, HeardAnswer, HeardEvidence, Incomplete, Number,
};
pub use hold::Hold;
pub use machine::Rollout;
pub use round::{Asked, LastAnswer, Round};
pub use spec::{Assignment, BoundGate, Spec, WatchedAlarm};
pub use state::{
    ApprovalWait, Baking, BakingPhase, Ending, Installing, Raise, Ready, Shifting, Stage, State,
    StateName, StepPhase,
};
pub use timeline::Timeline;
