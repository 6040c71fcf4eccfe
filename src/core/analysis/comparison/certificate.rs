//! The certificate that green is not much worse: a second test, of the opposite hypothesis.
//!
//! It bets against `p_green >= rho1 * p_blue + delta1`, afresh at each step of the rollout (section
//! 6.2). What is in flight counts as bad on green and ok on blue, so that the certificate rests on
//! what is known. A metric's certificate, once given, holds until the step ends; a step passes when
//! every gating metric has one. Each is wrong with probability at most `beta`, and so is their
//! conjunction. Silence certifies nothing: that takes some 900 green requests without an error.

use serde::{Deserialize, Serialize};

use crate::core::model::Weight;

use super::bets::{KAPPA, compares};
use super::margins::{CertificateMargins, Level};
use super::metric::{METRICS, Metric, PerMetric};
use super::tally::Tally;

/// The bets of a certificate, as parts of the largest that is possible.
const BETS: [f64; 5] = [0.95, 0.6, 0.3, 0.1, 0.03];
/// The part of the capital that each bet has.
const PRIOR: f64 = 1.0 / BETS.len() as f64;

/// Which metrics a certificate needs, and how sure it has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CertificateRule {
    /// The gating metrics, each with what green must be better than; `None`: the metric is not
    /// needed.
    pub gating: PerMetric<Option<CertificateMargins>>,
    /// At most this part of the worse greens is certified.
    pub beta: Level,
}

impl Default for CertificateRule {
    /// Errors and client errors at 0.05 (B11).
    fn default() -> Self {
        let mut gating = [None; METRICS];
        for metric in [Metric::Errors, Metric::Client4xx] {
            gating[metric.index()] = Some(CertificateMargins::usual(metric));
        }
        Self { gating, beta: Level::BETA }
    }
}

/// The logarithms of the factors of all bets of a certificate, per kind of request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CertificateTable {
    ln: [[f64; 4]; BETS.len()],
}

impl CertificateTable {
    /// The bets at green's weight `w` (0..=1); all factors are 1 where the weight tells nothing.
    #[must_use]
    pub fn new(w: f64, margins: CertificateMargins) -> Self {
        if !compares(w) {
            return Self { ln: [[0.0; 4]; BETS.len()] };
        }
        let (rho1, m, theta) = (margins.rho1(), margins.centre(), margins.theta());
        // B11: the second bound keeps the factor of a blue ok request above 0.
        let of_green = w / (1.0 - theta);
        let cap = if m > 0.0 { of_green.min(KAPPA * (1.0 - w) / (rho1 * m)) } else { of_green };
        let row = |part: f64| {
            let lambda = part * cap;
            [
                (-lambda * (1.0 - theta) / w).ln_1p(),
                (lambda * theta / w).ln_1p(),
                (lambda * rho1 * (1.0 - m) / (1.0 - w)).ln_1p(),
                (-lambda * rho1 * m / (1.0 - w)).ln_1p(),
            ]
        };
        Self { ln: BETS.map(row) }
    }

    /// The logarithmic factors of one bet: green bad, green ok, blue bad, blue ok.
    #[must_use]
    pub fn row(&self, bet: usize) -> &[f64; 4] {
        &self.ln[bet]
    }

    /// The evidence for a certificate after these requests of the step.
    #[must_use]
    pub fn value(&self, tally: Tally) -> f64 {
        self.ln.iter().map(|factors| PRIOR * tally.dot(factors).min(700.0).exp()).sum()
    }

    /// How many more green requests it takes at the present rates until `boundary` is reached;
    /// `None` if the evidence does not grow (D7). Before the first green request: how many it takes
    /// without any failure.
    ///
    /// The paper divides the missing logarithm by the growth of the best bet; this follows all bets
    /// at their own mean growth, which agrees exactly for a green without errors.
    #[must_use]
    pub fn missing(&self, tally: Tally, boundary: f64) -> Option<u64> {
        let (now, growth) = self.growth(tally);
        if growth.iter().all(|growth| *growth <= 0.0) {
            return None;
        }
        let reaches = |more: u64| {
            let after = now.iter().zip(growth).map(|(ln, rate)| ln + rate * more as f64);
            after.map(|ln| PRIOR * ln.min(700.0).exp()).sum::<f64>() >= boundary
        };
        let mut enough = 1;
        while !reaches(enough) {
            enough *= 2;
            if enough >= MOST_MISSING {
                return None;
            }
        }
        let mut short = enough / 2;
        while enough - short > 1 {
            let middle = short + (enough - short) / 2;
            if reaches(middle) { enough = middle } else { short = middle }
        }
        Some(enough)
    }

    /// The logarithm of each bet, and its mean growth per green request.
    fn growth(&self, tally: Tally) -> ([f64; BETS.len()], [f64; BETS.len()]) {
        let now = self.ln.each_ref().map(|factors| tally.dot(factors));
        match tally.green() {
            0 => (now, self.ln.each_ref().map(|factors| factors[1])),
            green => (now, now.map(|ln| ln / green as f64)),
        }
    }
}

/// More missing requests than this are as good as unknown.
const MOST_MISSING: u64 = 1 << 40;

/// What a step has shown for its certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StepTallies {
    /// `None` before the first request.
    step: Option<(u64, Weight)>,
    tallies: PerMetric<Tally>,
}

