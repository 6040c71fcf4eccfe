//! The sample-ratio check: does the observed split agree with the weight in force?
//!
//! The comparison rests on the odds of the coin. If the coin is not what the table says, by a fault
//! or by requests that should not have been counted, its evidence means nothing, so the rollout
//! holds and says so. Of `n` requests drawn at weight `w`, `g` went to green; the evidence against
//! the weight is
//! `B(a + g, b + n - g) / (B(a, b) w^g (1 - w)^(n - g))` with `a = 100 w`, `b = 100 (1 - w)`:
//! a beta mixture of likelihood ratios around `w` itself (Robbins 1970), expected to stay at 1 for
//! the right coin, whenever one looks. Every weight contributes a factor; with the boundary 1e6 a
//! right coin is accused with probability at most one in a million per rollout.
//!
//! Counted are drawn requests alone: not forced, overridden or panic-routed ones, and of a sticky
//! service the units that were first seen at that weight.

use crate::core::model::Weight;

use super::log_gamma::ln_beta;

/// The check of one rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SplitCheck {
    /// The logarithm of the factors of earlier weights.
    closed: f64,
    /// The present weight; `None` before the first.
    present: Option<Drawn>,
    alarmed: bool,
}

/// The requests that were drawn at one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The weight.
    pub weight: Weight,
    /// Those that green got.
    pub green: u64,
    /// All.
    pub total: u64,
}

impl SplitCheck {
    /// The evidence at which it alarms.
    pub const BOUNDARY: f64 = 1e6;

    /// Takes what was drawn at a weight so far, counted from when that weight came into force; a
    /// weight other than the last one closes the last one. Whether it alarms; it then does for
    /// ever.
    pub fn observe(&mut self, drawn: Drawn) -> bool {
        if let Some(last) = self.present.filter(|last| last.weight != drawn.weight) {
            self.closed += ln_evidence(last);
        }
        self.present = Some(drawn);
        self.alarmed |= self.ln_evidence() >= Self::BOUNDARY.ln();
        self.alarmed
    }

    /// The natural logarithm of the evidence against the split.
    #[must_use]
    pub fn ln_evidence(&self) -> f64 {
        self.closed + self.present.map_or(0.0, ln_evidence)
    }

    /// Whether it ever alarmed.
    #[must_use]
    pub fn alarms(&self) -> bool {
        self.alarmed
    }
}

fn ln_evidence(drawn: Drawn) -> f64 {
    let Drawn { weight, green, total } = drawn;
    let blue = total.saturating_sub(green);
    if weight == Weight::ZERO || weight == Weight::FULL {
        // No coin: a single request on the wrong side is impossible.
        let wrong = if weight == Weight::ZERO { green } else { blue };
        return if wrong == 0 { 0.0 } else { f64::INFINITY };
    }
    let w = weight.share();
    let (a, b, green, blue) = (100.0 * w, 100.0 * (1.0 - w), green as f64, blue as f64);
    ln_beta(a + green, b + blue) - ln_beta(a, b) - green * w.ln() - blue * (-w).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::super::comparison::Chance;
    use super::*;

    fn drawn(bp: u16, green: u64, total: u64) -> Drawn {
        Drawn { weight: Weight::from_bp(bp).unwrap(), green, total }
    }

    #[test]
    fn the_evidence_is_a_fair_bet() {
        for bp in [1_u16, 100, 2_500, 9_900] {
            let w = f64::from(bp) / 10_000.0;
            let mut sum = 0.0;
            let mut ways = 1.0;
            for green in 0..=12_u64 {
                let blue = 12 - green;
                let chance = ways * w.powi(green as i32) * (1.0 - w).powi(blue as i32);
                sum += chance * ln_evidence(drawn(bp, green, 12)).exp();
                ways = ways * blue as f64 / (green + 1) as f64;
            }
            assert!((sum - 1.0).abs() < 1e-10, "{bp}: {sum}");
        }
    }

    #[test]
    fn a_right_coin_is_not_accused_and_a_wrong_one_is() {
        let accused = |real: f64, seed: u64| {
            let (mut chance, mut check) = (Chance::new(seed), SplitCheck::default());
            for bp in [100, 1_000, 5_000] {
                let mut green = 0;
                for total in 1..=20_000_u64 {
                    green += u64::from(chance.yes(real * f64::from(bp) / 10_000.0));
                    if total.is_multiple_of(100) && check.observe(drawn(bp, green, total)) {
                        return true;
                    }
                }
            }
            false
        };
        assert_eq!((0..50).filter(|seed| accused(1.0, *seed)).count(), 0);
        assert_eq!((0..20).filter(|seed| accused(1.2, *seed)).count(), 20);
        assert_eq!((0..20).filter(|seed| accused(0.8, *seed)).count(), 20);
    }

    #[test]
    fn without_a_coin_one_request_on_the_wrong_side_is_too_many() {
        let mut check = SplitCheck::default();
        assert!(!check.observe(drawn(0, 0, 1_000_000)));
        assert!(!check.observe(drawn(10_000, 5, 5)));
        assert!(check.observe(drawn(10_000, 5, 6)));
        assert!(check.observe(drawn(10_000, 6, 6)), "for ever");
    }

    #[test]
    fn huge_counts_stay_accurate() {
        let exact = ln_evidence(drawn(1_000, 100_000_000, 1_000_000_000));
        // Half the logarithm of how much sharper the counts are than the prior, with a minus sign.
        assert!((exact + 0.5 * (1e9_f64 / 100.0).ln()).abs() < 0.01, "{exact}");
    }
}
