//! The weight that was observed: green's share of the requests of the last minute.
//!
//! It is fed with cumulative counts about once a second and keeps the few it needs to subtract, so
//! that the request path does nothing for it.

use std::collections::VecDeque;

use crate::core::model::{MonoTime, Span};

/// How many requests each side had in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Requests on green.
    pub green: u64,
    /// Requests on both sides.
    pub total: u64,
}

impl Observed {
    /// Green's share, 0..=1; `None` without requests.
    #[must_use]
    pub fn green_share(self) -> Option<f64> {
        (self.total > 0).then(|| self.green as f64 / self.total as f64)
    }
}

/// Cumulative requests of both sides over the last minute.
#[derive(Clone, Debug, Default)]
pub struct ObservedWindow {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: MonoTime,
    blue: u64,
    green: u64,
}

impl ObservedWindow {
    /// The length of the window.
    pub const LENGTH: Span = Span::from_secs(60);

    /// Takes the requests that each side had so far; lower numbers than before start anew.
    pub fn observe(&mut self, now: MonoTime, blue: u64, green: u64) {
        if self.samples.back().is_some_and(|last| blue < last.blue || green < last.green) {
            self.samples.clear();
        }
        // Of observations closer than a second only the newest stays: two samples a second at most.
        let before_last = self.samples.len().checked_sub(2).and_then(|i| self.samples.get(i));
        if before_last.is_some_and(|sample| now.since(sample.at) < RESOLUTION) {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { at: now, blue, green });
        // The first sample is the newest one that is at least a window old.
        while self.samples.get(1).is_some_and(|sample| now.since(sample.at) >= Self::LENGTH) {
            self.samples.pop_front();
        }
    }

    /// The requests of the window, as of the last observation.
    #[must_use]
    pub fn observed(&self) -> Observed {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => {
                let green = last.green - first.green;
                Observed { green, total: green + (last.blue - first.blue) }
            }
            (Some(_), None) | (None, _) => Observed::default(),
        }
    }
}

const RESOLUTION: Span = Span::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_ms(secs * 1_000)
    }

    #[test]
    fn requests_leave_the_window_after_a_minute() {
        let mut window = ObservedWindow::default();
        assert_eq!(window.observed().green_share(), None);
        for second in 0..=200 {
            let green = if second <= 100 { second } else { 100 };
            window.observe(at(second), 3 * second, green);
            let expected = match second {
                0 => None,
                1..=100 => Some(0.25),
                second if second >= 160 => Some(0.0),
                second => Some((160 - second) as f64 / (180 + 160 - second) as f64),
            };
            assert_eq!(window.observed().green_share(), expected, "second {second}");
        }
        assert_eq!(window.observed(), Observed { green: 0, total: 180 });
    }

    #[test]
    fn counts_that_go_down_start_anew() {
        let mut window = ObservedWindow::default();
        window.observe(at(0), 0, 0);
        window.observe(at(1), 100, 100);
        window.observe(at(2), 100, 5);
        assert_eq!(window.observed(), Observed::default());
        window.observe(at(3), 104, 6);
        assert_eq!(window.observed(), Observed { green: 1, total: 5 });
    }

    #[test]
    fn frequent_observations_take_no_more_memory() {
        let mut window = ObservedWindow::default();
        for ms in 0..100_000 {
            window.observe(MonoTime::from_ms(ms), ms, ms);
            assert!(window.samples.len() <= 124);
        }
        let Observed { green, .. } = window.observed();
        assert!((60_000..=61_001).contains(&green), "{green}");
    }
}
