//! How many requests it takes to find a bad green: the tables of sections 9.3 and 9.6.
//!
//! Outcomes are known at once, w = 0.1, 2 000 runs a row; a row agrees if its mean is within 10 %
//! or one request of the printed one, whichever is more.

use tidegate::core::analysis::comparison::{
    BetTable, Chance, MarginTable, Margins, Metric, Preset, Tally, Wealth,
};

const RUNS: u64 = 2_000;
pub(crate) const W: f64 = 0.1;

/// A stretch of requests with the failure rates of both sides.
pub(crate) struct Stretch {
    pub(crate) blue: f64,
    pub(crate) green: f64,
    /// How many requests it has at most.
    pub(crate) length: u64,
}

/// What was sent to green in a stretch, and whether the evidence sufficed.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) green: u64,
    pub(crate) failed: u64,
    pub(crate) suffices: bool,
    /// On both sides.
    pub(crate) sent: u64,
}

/// Draws requests until the evidence reaches `boundary` or the stretch is over. Between two
/// failures the evidence only falls, so it is looked at after failures of green alone.
pub(crate) fn watch(
    stretch: &Stretch,
    wealth: &mut Wealth,
    table: &BetTable,
    boundary: f64,
    chance: &mut Chance,
) -> Found {
    let failing = W * stretch.green + (1.0 - W) * stretch.blue;
    let green_if_ok = W * (1.0 - stretch.green) / (1.0 - failing).max(f64::MIN_POSITIVE);
    let (mut found, mut left) = (Found::default(), stretch.length);
    while left > 0 {
        let gap = (1.0 - chance.unit()).ln() / (-failing).ln_1p();
        let ok = (gap as u64).min(left);
        let green_ok = binomial(ok, green_if_ok, chance);
        wealth.add(Tally::new(0, green_ok, 0, ok - green_ok));
        found.green += green_ok;
        left -= ok;
        found.sent = stretch.length - left;
        if left == 0 {
            break;
        }
        left -= 1;
        found.sent += 1;
        if !chance.yes(W * stretch.green / failing) {
            wealth.add(Tally::new(0, 0, 1, 0));
            continue;
        }
        wealth.add(Tally::new(1, 0, 0, 0));
        found.green += 1;
        found.failed += 1;
        if wealth.value(table) >= boundary {
            found.suffices = true;
            break;
        }
    }
    found
}

/// How many of so many; a normal one where there are many, which is close enough for a mean.
fn binomial(n: u64, p: f64, chance: &mut Chance) -> u64 {
    if n <= 200 {
        return (0..n).filter(|_| chance.yes(p)).count() as u64;
    }
    let (mean, variance) = (n as f64 * p, n as f64 * p * (1.0 - p));
    // The logarithm of a log-normal number is normal.
    let normal = chance.log_normal(1.0, 1.0).ln();
    (mean + variance.sqrt() * normal).round().clamp(0.0, n as f64) as u64
}

/// The means of green requests and of failed ones over all runs, in one epoch.
fn means(margins: Margins, boundary: f64, blue: f64, green: f64) -> (f64, f64) {
    let table = BetTable::against(W, margins);
    let stretch = Stretch { blue, green, length: 1 << 40 };
    let (mut requests, mut failed) = (0, 0);
    for seed in 0..RUNS {
        let mut wealth = Wealth::default();
        wealth.enter(0, &table);
        let found = watch(&stretch, &mut wealth, &table, boundary, &mut Chance::new(seed));
        requests += found.green;
        failed += found.failed;
    }
    (requests as f64 / RUNS as f64, failed as f64 / RUNS as f64)
}

fn agrees(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= (0.1 * wanted).max(1.0)
}

fn check(preset: Preset, boundary: f64, rows: &[(f64, f64, f64, f64)]) {
    let margins = preset.table().of(Metric::Errors);
    for (blue, green, requests, failed) in rows {
        let found = means(margins, boundary, *blue, *green);
        assert!(agrees(found.0, *requests), "{blue} {green}: {} is not {requests}", found.0);
        assert!(agrees(found.1, *failed), "{blue} {green}: {} is not {failed}", found.1);
    }
}

