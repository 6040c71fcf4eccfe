//! Replay: the evidence of a rollout as it was fed to its comparison, and the comparison run again.
//!
//! A [`Recorder`] stands beside the [`Comparator`](super::comparison::Comparator) and is told
//! everything that the comparator is told: cohorts that open, readings of their counters,
//! evaluations with their times, what people accept, and what others find that has a say: burn
//! rates, and a suspect that is not ejected. It writes what changed and nothing else,
//! a mark of three bytes for an evaluation before which nothing did: which prefixes an evaluation
//! brings up to date depends on how many there were before, so none is left out. [`rerun`] feeds
//! the same to the same engine, under the same policy or another one, and gives its decisions.
//!
//! A log is a sequence of frames with a checksum each, whose payload is whole records. It is
//! bounded ([`Limit`]): from a point on one evaluation a second is kept, then nothing. Whatever is
//! not exact any more says so in the log itself.
//!
//! Nothing here may trust what it reads: a log comes from a file.

mod delta;
mod frames;
mod head;
mod limit;
mod reader;
mod recorder;
mod rerun;
mod stance;
mod track;
mod wire;

#[cfg(test)]
mod tests;

pub use frames::whole_frames;
pub use head::{Cause, Head};
pub use limit::Limit;
pub use reader::{Entry, Happened, LogError, Reader};
pub use recorder::Recorder;
pub use rerun::{Agreement, Decision, Inexact, OtherPolicy, Recorded, ReplayError, Rerun, rerun};
pub use stance::Stance;
