//! How many requests it takes to find a bad green: the tables of sections 9.3 and 9.6.
//!
//! Outcomes are known at once, w = 0.1, 2 000 runs a row; a row agrees if its mean, its median and
//! its 95th percentile are within 10 % or one request of the printed ones, whichever is more.

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

/// What the runs of a row came to.
struct Runs {
    /// The green requests of each, the fewest first.
    green: Vec<f64>,
    failed: u64,
}

impl Runs {
    /// Those of so many green requests each, and so many failures in all.
    fn new(mut green: Vec<f64>, failed: u64) -> Self {
        green.sort_by(f64::total_cmp);
        Self { green, failed }
    }

    /// All of a row, in one epoch.
    fn in_one_epoch(margins: Margins, boundary: f64, blue: f64, green: f64) -> Self {
        let table = BetTable::against(W, margins);
        let stretch = Stretch { blue, green, length: 1 << 40 };
        let (mut requests, mut failed) = (Vec::new(), 0);
        for seed in 0..RUNS {
            let mut wealth = Wealth::default();
            wealth.enter(0, &table);
            let found = watch(&stretch, &mut wealth, &table, boundary, &mut Chance::new(seed));
            assert!(found.suffices, "{blue} {green}: it is found in every run");
            requests.push(found.green as f64);
            failed += found.failed;
        }
        Self::new(requests, failed)
    }

    /// The mean, the median and the 95th percentile.
    fn green(&self) -> [f64; 3] {
        let mean = self.green.iter().sum::<f64>() / self.green.len() as f64;
        [mean, self.percentile(50), self.percentile(95)]
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.green[(self.green.len() * percent).div_ceil(100) - 1]
    }

    fn failed(&self) -> f64 {
        self.failed as f64 / self.green.len() as f64
    }
}

fn agrees(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= (0.1 * wanted).max(1.0)
}

/// The failure rates of blue and of green, the mean, median and 95th percentile of green requests,
/// and the mean of failed ones.
type Row = (f64, f64, [f64; 3], f64);

fn check(preset: Preset, boundary: f64, rows: &[Row]) {
    let margins = preset.table().of(Metric::Errors);
    for (blue, green, requests, failed) in rows {
        let runs = Runs::in_one_epoch(margins, boundary, *blue, *green);
        for (found, wanted) in runs.green().iter().zip(requests) {
            assert!(agrees(*found, *wanted), "{blue} {green}: {found} is not {wanted}");
        }
        let found = runs.failed();
        assert!(agrees(found, *failed), "{blue} {green}: {found} is not {failed}");
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
            (0.0, 0.005, [808.0, 748.0, 1_561.0], 4.0),
            (0.0, 0.01, [393.0, 363.0, 752.0], 4.0),
            (0.0, 0.05, [79.0, 74.0, 152.0], 4.0),
            (0.0, 0.2, [20.0, 18.0, 36.0], 4.0),
            (0.0, 1.0, [4.0, 4.0, 4.0], 4.0),
            (0.000_1, 0.000_2, [257_722.0, 233_768.0, 533_924.0], 51.5),
            (0.000_1, 0.000_5, [25_840.0, 23_817.0, 52_476.0], 12.9),
            (0.000_1, 0.005, [960.0, 841.0, 2_060.0], 4.8),
            (0.000_1, 0.01, [435.0, 390.0, 853.0], 4.4),
            (0.000_1, 0.05, [81.0, 76.0, 156.0], 4.1),
            (0.000_1, 0.2, [20.0, 19.0, 38.0], 4.0),
            (0.000_1, 1.0, [4.0, 4.0, 4.0], 4.0),
            (0.001, 0.002, [25_978.0, 23_628.0, 51_622.0], 51.8),
            (0.001, 0.005, [2_577.0, 2_350.0, 5_283.0], 12.9),
            (0.001, 0.01, [813.0, 744.0, 1_680.0], 8.1),
            (0.001, 0.05, [96.0, 84.0, 198.0], 4.8),
            (0.001, 0.2, [21.0, 19.0, 40.0], 4.2),
            (0.001, 1.0, [4.0, 4.0, 4.0], 4.0),
            (0.01, 0.02, [2_569.0, 2_395.0, 5_215.0], 51.5),
            (0.01, 0.05, [260.0, 233.0, 533.0], 12.9),
            (0.01, 0.2, [30.0, 27.0, 59.0], 6.0),
            (0.01, 1.0, [4.0, 4.0, 6.0], 4.4),
            (0.05, 0.1, [513.0, 472.0, 1_033.0], 51.4),
            (0.05, 0.25, [52.0, 48.0, 101.0], 13.0),
            (0.05, 0.2, [80.0, 73.0, 163.0], 16.1),
            (0.05, 1.0, [6.0, 6.0, 9.0], 6.1),
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
            (0.0, 0.005, [1_370.0, 1_237.0, 2_829.0], 6.9),
            (0.0, 0.01, [543.0, 470.0, 1_043.0], 5.5),
            (0.0, 0.05, [99.0, 93.0, 181.0], 5.0),
            (0.0, 0.2, [25.0, 24.0, 44.0], 5.0),
            (0.0, 1.0, [5.0, 5.0, 5.0], 5.0),
            (0.000_1, 0.005, [1_735.0, 1_527.0, 3_689.0], 8.5),
            (0.000_1, 0.01, [613.0, 545.0, 1_259.0], 6.2),
            (0.000_1, 0.05, [101.0, 94.0, 180.0], 5.1),
            (0.000_1, 0.2, [25.0, 24.0, 45.0], 5.0),
            (0.000_1, 1.0, [5.0, 5.0, 5.0], 5.0),
            (0.001, 0.005, [4_814.0, 4_411.0, 9_333.0], 24.1),
            (0.001, 0.01, [1_182.0, 1_078.0, 2_384.0], 11.7),
            (0.001, 0.05, [120.0, 109.0, 235.0], 6.0),
            (0.001, 0.2, [26.0, 24.0, 47.0], 5.2),
            (0.001, 1.0, [5.0, 5.0, 5.0], 5.0),
            (0.01, 0.02, [4_508.0, 4_224.0, 8_629.0], 90.1),
            (0.01, 0.05, [338.0, 313.0, 671.0], 16.9),
            (0.01, 0.2, [37.0, 34.0, 71.0], 7.5),
            (0.01, 1.0, [5.0, 5.0, 7.0], 5.5),
            (0.05, 0.1, [801.0, 736.0, 1_519.0], 80.2),
            (0.05, 0.25, [66.0, 61.0, 125.0], 16.5),
            (0.05, 0.2, [106.0, 98.0, 202.0], 21.1),
            (0.05, 1.0, [7.0, 7.0, 10.0], 7.4),
        ],
    );
}

