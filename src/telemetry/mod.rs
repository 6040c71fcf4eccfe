//! Counting: what every request came to, per service, side and target group.
//!
//! The proxy records without a lock or an allocation; everything else reads snapshots.

mod recorder;

pub use recorder::{MeterKey, Outcome, OutcomeKind, Recorder};
