//! The datapoints in view of an alarm, and what they say together: m of n.

use std::collections::VecDeque;

use crate::core::model::{AlarmBound, AlarmState, MissingData};

/// What a datapoint came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datapoint {
    Good,
    Bad,
    Missing,
}

impl Datapoint {
    /// A value against its bound; no value is missing.
    pub(super) fn of(value: Option<f64>, bound: AlarmBound) -> Self {
        match value {
            None => Self::Missing,
            Some(value) if bound.is_broken_by(value) => Self::Bad,
            Some(_) => Self::Good,
        }
    }
}

/// The last datapoints.
#[derive(Clone, Debug)]
pub(super) struct Datapoints {
    bad: usize,
    of: usize,
    missing: MissingData,
    in_view: VecDeque<Datapoint>,
}

impl Datapoints {
    /// None yet; `bad` of the last `of` will be an alarm.
    pub(super) fn new(bad: u32, of: u32, missing: MissingData) -> Self {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX).max(1);
        Self { bad: count(bad), of: count(of), missing, in_view: VecDeque::new() }
    }

    /// Takes one more; the oldest goes.
    pub(super) fn enter(&mut self, datapoint: Datapoint) {
        if datapoint == Datapoint::Missing && self.missing == MissingData::Ignore {
            return;
        }
        if self.in_view.len() == self.of {
            self.in_view.pop_front();
        }
        self.in_view.push_back(datapoint);
    }

    /// Takes so many that nobody watched.
    pub(super) fn enter_missing(&mut self, count: u64) {
        for _ in 0..usize::try_from(count).unwrap_or(usize::MAX).min(self.of) {
            self.enter(Datapoint::Missing);
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.in_view.clear();
    }

    /// What those in view say.
    pub(super) fn state(&self) -> AlarmState {
        let count = |kind| self.in_view.iter().filter(|point| **point == kind).count();
        let missing_as_bad = match self.missing {
            MissingData::Bad => count(Datapoint::Missing),
            MissingData::Insufficient | MissingData::Ignore => 0,
        };
        let (good, bad) = (count(Datapoint::Good), count(Datapoint::Bad));
        if bad + missing_as_bad >= self.bad {
            AlarmState::Alarm
        } else if good + bad > 0 {
            AlarmState::Ok
        } else {
            AlarmState::InsufficientData
        }
    }
}
