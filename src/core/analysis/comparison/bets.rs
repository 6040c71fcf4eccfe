//! Bet tables: by what a request multiplies a bet, depending on its side and outcome alone.
//!
//! The proxy knows the weight `w` with which it sent a request to green. With
//! `X = A(Y - theta)/w - rho0(1 - A)(Y - m)/(1 - w)` (A = 1 on green, Y = 1 bad) the expectation of
//! `1 + lambda X`, given everything before, is at most 1 for every healthy green, *whatever* blue's
//! rate is at that request (section 3.3; Waudby-Smith and Ramdas, arXiv 2010.09686). The product of
//! such factors is a nonnegative supermartingale, so that it ever reaches `1/alpha` has at most the
//! probability `alpha` (Ville 1939). Eight sizes of bet are placed at once with fixed parts of the
//! capital; which sizes is a matter of speed and not of validity.

use super::margins::Margins;
use super::tally::Tally;

/// How many bets are placed at once.
pub const BETS: usize = 8;

/// The ratios of failure rates at which the bets on counts are best.
pub(super) const RATIOS: [f64; BETS] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1_000.0];
/// The parts of the largest possible bet that are staked on latencies.
const FRACTIONS: [f64; BETS] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.9, 1.0];
/// The parts of the capital; they sum to 1.
pub(super) const PRIOR: [f64; BETS] = [0.08, 0.10, 0.12, 0.12, 0.12, 0.12, 0.12, 0.22];
/// No bet is larger than this part of what could be lost at once, so that no factor is 0.
pub(super) const KAPPA: f64 = 0.99;
/// A weight this close to 0 or 1 tells nothing (B13).
const BLIND_BELOW: f64 = 1e-4;

/// Whether a weight lets green and blue be compared: inside `(1e-4, 1 - 1e-4)`.
#[must_use]
pub fn compares(weight: f64) -> bool {
    weight > BLIND_BELOW && weight < 1.0 - BLIND_BELOW
}

/// The natural logarithms of the factors of all bets, per kind of request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BetTable {
    ln: [[f64; 4]; BETS],
}

impl BetTable {
    /// The table of a weight that tells nothing: every factor is 1.
    pub const BLIND: Self = Self { ln: [[0.0; 4]; BETS] };

    /// The bets that green is worse than the margins allow, at green's weight `w` (0..=1).
    #[must_use]
    pub fn against(w: f64, margins: Margins) -> Self {
        if !compares(w) {
            return Self::BLIND;
        }
        let (rho0, m, theta) = (margins.rho0(), margins.centre(), margins.theta());
        let sizes = sizes(w, margins);
        let row = |lambda: f64| {
            [
                (lambda * (1.0 - theta) / w).ln_1p(),
                (-lambda * theta / w).ln_1p(),
                (-lambda * rho0 * (1.0 - m) / (1.0 - w)).ln_1p(),
                (lambda * rho0 * m / (1.0 - w)).ln_1p(),
            ]
        };
        Self { ln: sizes.map(row) }
    }

    /// The bets that a side on its own fails more often than `p0` (section 6.3b): the factors for a
    /// bad and an ok request are those of green. Blind if `p0` is not in 0..1 (B10).
    #[must_use]
    pub fn absolute(p0: f64) -> Self {
        if !(p0 > 0.0 && p0 < 1.0) {
            return Self::BLIND;
        }
        let row = |ratio: f64| {
            let lambda = (ratio - 1.0).min(KAPPA / p0);
            [(lambda * (1.0 - p0)).ln_1p(), (-lambda * p0).ln_1p(), 0.0, 0.0]
        };
        Self { ln: RATIOS.map(row) }
    }

    /// The logarithmic factors of one bet: green bad, green ok, blue bad, blue ok.
    #[must_use]
    pub fn row(&self, bet: usize) -> &[f64; 4] {
        &self.ln[bet]
    }

    /// The logarithm of the product of all factors of the counted requests, per bet; at most 700,
    /// so that it can be raised again.
    pub(super) fn growth(&self, tally: Tally) -> [f64; BETS] {
        self.ln.each_ref().map(|factors| tally.dot(factors).min(LARGEST_EXPONENT))
    }
}

const LARGEST_EXPONENT: f64 = 700.0;

