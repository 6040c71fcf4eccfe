//! What happened in the last so many seconds: cumulative counts, remembered for a while.
//!
//! Samples of the last minute are a second apart, older ones ten, so that ten minutes of history
//! cost a bounded hundred-odd snapshots.

use std::collections::VecDeque;

use crate::core::model::{MonoTime, Span};

use super::Counts;

/// The remembered counts of one meter, oldest first.
#[derive(Clone, Debug, Default)]
pub struct CountsHistory {
    samples: VecDeque<(MonoTime, Counts)>,
}

const FINE: Span = Span::from_secs(1);
const FINE_FOR: Span = Span::from_secs(60);
const COARSE: Span = Span::from_secs(10);

impl CountsHistory {
    /// How far back it remembers; a longer window is answered as this one.
    pub const LONGEST: Span = Span::from_mins(10);

    /// Takes a snapshot; more than one a second are not kept, lower counts start anew.
    pub fn push(&mut self, now: MonoTime, counts: Counts) {
        if let Some((at, last)) = self.samples.back() {
            if !counts.continues(last) {
                self.samples.clear();
            } else if now.since(*at) < FINE {
                return;
            }
        }
        self.samples.push_back((now, counts));
        self.thin_out(now);
    }

    /// What was counted in the window that ends with the newest sample; `None` without two samples.
    #[must_use]
    pub fn over(&self, window: Span) -> Option<Counts> {
        let (newest, last) = self.samples.back()?;
        let old_enough = |at: &MonoTime| newest.since(*at) >= window;
        let start = self.samples.iter().rposition(|(at, _)| old_enough(at)).unwrap_or(0);
        let (_, first) = self.samples.get(start)?;
        (self.samples.len() > start + 1).then(|| last.since(first))
    }

    fn thin_out(&mut self, now: MonoTime) {
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= Self::LONGEST) {
            self.samples.pop_front();
        }
        // One sample at a time leaves the fine minute: drop it if its coarse slot is taken.
        let aged = self.samples.iter().rposition(|(at, _)| now.since(*at) > FINE_FOR);
        if let Some(aged) = aged.filter(|aged| *aged > 0) {
            let (at, before) = (self.samples[aged].0, self.samples[aged - 1].0);
            if at.since(before) < COARSE {
                self.samples.remove(aged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64) -> Counts {
        let mut counts = Counts::default();
        counts.by_class[1] = requests;
        counts
    }

    #[test]
    fn a_window_counts_what_happened_in_it() {
        let mut history = CountsHistory::default();
        assert_eq!(history.over(Span::from_secs(10)), None);
        for second in 0..=30 {
            history.push(MonoTime::from_ms(second * 1_000), counts(second * 10));
        }
        let over = |secs| history.over(Span::from_secs(secs)).map(|counts| counts.requests());
        assert_eq!(over(10), Some(100));
        assert_eq!(over(1), Some(10));
        assert_eq!(over(600), Some(300), "as far back as there is");
    }

    #[test]
    fn memory_is_bounded_over_hours() {
        let mut history = CountsHistory::default();
        for second in 0..7_200 {
            history.push(MonoTime::from_ms(second * 1_000), counts(second));
        }
        assert!(history.samples.len() < 130, "{}", history.samples.len());
        let ten_minutes = history.over(Span::from_mins(10)).map(|counts| counts.requests());
        assert!(ten_minutes.is_some_and(|n| (600..=611).contains(&n)), "{ten_minutes:?}");
    }

    #[test]
    fn counts_that_fall_start_anew() {
        let mut history = CountsHistory::default();
        history.push(MonoTime::from_ms(0), counts(100));
        history.push(MonoTime::from_ms(1_000), counts(5));
        assert_eq!(history.over(Span::from_secs(10)), None);
    }
}
