//! The comparison with checkers by thresholds, as it stands in `docs/analysis.md`.
//!
//! `make analysis-table` (`TIDEGATE_TABLE=full`) prints both tables from seeded trials; the reduced
//! form tries less and checks that the cells of the document are reproduced within the noise. Blue
//! fails 0.1 %, green has 10 % of the traffic, a rollout takes an hour, outcomes are known at once.

use tidegate::core::analysis::comparison::{BetTable, Chance, MarginTable, Metric, Wealth};

use super::checkers::{Checker, Watched};
use super::detection::{Stretch, W, watch};

/// Who watches.
#[derive(Clone, Copy, Debug)]
enum Watcher {
    Tidegate,
    Threshold(Checker),
}

const WATCHERS: [Watcher; 3] = [
    Watcher::Tidegate,
    Watcher::Threshold(Checker::FlaggerLike),
    Watcher::Threshold(Checker::ArgoLike),
];

/// What became of all rollouts of a cell.
#[derive(Debug)]
struct Cell {
    /// The share of those that were taken back.
    caught: f64,
    /// The median of their times in seconds; `None` if there are none.
    median: Option<f64>,
    /// The mean of what green failed, over all.
    failed: f64,
}

impl Cell {
    fn of(runs: &[Watched]) -> Self {
        let mut times: Vec<f64> = runs.iter().filter_map(|run| run.caught_secs).collect();
        times.sort_by(f64::total_cmp);
        let all = runs.len() as f64;
        Self {
            caught: times.len() as f64 / all,
            median: times.get(times.len() / 2).copied(),
            failed: runs.iter().map(|run| run.failed as f64).sum::<f64>() / all,
        }
    }

    /// `11 s; 12 failed`, and how many were caught where not all were.
    fn shown(&self) -> String {
        let failed = self.failed.round();
        let time = match self.median {
            None => "never".to_owned(),
            Some(secs) if secs < 10.0 => format!("{secs:.2} s"),
            Some(secs) if secs < 600.0 => format!("{secs:.0} s"),
            Some(secs) => format!("{:.0} min", secs / 60.0),
        };
        let part = match self.median {
            Some(_) if self.caught < 1.0 => format!(" ({:.0} %)", 100.0 * self.caught),
            Some(_) | None => String::new(),
        };
        format!("{time}{part}; {failed} failed")
    }
}

/// The shipped comparison of errors with its restarts each 30 s.
fn tidegate(rate: u64, blue: f64, green: f64, chance: &mut Chance) -> Watched {
    let margins = MarginTable::default();
    let table = BetTable::against(W, margins.of(Metric::Errors));
    let boundary = 1_000.0 / margins.omega(Metric::Errors);
    let mut wealth = Wealth::default();
    let (mut sent, mut failed) = (0, 0);
    for epoch in 0..120 {
        wealth.enter(epoch, &table);
        let stretch = Stretch { blue, green, length: 30 * rate };
        let found = watch(&stretch, &mut wealth, &table, boundary, chance);
        sent += found.sent;
        failed += found.failed;
        if found.suffices {
            return Watched { caught_secs: Some(sent as f64 / rate as f64), failed };
        }
    }
    Watched { caught_secs: None, failed }
}

fn cell(watcher: Watcher, rate: u64, blue: f64, green: f64, runs: u64) -> Cell {
    let watched: Vec<Watched> = (0..runs)
        .map(|seed| {
            let mut chance = Chance::new(seed);
            match watcher {
                Watcher::Tidegate => tidegate(rate, blue, green, &mut chance),
                Watcher::Threshold(checker) => checker.watch(W * rate as f64, green, &mut chance),
            }
        })
        .collect();
    Cell::of(&watched)
}

/// The rows of the first table: requests a second, how much of it green fails.
fn rows() -> impl Iterator<Item = (u64, f64)> {
    [100, 1_000].into_iter().flat_map(|rate| GREENS.map(|green| (rate, green)))
}

/// The rows of the second table: requests a second, what both sides fail.
fn healthy_rows() -> impl Iterator<Item = (u64, f64)> {
    [5, 100, 1_000].into_iter().flat_map(|rate| [0.001, 0.01, 0.02].map(|both| (rate, both)))
}

const GREENS: [f64; 6] = [0.002, 0.005, 0.01, 0.05, 0.2, 1.0];
const BLUE: f64 = 0.001;

fn percent(share: f64) -> String {
    format!("{} %", (share * 10_000.0).round() / 100.0)
}

