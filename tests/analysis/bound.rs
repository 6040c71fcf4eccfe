//! Bounds on a probability from counts (Clopper and Pearson 1934).

/// The probability above which so few of the runs would turn up only with probability `error`.
pub(crate) fn upper(found: u64, runs: u64, error: f64) -> f64 {
    bisect(|p| at_most(found, runs, p) > error)
}

/// The probability below which so many of the runs would turn up only with probability `error`.
pub(crate) fn lower(found: u64, runs: u64, error: f64) -> f64 {
    match found.checked_sub(1) {
        None => 0.0,
        Some(fewer) => bisect(|p| 1.0 - at_most(fewer, runs, p) < error),
    }
}

/// The largest probability for which a condition holds that small ones meet and large ones do not.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// The probability of at most so many of so many.
fn at_most(found: u64, runs: u64, p: f64) -> f64 {
    let mut ln_term = runs as f64 * (-p).ln_1p();
    let mut sum = ln_term.exp();
    for k in 0..found.min(runs) {
        ln_term += ((runs - k) as f64 / (k + 1) as f64 * p / (1.0 - p)).ln();
        sum += ln_term.exp();
    }
    sum.min(1.0)
}

#[test]
fn bounds_are_those_of_the_books() {
    let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 1e-3, "{found}");
    near(upper(0, 20_000, 0.05), 1.4978e-4);
    near(upper(0, 1_000, 0.05), 2.9912e-3);
    near(upper(5, 100, 0.025), 0.112_83);
    near(lower(5, 100, 0.025), 0.016_43);
    assert!(lower(0, 100, 0.025).abs() < 1e-12);
}