/// The sizes of the bets (sections 3.1 and 3.2).
fn sizes(w: f64, margins: Margins) -> [f64; BETS] {
    let (rho0, m, theta) = (margins.rho0(), margins.centre(), margins.theta());
    let of_blue = (1.0 - w) / (rho0 * (1.0 - m));
    let cap = if theta > 0.0 { of_blue.min(w / theta) } else { of_blue };
    if m > 0.0 {
        return FRACTIONS.map(|fraction| KAPPA * cap * fraction);
    }
    let q0 = w * rho0 / (w * rho0 + 1.0 - w);
    RATIOS.map(|ratio| {
        let q1 = w * rho0 * ratio / (w * rho0 * ratio + 1.0 - w);
        (w * (q1 / q0 - 1.0)).min(KAPPA * cap)
    })
}

#[cfg(test)]
mod tests {
    use super::super::margins::Preset;
    use super::super::metric::Metric;
    use super::*;

    /// Section 8.2, G1: the printed logarithms to 9 decimals.
    #[test]
    fn the_golden_tables_are_met() {
        let mut table = BetTable::BLIND;
        let mut checked = 0;
        let mut bet = 0;
        for line in include_str!("golden-bets.txt").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| -> f64 {
                words[at].rsplit('=').next().and_then(|text| text.parse().ok()).unwrap()
            };
            if words[0].starts_with("w=") {
                table = BetTable::against(
                    number(0),
                    Margins::new(number(1), number(2), number(3)).unwrap(),
                );
                bet = 0;
                continue;
            }
            for kind in 0..4 {
                let (found, wanted) = (table.row(bet)[kind], number(3 + kind));
                assert!((found - wanted).abs() <= 5.1e-10, "{line}: {found}");
                checked += 1;
            }
            bet += 1;
        }
        assert_eq!(checked, 6 * 8 * 4);
    }

    #[test]
    fn a_request_is_a_fair_bet_at_the_boundary() {
        for preset in Preset::ALL {
            for metric in Metric::ALL {
                let margins = preset.table().of(metric);
                for w in [0.0002, 0.01, 0.1, 0.5, 0.9, 0.999] {
                    for blue in [0.0, 0.01, 0.3, 0.6] {
                        let green: f64 = margins.rho0() * blue + margins.delta();
                        let table = BetTable::against(w, margins);
                        for bet in 0..BETS {
                            let factor = |kind: usize| table.row(bet)[kind].exp();
                            let expected = w * (green * factor(0) + (1.0 - green) * factor(1))
                                + (1.0 - w) * (blue * factor(2) + (1.0 - blue) * factor(3));
                            assert!(
                                (expected - 1.0).abs() < 1e-12,
                                "{metric:?} {w} {blue} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bad_on_green_never_counts_less_than_ok_and_on_blue_never_more() {
        for preset in Preset::ALL {
            for metric in Metric::ALL {
                for bp in 1..10_000_u32 {
                    let table = BetTable::against(f64::from(bp) / 1e4, preset.table().of(metric));
                    for bet in 0..BETS {
                        let [green_bad, green_ok, blue_bad, blue_ok] = *table.row(bet);
                        assert!(green_bad >= green_ok && blue_ok >= blue_bad);
                        assert!(table.row(bet).iter().all(|ln| ln.is_finite()));
                    }
                }
            }
        }
    }

    #[test]
    fn b13_a_weight_near_the_end_tells_nothing() {
        let margins = Preset::Default.table().of(Metric::Errors);
        for w in [0.0, 1e-4, 1.0 - 1e-4, 1.0, -0.5, 2.0, f64::NAN] {
            assert_eq!(BetTable::against(w, margins), BetTable::BLIND, "{w}");
        }
        assert_ne!(BetTable::against(2e-4, margins), BetTable::BLIND);
    }

    #[test]
    fn an_objective_that_allows_everything_bets_on_nothing() {
        assert_eq!(BetTable::absolute(1.0), BetTable::BLIND);
        assert_eq!(BetTable::absolute(14.4 * 0.1), BetTable::BLIND);
        assert_eq!(BetTable::absolute(0.0), BetTable::BLIND);
        assert_ne!(BetTable::absolute(0.0144), BetTable::BLIND);
    }
}