impl StepTallies {
    /// Counts requests of a step at a weight; another one begins at nothing.
    pub(super) fn add(&mut self, step: (u64, Weight), tallies: PerMetric<Tally>) {
        if self.step != Some(step) {
            *self = Self { step: Some(step), ..Self::default() };
        }
        for (sum, tally) in self.tallies.iter_mut().zip(tallies) {
            *sum += tally;
        }
    }

    /// What was counted in this step.
    pub(super) fn of(&self, step: (u64, Weight)) -> PerMetric<Tally> {
        if self.step == Some(step) { self.tallies } else { PerMetric::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 1e-9, "{found} is not {wanted}");
    }

    fn table(w: f64, rho1: f64, delta1: f64, m: f64) -> CertificateTable {
        CertificateTable::new(w, CertificateMargins::new(rho1, delta1, m).unwrap())
    }

    #[test]
    fn g8_the_golden_certificates_are_met() {
        let table = table(0.1, 2.0, 0.005, 0.0);
        let rows: [[f64; 4]; 5] = [
            [-2.995732274, 0.004762511, 0.192413768, 0.0],
            [-0.916290732, 0.003010539, 0.125754160, 0.0],
            [-0.356674944, 0.001506402, 0.064852542, 0.0],
            [-0.105360516, 0.000502386, 0.022088143, 0.0],
            [-0.030459207, 0.000150742, 0.006677821, 0.0],
        ];
        for (bet, row) in rows.iter().enumerate() {
            for (found, wanted) in table.row(bet).iter().zip(row) {
                assert!((found - wanted).abs() < 5.1e-10, "{found} {wanted}");
            }
        }
        close(table.value(Tally::new(0, 100, 0, 900)), 1.238119628);
        close(table.value(Tally::new(0, 600, 0, 5_400)), 5.684317242);
        close(table.value(Tally::new(0, 700, 1, 6_299)), 9.791466387);
        close(table.value(Tally::new(2, 1_998, 18, 17_982)), 349.971516);
        close(table.value(Tally::new(5, 495, 9, 4_491)), 0.5364657929);
    }

    #[test]
    fn a_certificate_takes_so_many_requests_without_an_error() {
        for (rho1, delta1, wanted) in [(2.0, 0.005, 914), (2.0, 0.001, 4_580), (1.5, 0.02, 227)] {
            let table = table(0.1, rho1, delta1, 0.0);
            let enough = (1..10_000).find(|n| table.value(Tally::new(0, *n, 0, 9 * n)) >= 20.0);
            assert_eq!(enough, Some(wanted), "{rho1} {delta1}");
            assert_eq!(table.missing(Tally::default(), 20.0), Some(wanted));
            let missing = table.missing(Tally::new(0, 200, 0, 1_800), 20.0);
            assert_eq!(missing, Some(wanted - 200));
        }
    }

    #[test]
    fn what_does_not_grow_has_no_end_in_sight() {
        let table = table(0.1, 2.0, 0.005, 0.0);
        assert_eq!(table.missing(Tally::new(10, 490, 9, 4_491), 20.0), None);
        assert!(table.missing(Tally::new(1, 1_499, 12, 13_488), 20.0).is_some());
    }

    #[test]
    fn b11_a_centred_certificate_has_finite_factors_at_every_weight() {
        assert!(CertificateMargins::new(2.0, 0.005, 0.5).is_err(), "theta1 = 1.005");
        for bp in 1..10_000_u32 {
            for (rho1, delta1, m) in [(1.0, 0.15, 0.5), (2.0, 0.1, 0.1), (1.0, 0.01, 0.01)] {
                let w = f64::from(bp) / 10_000.0;
                let table = table(w, rho1, delta1, m);
                for bet in 0..BETS.len() {
                    let row = table.row(bet);
                    assert!(row.iter().all(|ln| ln.is_finite()), "{w} {m} {row:?}");
                    let [bad, ok, blue_bad, blue_ok] = row.map(f64::exp);
                    assert!(bad <= ok && blue_ok <= blue_bad);
                    // At the boundary, with blue at some rate, the bet is fair.
                    let blue = 0.2_f64.min((1.0 - delta1) / rho1);
                    let green = rho1 * blue + delta1;
                    let expected = w * (green * bad + (1.0 - green) * ok)
                        + (1.0 - w) * (blue * blue_bad + (1.0 - blue) * blue_ok);
                    assert!((expected - 1.0).abs() < 1e-9, "{w} {m} {expected}");
                }
            }
        }
    }

    #[test]
    fn the_next_step_begins_at_nothing() {
        let mut step = StepTallies::default();
        let (first, second) = ((0, Weight::ZERO), (0, Weight::FULL));
        step.add(first, [Tally::new(1, 2, 3, 4); METRICS]);
        step.add(first, [Tally::new(1, 2, 3, 4); METRICS]);
        assert_eq!(step.of(first), [Tally::new(2, 4, 6, 8); METRICS]);
        assert_eq!(step.of(second), [Tally::default(); METRICS]);
        step.add(second, [Tally::new(1, 0, 0, 0); METRICS]);
        assert_eq!(step.of(second), [Tally::new(1, 0, 0, 0); METRICS]);
        assert_eq!(step.of(first), [Tally::default(); METRICS]);
    }
}
