//! What has once been shown and stays so.
//!
//! The bound on false rollbacks is one on the evidence *ever* reaching the boundary, so a crossing
//! is remembered: later outcomes do not take it back, and looking more often does not make it more
//! likely.

use serde::{Deserialize, Serialize};

use crate::core::model::{Side, Weight};

use super::metric::{METRICS, PerMetric};
use super::ratio::Refuted;
use super::standing::Point;
use super::tally::Tally;

/// The moment at which the evidence sufficed for a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// The evidence and the prefix.
    pub point: Point,
    /// Which part of the evidence each metric had.
    pub shares: PerMetric<f64>,
    /// The epoch of the prefix.
    pub epoch: u64,
    /// The settled requests of that step so far, per metric: what a person can check.
    pub tallies: PerMetric<Tally>,
}

/// The moment at which an absolute process alarmed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbsoluteAlarm {
    /// The last cohort that it took.
    pub cohort: u64,
    /// The evidence.
    pub value: f64,
}

/// Everything that is latched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Latch {
    pub(super) crossing: Option<Crossing>,
    /// The largest evidence at any time.
    pub(super) highest: f64,
    pub(super) refuted: Refuted,
    /// Green's and blue's.
    pub(super) alarms: [Option<AbsoluteAlarm>; 2],
    /// The step and weight that the certificates are about.
    pub(super) step: (u64, Weight),
    pub(super) certified: PerMetric<bool>,
    /// A number that is none turned up: nothing that follows can be trusted.
    pub(super) fault: bool,
}

impl Latch {
    pub(super) fn new() -> Self {
        Self {
            crossing: None,
            highest: 1.0,
            refuted: Refuted::default(),
            alarms: [None; 2],
            step: (0, Weight::ZERO),
            certified: [false; METRICS],
            fault: false,
        }
    }

    /// Clears the certificates when another step begins (B11).
    pub(super) fn begin_step(&mut self, step: (u64, Weight)) {
        if self.step != step {
            self.step = step;
            self.certified = [false; METRICS];
        }
    }
}

/// The place of a side in pairs of green and blue.
pub(super) fn place(side: Side) -> usize {
    match side {
        Side::Green => 0,
        Side::Blue => 1,
    }
}
