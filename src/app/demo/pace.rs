//! Requests a second, from counts that only grow.

use std::collections::VecDeque;

use super::LoadReport;

/// Remembers the counts of the last second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_us: u64,
    blue: u64,
    green: u64,
}

impl Pace {
    /// Takes the counts as they are now; gives the answers a second of blue and of green.
    pub(super) fn observe(&mut self, at_us: u64, report: &LoadReport) -> (u64, u64) {
        let now = Sample { at_us, blue: report.blue.answered, green: report.green.answered };
        self.samples.push_back(now);
        while self.samples.len() > MAX_SAMPLES
            || self.samples.get(1).is_some_and(|sample| at_us - sample.at_us >= SECOND_US)
        {
            self.samples.pop_front();
        }
        let first = self.samples.front().copied().unwrap_or(now);
        let rate = |count: u64| {
            let passed_us = at_us.saturating_sub(first.at_us);
            (count * SECOND_US).checked_div(passed_us).unwrap_or(0)
        };
        (rate(now.blue - first.blue), rate(now.green - first.green))
    }
}

const SECOND_US: u64 = 1_000_000;
const MAX_SAMPLES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut pace = Pace::default();
        let mut report = LoadReport::default();
        assert_eq!(pace.observe(0, &report), (0, 0));
        for tenth in 1..=50 {
            report.blue.answered += 36;
            report.green.answered += if tenth > 30 { 4 } else { 0 };
            let found = pace.observe(tenth * 100_000, &report);
            if tenth > 40 {
                assert_eq!(found, (360, 40));
            }
        }
        assert!(pace.samples.len() <= 12);
    }
}
