//! Slow start: how much of its share a target gets that has just become able to serve.
//!
//! A process with cold caches and nothing compiled yet is slow at first, and a whole share of the
//! traffic at once makes it slower. Its share grows with time, from a tenth to the whole.

use crate::core::model::{MonoTime, Span, Weight};

/// How long a target has been able to take traffic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Warmup {
    /// `None` while it is not able.
    since: Option<MonoTime>,
}

impl Warmup {
    /// The share of a target at a look; the whole without a slow start.
    ///
    /// A target that is not able has the share it will begin with, so that the first request after
    /// it became able finds it right.
    pub fn share(&mut self, slow_start: Span, able: bool, now: MonoTime) -> Weight {
        self.since = able.then(|| self.since.unwrap_or(now));
        if slow_start == Span::ZERO {
            return Weight::FULL;
        }
        let passed = self.since.map_or(Span::ZERO, |since| now.since(since)).min(slow_start);
        let rest = u64::from(Weight::FULL.bp() - BEGINNING_BP);
        let grown = rest.saturating_mul(passed.ms()) / slow_start.ms();
        let bp = u16::try_from(grown).map_or(Weight::FULL.bp(), |grown| BEGINNING_BP + grown);
        Weight::from_bp(bp).expect("no more than the rest is added to the beginning")
    }
}

/// A tenth.
const BEGINNING_BP: u16 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_MINUTE: Span = Span::from_secs(30);

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_ms(secs * 1_000)
    }

    #[test]
    fn a_share_grows_in_a_straight_line_from_a_tenth_to_the_whole() {
        let mut warmup = Warmup::default();
        let looks = [(100, 1_000), (101, 1_300), (115, 5_500), (130, 10_000), (9_999, 10_000)];
        for (secs, expected) in looks {
            assert_eq!(warmup.share(HALF_MINUTE, true, at(secs)).bp(), expected, "{secs}");
        }
    }

    #[test]
    fn who_was_out_begins_anew() {
        let mut warmup = Warmup::default();
        warmup.share(HALF_MINUTE, true, at(0));
        assert_eq!(warmup.share(HALF_MINUTE, true, at(30)), Weight::FULL);
        assert_eq!(warmup.share(HALF_MINUTE, false, at(31)).bp(), 1_000);
        assert_eq!(warmup.share(HALF_MINUTE, true, at(40)).bp(), 1_000);
        assert_eq!(warmup.share(HALF_MINUTE, true, at(55)).bp(), 5_500);
    }

    #[test]
    fn without_a_slow_start_everybody_has_the_whole_share() {
        let mut warmup = Warmup::default();
        assert_eq!(warmup.share(Span::ZERO, false, at(0)), Weight::FULL);
        assert_eq!(warmup.share(Span::ZERO, true, at(1)), Weight::FULL);
        // Switched on later, it slows nobody down who has served for long.
        assert_eq!(warmup.share(HALF_MINUTE, true, at(60)), Weight::FULL);
    }
}