#[test]
#[expect(clippy::print_stdout, reason = "the tables, for whoever asks for them")]
fn the_tables_are_printed_where_they_are_asked_for() {
    if std::env::var("TIDEGATE_TABLE").as_deref() != Ok("full") {
        return;
    }
    println!("| requests a second | green fails | Tidegate | Flagger-like | Argo-like |");
    println!("|---|---|---|---|---|");
    for (rate, green) in rows() {
        let cells = WATCHERS.map(|watcher| cell(watcher, rate, BLUE, green, FULL).shown());
        println!("| {rate} | {} | {} |", percent(green), cells.join(" | "));
    }
    println!();
    println!("| requests a second | both fail | Tidegate | Flagger-like | Argo-like |");
    println!("|---|---|---|---|---|");
    for (rate, both) in healthy_rows() {
        let shares = WATCHERS.map(|watcher| {
            let caught = cell(watcher, rate, both, both, FULL).caught;
            format!("{:.1} %", 100.0 * caught)
        });
        println!("| {rate} | {} | {} |", percent(both), shares.join(" | "));
    }
}

/// The cells of the document's row that begins with these two.
fn documented(rate: u64, share: f64, table: usize) -> Vec<String> {
    let document = include_str!("../../docs/analysis.md");
    let begins = format!("| {rate} | {} |", percent(share));
    let lines: Vec<&str> = document.lines().filter(|line| line.starts_with(&begins)).collect();
    // A row of the first table has semicolons.
    let wanted = lines.iter().find(|line| line.contains(';') == (table == 1));
    let line = wanted.unwrap_or_else(|| panic!("{begins} is not in docs/analysis.md"));
    line.split('|').skip(3).take(3).map(|cell| cell.trim().to_owned()).collect()
}

/// The number at the beginning of a text.
fn number(text: &str) -> f64 {
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    digits.parse().unwrap_or_else(|_| panic!("{text:?} begins with no number"))
}

/// Reads a time in seconds, the share of rollouts that were caught, and the mean of failures.
fn read(cell: &str) -> (Option<f64>, f64, f64) {
    let (time, failed) = cell.split_once("; ").unwrap_or_else(|| panic!("{cell:?}"));
    let caught = match time.split_once(" (") {
        Some((_, share)) => number(share) / 100.0,
        None if time == "never" => 0.0,
        None => 1.0,
    };
    let secs = (time != "never").then(|| {
        let scale = if time.contains("min") { 60.0 } else { 1.0 };
        scale * number(time)
    });
    (secs, caught, number(failed))
}

/// How far a share of the reduced form may be from a printed one: four standard deviations, and what
/// printing it rounds off. All and none are all and none of any part of the rollouts, too.
fn noise(share: f64) -> f64 {
    4.0 * (share * (1.0 - share) / REDUCED as f64).sqrt() + 0.01
}

#[test]
fn the_cells_of_the_first_table_are_reproduced_within_the_noise() {
    for (rate, green) in rows() {
        // More failures than that are too many for a quick test.
        if rate as f64 * green > 60.0 {
            continue;
        }
        for (watcher, cell_of) in WATCHERS.into_iter().zip(documented(rate, green, 1)) {
            let (secs, caught, failed) = read(&cell_of);
            let found = cell(watcher, rate, BLUE, green, REDUCED);
            let place = format!("{rate} {green} {watcher:?}: {found:?}, in the document {cell_of}");
            assert!((found.caught - caught).abs() <= noise(caught), "{place}");
            let near = (found.failed - failed).abs() <= (0.25 * failed).max(2.0);
            assert!(near, "{place}");
            if caught >= 0.9
                && let (Some(secs), Some(median)) = (secs, found.median)
            {
                assert!((median - secs).abs() <= (0.4 * secs).max(1.0), "{place}");
            }
        }
    }
}

#[test]
fn the_cells_of_the_second_table_are_reproduced_within_the_noise() {
    for (rate, both) in healthy_rows().filter(|(rate, _)| *rate <= 100) {
        for (watcher, cell_of) in WATCHERS.into_iter().zip(documented(rate, both, 2)) {
            let found = cell(watcher, rate, both, both, REDUCED).caught;
            let wanted = number(&cell_of) / 100.0;
            let place = format!("{rate} {both} {watcher:?}: {found}, in the document {cell_of}");
            assert!((found - wanted).abs() <= noise(wanted), "{place}");
        }
    }
}

/// Rollouts in a cell.
const FULL: u64 = 400;
const REDUCED: u64 = 100;
