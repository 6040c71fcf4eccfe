//! The logarithm of the gamma function.

/// `ln Γ(x)` for `x > 0`, to about 1e-14 relative or absolute, whichever is larger.
///
/// Stirling's series (Abramowitz and Stegun 6.1.41) with eight terms at 10 and above, where its
/// error is below 1e-17; smaller arguments are raised by `Γ(x) = Γ(x + 1) / x` (6.1.15).
pub(super) fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = TERMS.iter().rev().fold(0.0, |sum, term| sum * square + term) / x;
    (x - 0.5) * x.ln() - x + HALF_LN_TAU + series - product.ln()
}

/// `ln B(a, b)`, the logarithm of the beta function.
pub(super) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// `B(2k) / (2k (2k - 1))` for k = 1..=8, with the Bernoulli numbers B.
const TERMS: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1_260.0,
    -1.0 / 1_680.0,
    1.0 / 1_188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
    -3_617.0 / 122_400.0,
];
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factorials_are_met() {
        let mut ln_factorial = 0.0_f64;
        for n in 1..3_000_u32 {
            // Γ(n) = (n - 1)!
            let found = ln_gamma(f64::from(n));
            let error = (found - ln_factorial).abs() / ln_factorial.max(1.0);
            assert!(error < 2e-14, "{n}: {found} is not {ln_factorial}");
            ln_factorial += f64::from(n).ln();
        }
    }

    #[test]
    fn halves_and_small_arguments_are_met() {
        let root_pi = std::f64::consts::PI.sqrt();
        assert!((ln_gamma(0.5) - root_pi.ln()).abs() < 1e-14);
        assert!((ln_gamma(1.5) - (root_pi / 2.0).ln()).abs() < 1e-14);
        assert!((ln_gamma(10.5) - (root_pi * 654_729_075.0 / 1_024.0).ln()).abs() < 1e-13);
        // Γ(x) x = Γ(1 + x) near 0, where Γ(1 + x) = exp(-0.5772 x + ...).
        assert!((ln_gamma(1e-9) + 1e-9_f64.ln() + 0.577_215_664_9e-9).abs() < 1e-13);
        assert!((ln_beta(2.0, 3.0) - (1.0_f64 / 12.0).ln()).abs() < 1e-14);
    }
}