/// Section 9.6: green is healthy at 0.1 % for a while, then turns bad; 1 000 requests a second and
/// an epoch each 30 s.
#[test]
fn a_green_that_turns_bad_late_is_found_as_fast_as_the_table_says() {
    // Seconds that it is healthy, its failures after that, how many of them there are in the mean,
    // and the median and the 95th percentile of the seconds that it takes.
    let rows = [
        (60, 0.01, 14.0, [12.8, 26.0]),
        (60, 0.05, 7.0, [1.32, 2.48]),
        (60, 1.0, 5.0, [0.046, 0.098]),
        (600, 0.01, 20.0, [19.3, 35.8]),
        (600, 0.05, 10.0, [1.78, 3.34]),
        (600, 1.0, 7.0, [0.07, 0.122]),
        (1_800, 0.01, 22.0, [20.7, 37.0]),
        (1_800, 0.05, 11.0, [2.02, 3.7]),
        (1_800, 1.0, 8.0, [0.08, 0.132]),
        (3_600, 0.01, 24.0, [23.6, 40.6]),
        (3_600, 0.05, 12.0, [2.26, 4.04]),
        (3_600, 1.0, 9.0, [0.086, 0.152]),
    ];
    let table = BetTable::against(W, MarginTable::default().of(Metric::Errors));
    let boundary = 1_000.0 / MarginTable::default().omega(Metric::Errors);
    for (healthy_secs, green, failed, seconds) in rows {
        let runs = turned_bad((healthy_secs, green), &table, boundary);
        let found = runs.failed();
        assert!(agrees(found, failed), "{healthy_secs} s, {green}: {found} is not {failed}");
        for (percent, seconds) in [50, 95].into_iter().zip(seconds) {
            let (found, wanted) = (runs.percentile(percent), seconds * GREEN_PER_SECOND);
            assert!(agrees(found, wanted), "{healthy_secs} s, {green}: {found} is not {wanted}");
        }
    }
}

/// So many of 1 000 requests a second go to green.
const GREEN_PER_SECOND: f64 = 1_000.0 * W;

/// Runs in which green is healthy for so many seconds and fails this part of its requests after
/// that, which is when they are counted: in green requests, as many as go there in that time.
fn turned_bad((healthy_secs, failing): (u64, f64), table: &BetTable, boundary: f64) -> Runs {
    let (mut took, mut failed) = (Vec::new(), 0);
    for seed in 0..RUNS {
        let (mut chance, mut wealth) = (Chance::new(seed), Wealth::default());
        let mut sent = 0;
        for epoch in 0.. {
            wealth.enter(epoch, table);
            let is_healthy = epoch * 30 < healthy_secs;
            let green = if is_healthy { 0.001 } else { failing };
            let stretch = Stretch { blue: 0.001, green, length: 30_000 };
            let found = watch(&stretch, &mut wealth, table, boundary, &mut chance);
            if !is_healthy {
                failed += found.failed;
                sent += found.sent;
            }
            if found.suffices {
                break;
            }
        }
        took.push(sent as f64 * W);
    }
    Runs::new(took, failed)
}