/// Section 9.3, strict: a single metric with the whole capital invested at once.
#[test]
fn strict_margins_find_it_as_fast_as_the_table_says() {
    // Half of the capital is not invested here: 1000 there is 0.5 + 0.5 * 1000 here.
    check(
        Preset::Strict,
        500.5,
        &[
            (0.0, 0.005, 808.0, 4.0),
            (0.0, 0.01, 393.0, 4.0),
            (0.0, 0.05, 79.0, 4.0),
            (0.0, 0.2, 20.0, 4.0),
            (0.0, 1.0, 4.0, 4.0),
            (0.000_1, 0.000_2, 257_722.0, 51.5),
            (0.000_1, 0.000_5, 25_840.0, 12.9),
            (0.000_1, 0.005, 960.0, 4.8),
            (0.000_1, 0.01, 435.0, 4.4),
            (0.000_1, 0.05, 81.0, 4.1),
            (0.000_1, 0.2, 20.0, 4.0),
            (0.000_1, 1.0, 4.0, 4.0),
            (0.001, 0.002, 25_978.0, 51.8),
            (0.001, 0.005, 2_577.0, 12.9),
            (0.001, 0.01, 813.0, 8.1),
            (0.001, 0.05, 96.0, 4.8),
            (0.001, 0.2, 21.0, 4.2),
            (0.001, 1.0, 4.0, 4.0),
            (0.01, 0.02, 2_569.0, 51.5),
            (0.01, 0.05, 260.0, 12.9),
            (0.01, 0.2, 30.0, 6.0),
            (0.01, 1.0, 4.0, 4.4),
            (0.05, 0.1, 513.0, 51.4),
            (0.05, 0.25, 52.0, 13.0),
            (0.05, 0.2, 80.0, 16.1),
            (0.05, 1.0, 6.0, 6.1),
        ],
    );
}

/// Section 9.3, default margins: errors have 0.6 of the evidence, half of it invested at first.
#[test]
fn default_margins_find_it_as_fast_as_the_table_says() {
    let omega = MarginTable::default().omega(Metric::Errors);
    check(
        Preset::Default,
        1_000.0 / omega,
        &[
            (0.0, 0.005, 1_370.0, 6.9),
            (0.0, 0.01, 543.0, 5.5),
            (0.0, 0.05, 99.0, 5.0),
            (0.0, 0.2, 25.0, 5.0),
            (0.0, 1.0, 5.0, 5.0),
            (0.000_1, 0.005, 1_735.0, 8.5),
            (0.000_1, 0.01, 613.0, 6.2),
            (0.000_1, 0.05, 101.0, 5.1),
            (0.000_1, 0.2, 25.0, 5.0),
            (0.000_1, 1.0, 5.0, 5.0),
            (0.001, 0.005, 4_814.0, 24.1),
            (0.001, 0.01, 1_182.0, 11.7),
            (0.001, 0.05, 120.0, 6.0),
            (0.001, 0.2, 26.0, 5.2),
            (0.001, 1.0, 5.0, 5.0),
            (0.01, 0.02, 4_508.0, 90.1),
            (0.01, 0.05, 338.0, 16.9),
            (0.01, 0.2, 37.0, 7.5),
            (0.01, 1.0, 5.0, 5.5),
            (0.05, 0.1, 801.0, 80.2),
            (0.05, 0.25, 66.0, 16.5),
            (0.05, 0.2, 106.0, 21.1),
            (0.05, 1.0, 7.0, 7.4),
        ],
    );
}

/// Section 9.6: green is healthy at 0.1 % for a while, then turns bad; 1 000 requests a second and
/// an epoch each 30 s.
#[test]
fn a_green_that_turns_bad_late_is_found_as_fast_as_the_table_says() {
    let rows = [
        (60, 0.01, 14.0),
        (60, 0.05, 7.0),
        (60, 1.0, 5.0),
        (600, 0.01, 20.0),
        (600, 0.05, 10.0),
        (600, 1.0, 7.0),
        (1_800, 0.01, 22.0),
        (1_800, 0.05, 11.0),
        (1_800, 1.0, 8.0),
        (3_600, 0.01, 24.0),
        (3_600, 0.05, 12.0),
        (3_600, 1.0, 9.0),
    ];
    let table = BetTable::against(W, MarginTable::default().of(Metric::Errors));
    let boundary = 1_000.0 / MarginTable::default().omega(Metric::Errors);
    for (healthy_secs, green, wanted) in rows {
        let mut failed = 0;
        for seed in 0..RUNS {
            let (mut chance, mut wealth) = (Chance::new(seed), Wealth::default());
            for epoch in 0.. {
                wealth.enter(epoch, &table);
                let green = if epoch * 30 < healthy_secs { 0.001 } else { green };
                let stretch = Stretch { blue: 0.001, green, length: 30_000 };
                let found = watch(&stretch, &mut wealth, &table, boundary, &mut chance);
                failed += if epoch * 30 < healthy_secs { 0 } else { found.failed };
                if found.suffices {
                    break;
                }
            }
        }
        let found = failed as f64 / RUNS as f64;
        assert!(agrees(found, wanted), "{healthy_secs} s, {green}: {found} is not {wanted}");
    }
}
