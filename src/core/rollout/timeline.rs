//! The two times of a rollout.
//!
//! *Elapsed* time bounds: it runs from creation on, downtime included, and a wall clock that is
//! set back or forth while the process runs does not touch it. *Watched* time bakes: it runs only
//! while somebody looks, so a process that stood still for a minute has not baked for a minute.

use serde::{Deserialize, Serialize};

use crate::core::model::{MonoTime, Now, Span, WallTime};

/// How far a rollout is, in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    elapsed: Span,
    last_wall: WallTime,
    /// Means nothing to the next process: [`Timeline::resume`] sets it anew.
    #[serde(skip)]
    last_mono: MonoTime,
}

impl Timeline {
    /// The longest time between two looks that still counts as watching.
    pub const LONGEST_GAP: Span = Span::from_secs(2);

    /// Begins.
    #[must_use]
    pub fn begin(now: Now) -> Self {
        Self { elapsed: Span::ZERO, last_wall: now.wall, last_mono: now.mono }
    }

    /// Time since creation.
    #[must_use]
    pub fn elapsed(&self) -> Span {
        self.elapsed
    }

    /// Moves on; gives the time that counts as watched.
    pub(super) fn advance(&mut self, now: Now) -> Span {
        let passed = now.mono.since(self.last_mono);
        self.elapsed = self.elapsed.saturating_add(passed);
        self.last_mono = self.last_mono.max(now.mono);
        self.last_wall = now.wall;
        passed.min(Self::LONGEST_GAP)
    }

    /// Goes on in a new process; gives the downtime, which is never negative.
    pub(super) fn resume(&mut self, now: Now) -> Span {
        let gone = now.wall.since(self.last_wall);
        self.elapsed = self.elapsed.saturating_add(gone);
        self.last_wall = now.wall;
        self.last_mono = now.mono;
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, mono: u64) -> Now {
        Now { wall: WallTime::from_ms(wall), mono: MonoTime::from_ms(mono) }
    }

    #[test]
    fn a_wall_clock_that_jumps_changes_nothing_while_the_process_runs() {
        let mut time = Timeline::begin(at(1_000_000, 0));
        time.advance(at(99_000_000, 100));
        time.advance(at(5, 200));
        assert_eq!(time.elapsed(), Span::from_ms(200));
    }

    #[test]
    fn downtime_is_elapsed_but_not_watched() {
        let mut time = Timeline::begin(at(1_000, 500));
        assert_eq!(time.advance(at(1_100, 600)), Span::from_ms(100));
        assert_eq!(time.resume(at(61_100, 3)), Span::from_secs(60));
        assert_eq!(time.elapsed(), Span::from_ms(60_100));
        assert_eq!(time.advance(at(61_200, 103)), Span::from_ms(100));
    }

    #[test]
    fn a_process_that_stood_still_has_not_watched() {
        let mut time = Timeline::begin(at(0, 0));
        assert_eq!(time.advance(at(30_000, 30_000)), Timeline::LONGEST_GAP);
        assert_eq!(time.elapsed(), Span::from_secs(30));
    }
}
