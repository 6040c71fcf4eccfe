//! The golden vectors of the analysis (sections 7 and 8 and `golden-section5.json`), each to a
//! relative 1e-9, and the enumeration that shows that nobody can win at the boundary.

use crate::core::model::{MonoTime, Side, Weight};

use super::*;

/// Within the printed digits.
fn close(found: f64, wanted: f64) {
    assert!((found / wanted - 1.0).abs() < 1e-9, "{found} is not {wanted}");
}

fn margins(rho0: f64, delta: f64, centre: f64) -> Margins {
    Margins::new(rho0, delta, centre).unwrap()
}

fn default_errors() -> Margins {
    MarginTable::default().of(Metric::Errors)
}

/// The evidence of one metric after epochs of a weight and counts each.
fn evidence(margins: Margins, epochs: &[(f64, Tally)]) -> f64 {
    let mut wealth = Wealth::default();
    let mut table = BetTable::BLIND;
    for (epoch, (w, tally)) in (0..).zip(epochs) {
        wealth.enter(epoch, &table);
        table = BetTable::against(*w, margins);
        wealth.add(*tally);
    }
    wealth.value(&table)
}

fn once(margins: Margins, w: f64, counts: [u64; 4]) -> f64 {
    let [green_bad, green_ok, blue_bad, blue_ok] = counts;
    evidence(margins, &[(w, Tally::new(green_bad, green_ok, blue_bad, blue_ok))])
}

/// A table with one metric that has all the evidence.
fn alone(margins: Margins) -> MarginTable {
    MarginTable::new([1.0, 0.0, 0.0, 0.0, 0.0].map(|omega| (margins, omega))).unwrap()
}

pub(super) fn weight(bp: u16) -> Weight {
    Weight::from_bp(bp).unwrap()
}

pub(super) fn cohort(number: u64, epoch: u64, bp: u16) -> Cohort {
    Cohort { number, epoch, step: 0, weight: weight(bp), dormant: MetricSet::NONE }
}

/// A row of settled requests and some in flight.
fn row(counts: [u32; 4], in_flight: [u32; 2]) -> Row {
    let [green_bad, green_ok, blue_bad, blue_ok] = counts;
    Row {
        green: green_bad + green_ok + in_flight[0],
        blue: blue_bad + blue_ok + in_flight[1],
        green_bad,
        green_ok,
        blue_bad,
        blue_ok,
    }
}

fn errors(counts: [u32; 4], in_flight: [u32; 2]) -> Cells {
    let mut cells = Cells::default();
    cells.rows[0] = row(counts, in_flight);
    cells
}

#[test]
fn g2_one_epoch_with_default_margins() {
    let wanted: [([u64; 4], f64); 14] = [
        ([0, 0, 0, 0], 1.0),
        ([1, 0, 0, 0], 3.24882624),
        ([2, 0, 0, 0], 19.90296033),
        ([3, 0, 0, 0], 153.9711342),
        ([4, 0, 0, 0], 1277.204861),
        ([5, 0, 0, 0], 10890.29109),
        ([4, 0, 0, 40], 1277.204861),
        ([0, 1000, 10, 9000], 0.5354494853),
        ([10, 990, 90, 8910], 0.5104198765),
        ([20, 980, 90, 8910], 1.260501269),
        ([50, 950, 90, 8910], 1.880233287e11),
        ([3, 97, 0, 900], 108.2574884),
        ([8, 992, 9, 8991], 30.84943845),
        ([300, 700, 2700, 6300], 0.5),
    ];
    for (counts, wanted) in wanted {
        close(once(default_errors(), 0.1, counts), wanted);
    }
}

#[test]
fn g3_one_epoch_with_strict_margins() {
    let wanted: [([u64; 4], f64); 5] = [
        ([1, 0, 0, 0], 3.430224313),
        ([3, 0, 0, 0], 194.0331377),
        ([4, 0, 0, 0], 1755.421682),
        ([3, 50, 3, 450], 4.136766122),
        ([12, 100, 9, 900], 109585.6097),
    ];
    for (counts, wanted) in wanted {
        close(once(margins(1.0, 0.0, 0.0), 0.1, counts), wanted);
    }
}

#[test]
fn g4_several_epochs() {
    let check = |epochs: &[(f64, Tally)], wanted| close(evidence(default_errors(), epochs), wanted);
    check(&[(0.1, Tally::new(3, 2997, 27, 26973)), (0.1, Tally::new(5, 0, 0, 50))], 5445.379369);
    check(
        &[
            (0.01, Tally::new(0, 100, 9, 9891)),
            (0.05, Tally::new(1, 499, 9, 9491)),
            (0.1, Tally::new(6, 194, 2, 1798)),
        ],
        123.4197707,
    );
    check(
        &[
            (0.1, Tally::new(0, 3000, 27, 26973)),
            (1.0, Tally::new(50, 950, 0, 0)),
            (0.5, Tally::new(2, 98, 1, 99)),
        ],
        0.3476202468,
    );
}

#[test]
fn g5_counts_of_several_proxies_add_up() {
    let parts = [[2, 100, 1, 950], [1, 80, 0, 700], [3, 40, 0, 410]];
    let cells = parts.map(|counts| errors(counts, [0, 0]));
    let merged = cells[2].plus(&cells[0]).plus(&cells[1]);
    let mut comparator =
        Comparator::new(Rules { margins: alone(default_errors()), ..Rules::default() });
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    comparator.observe(0, &merged);
    let found = comparator.evaluate(MonoTime::default(), 0);
    close(found.point.total, 2499.296306);
    assert!(found.crossed);
}

#[test]
fn g6_latencies() {
    let half = margins(1.0, 0.0, 0.5);
    close(once(half, 0.1, [50, 50, 450, 450]), 0.6240296741);
    close(once(half, 0.1, [80, 20, 450, 450]), 857470.1118);
    close(once(half, 0.1, [160, 40, 900, 900]), 6.12427685e12);
    close(once(half, 0.1, [40, 60, 450, 450]), 0.5474189218);
    let tail = margins(1.0, 0.0, 0.01);
    close(once(tail, 0.1, [1, 99, 9, 891]), 0.6545103835);
    close(once(tail, 0.1, [10, 190, 18, 1782]), 73.44703313);
    close(once(tail, 0.1, [40, 360, 36, 3564]), 5.22101003e17);
}

#[test]
fn g7_the_metrics_are_combined() {
    let mut cells = Cells::default();
    cells.rows[0] = row([3, 97, 0, 900], [0, 0]);
    cells.rows[2] = row([80, 20, 450, 450], [0, 0]);
    let mut comparator = Comparator::new(Rules::default());
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    comparator.observe(0, &cells);
    let found = comparator.evaluate(MonoTime::default(), 0);
    close(found.point.by_metric[0], 108.2574884);
    close(found.point.by_metric[2], 857470.1118);
    close(found.point.total, 85812.26567);
    close(comparator.p_value(), 1.165334573e-05);
    let crossing = comparator.crossed().unwrap();
    assert!(crossing.shares[2] > 0.99, "{:?}", crossing.shares);
    close(crossing.shares.iter().sum(), 1.0);
}

#[test]
fn g9_a_green_that_fails_everything_is_caught_at_the_fourth_request() {
    let wanted: [(u32, [f64; 5], f64); 4] = [
        (2, [19.90296033, 0.9658970147, 1.694320254, 21.41461258, 21.41461258], 16.49072044),
        (3, [153.9711342, 0.9500436264, 2.509998568, 181.9343184, 181.9343184], 129.1155484),
        (4, [1277.204861, 0.934933379, 4.028113242, 1653.699573, 1653.699573], 1097.559135),
        (5, [10890.29109, 0.9205274205, 6.888343083, 15416.58777, 15416.58777], 9618.273095),
    ];
    let mut comparator = Comparator::new(Rules::default());
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    for (n, by_metric, total) in wanted {
        let mut cells = Cells::default();
        for metric in Metric::ALL {
            let bad = if metric == Metric::Client4xx { 0 } else { n };
            cells.rows[metric.index()] = row([bad, n - bad, 0, 0], [0, 0]);
        }
        comparator.observe(0, &cells);
        let found = comparator.evaluate(MonoTime::default(), 0);
        found
            .point
            .by_metric
            .iter()
            .zip(by_metric)
            .for_each(|(found, wanted)| close(*found, wanted));
        close(found.point.total, total);
        assert_eq!(found.crossed, n == 4);
        assert_eq!(comparator.crossed().is_some(), n >= 4, "once crossed, for ever");
    }
}

#[test]
fn abs_the_absolute_process() {
    let wanted: [(f64, [u64; 2], f64); 9] = [
        (0.0144, [1, 0], 15.190176),
        (0.0144, [2, 0], 864.8835724),
        (0.0144, [3, 0], 56886.63368),
        (0.0144, [5, 95], 2.545317411),
        (0.0144, [14, 986], 0.5092413258),
        (0.0144, [40, 960], 362244.8892),
        (0.001, [1, 0], 118.43245),
        (0.001, [2, 0], 108474.7021),
        (0.001, [10, 1990], 282.6816546),
    ];
    for (p0, [bad, ok], wanted) in wanted {
        let table = BetTable::absolute(p0);
        let mut wealth = Wealth::default();
        wealth.enter(0, &table);
        wealth.add(Tally::new(bad, ok, 0, 0));
        close(wealth.value(&table), wanted);
    }
}

#[test]
fn h18_prefixes_with_what_is_in_flight_imputed() {
    let rules = Rules { margins: alone(default_errors()), ..Rules::default() };
    let mut comparator = Comparator::new(rules);
    let data: [(u64, u16, [u32; 4], [u32; 2]); 5] = [
        (0, 1_000, [1, 20, 0, 180], [0, 0]),
        (0, 1_000, [3, 17, 0, 175], [1, 2]),
        (0, 1_000, [2, 19, 1, 170], [0, 5]),
        (1, 2_500, [3, 40, 0, 150], [2, 3]),
        (1, 2_500, [1, 10, 0, 30], [30, 100]),
    ];
    for (number, (epoch, bp, counts, in_flight)) in (0..).zip(data) {
        comparator.open(cohort(number, epoch, bp)).unwrap();
        comparator.observe(number, &errors(counts, in_flight));
    }
    let found = comparator.evaluate(MonoTime::default(), 0);
    let wanted = [1.0, 3.087661911, 26.13767893, 13.43860876, 18.20938196, 0.2500016528];
    for (found, wanted) in comparator.points().zip(wanted) {
        close(found.total, wanted);
    }
    close(found.point.total, 26.13767893);
    assert_eq!(found.point.cohort, Some(1));
}

#[test]
fn h19_and_b3_the_maximum_is_taken_of_the_combination() {
    let other = (margins(1.0, 0.0, 0.0), 0.0);
    let table = MarginTable::new([
        (default_errors(), 0.6),
        other,
        (margins(1.0, 0.0, 0.5), 0.4),
        other,
        other,
    ]);
    let mut comparator = Comparator::new(Rules { margins: table.unwrap(), ..Rules::default() });
    let data: [([u32; 4], [u32; 4]); 3] = [
        ([4, 10, 0, 100], [4, 10, 50, 50]),
        ([0, 10, 3, 90], [12, 1, 20, 80]),
        ([0, 10, 2, 90], [12, 0, 20, 70]),
    ];
    for (number, (errors, slow)) in (0..).zip(data) {
        comparator.open(cohort(number, 0, 1_000)).unwrap();
        let mut cells = Cells::default();
        cells.rows[0] = row(errors, [0, 0]);
        cells.rows[2] = row(slow, [0, 0]);
        comparator.observe(number, &cells);
    }
    let found = comparator.evaluate(MonoTime::default(), 0);
    let wanted = [1.0, 738.2090694, 8.045404288, 392.972734];
    for (found, wanted) in comparator.points().zip(wanted) {
        close(found.total, wanted);
    }
    close(found.point.total, 738.2090694);
    assert!(!found.crossed, "the maxima of the metrics would give 1128 and a false rollback");
    let apart = |metric: usize, omega: f64| {
        omega * comparator.points().map(|point| point.by_metric[metric]).fold(0.0, f64::max)
    };
    close(apart(0, 0.6) + apart(2, 0.4), 1128.259565);
}

#[test]
fn h20_the_ring_folds_in_order_and_forgets_late_outcomes() {
    let margins = alone(default_errors());
    let mut comparator = Comparator::new(Rules { margins, ring: 3, ..Rules::default() });
    let found =
        |comparator: &mut Comparator| comparator.evaluate(MonoTime::default(), 0).point.total;
    let steps: [([u32; 4], [u32; 2], f64); 3] = [
        ([1, 0, 0, 4], [1, 1], 1.211153951),
        ([3, 0, 0, 1], [0, 0], 101.3848444),
        ([2, 0, 0, 0], [0, 0], 5122.526256),
    ];
    for (number, (counts, in_flight, wanted)) in (0..).zip(steps) {
        comparator.open(cohort(number, 0, 1_000)).unwrap();
        assert!(comparator.observe(number, &errors(counts, in_flight)));
        close(found(&mut comparator), wanted);
        comparator.fold();
        assert_eq!(comparator.oldest().unwrap().number, 0, "never past an incomplete cohort");
    }
    comparator.open(cohort(3, 0, 1_000)).unwrap();
    assert_eq!(comparator.oldest().unwrap().number, 1, "the ring is full");
    close(found(&mut comparator), 5122.526256);
    let late = errors([2, 0, 0, 5], [0, 0]);
    assert!(!comparator.observe(0, &late), "a late outcome is dropped");
    close(found(&mut comparator), 5122.526256);
    comparator.fold();
    assert_eq!(comparator.open_cohorts().collect::<Vec<_>>(), [3], "the newest is never folded");
    close(found(&mut comparator), 5122.526256);
}

/// Section 7: consecutive failures of green, none of blue, until `0.6 * E` is 1000.
#[test]
fn b14_so_many_failures_in_a_row_are_needed() {
    let table: [(f64, u64, u64); 11] = [
        (0.01, 3, 3),
        (0.02, 3, 3),
        (0.05, 4, 4),
        (0.1, 5, 4),
        (0.2, 6, 6),
        (0.25, 7, 7),
        (0.5, 14, 13),
        (0.75, 34, 31),
        (0.9, 93, 85),
        (0.95, 190, 173),
        (0.99, 969, 881),
    ];
    for (w, default, strict) in table {
        let needed = |margins| (1..).find(|n| 0.6 * once(margins, w, [*n, 0, 0, 0]) >= 1_000.0);
        assert_eq!(needed(default_errors()), Some(default), "default at {w}");
        assert_eq!(needed(margins(1.0, 0.0, 0.0)), Some(strict), "strict at {w}");
    }
}

/// The same for the first attempt at a revision, which has a part of alpha: what
/// `docs/analysis.md` says.
#[test]
fn b14_the_first_attempt_needs_a_few_more_failures_in_a_row() {
    let boundary = Level::ALPHA.for_attempt(1).boundary();
    for (w, wanted) in [(0.1, 5), (0.5, 15), (0.75, 36), (0.95, 201)] {
        let needed = (1..).find(|n| 0.6 * once(default_errors(), w, [*n, 0, 0, 0]) >= boundary);
        assert_eq!(needed, Some(wanted), "at {w}");
    }
}

/// Section 8.1: every sequence of six requests over two epochs, blue's rate changing from one to
/// the next, green's at the boundary or at half of it.
fn expected(margins: Margins, part: f64) -> f64 {
    let blue = [0.01, 0.6, 0.0, 0.3, 0.9, 0.05];
    let weights = [0.1, 0.5];
    let mut sum = 0.0;
    for sequence in 0..4_usize.pow(6) {
        let (mut probability, mut tallies) = (1.0, [Tally::default(); 2]);
        for (place, p_blue) in blue.iter().enumerate() {
            let w: f64 = weights[place / 3];
            let p_green = part * (margins.rho0() * p_blue + margins.delta());
            let tally = &mut tallies[place / 3];
            let (chance, count) = match (sequence >> (2 * place)) & 3 {
                0 => (w * p_green, &mut tally.green_bad),
                1 => (w * (1.0 - p_green), &mut tally.green_ok),
                2 => ((1.0 - w) * p_blue, &mut tally.blue_bad),
                _ => ((1.0 - w) * (1.0 - p_blue), &mut tally.blue_ok),
            };
            probability *= chance;
            *count += 1;
        }
        sum +=
            probability * evidence(margins, &[(weights[0], tallies[0]), (weights[1], tallies[1])]);
    }
    sum
}

#[test]
fn nobody_wins_at_the_boundary_and_everybody_loses_below() {
    let half = margins(1.0, 0.0, 0.5);
    for (margins, below) in
        [(margins(1.0, 0.0, 0.0), 0.78286), (default_errors(), 0.78040), (half, 0.78215)]
    {
        let fair = expected(margins, 1.0);
        assert!((fair - 1.0).abs() < 1e-12, "{margins:?}: {fair}");
        let found = expected(margins, 0.5);
        assert!((found - below).abs() < 5.1e-6, "{margins:?}: {found}");
    }
}

/// The same for the certificate on its own boundary.
#[test]
fn nobody_wins_a_certificate_at_its_boundary() {
    for (rho1, delta1, centre) in [(1.4, 0.005, 0.0), (1.05, 0.05, 0.1)] {
        let margins = CertificateMargins::new(rho1, delta1, centre).unwrap();
        let table = CertificateTable::new(0.1, margins);
        let mut sum = 0.0;
        for sequence in 0..4_usize.pow(6) {
            let (mut probability, mut tally) = (1.0, Tally::default());
            for (place, p_blue) in [0.01, 0.6, 0.0, 0.3, 0.7, 0.05].iter().enumerate() {
                let p_green = rho1 * p_blue + delta1;
                let (chance, count) = match (sequence >> (2 * place)) & 3 {
                    0 => (0.1 * p_green, &mut tally.green_bad),
                    1 => (0.1 * (1.0 - p_green), &mut tally.green_ok),
                    2 => (0.9 * p_blue, &mut tally.blue_bad),
                    _ => (0.9 * (1.0 - p_blue), &mut tally.blue_ok),
                };
                probability *= chance;
                *count += 1;
            }
            sum += probability * table.value(tally);
        }
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}

#[test]
fn the_sides_of_the_cells_are_not_mixed_up() {
    let mut cells = Cells::default();
    cells.arrive(Side::Green, MetricSet::ALL);
    cells.settle(Metric::Errors, Side::Green, true, Some(0));
    cells.arrive(Side::Blue, MetricSet::ALL);
    cells.settle(Metric::Errors, Side::Blue, false, None);
    assert_eq!(cells.rows[0].known(), Tally::new(1, 0, 0, 1));
    assert_eq!(cells.rows[1].in_flight(), (1, 1));
    assert_eq!(cells.bad_by_endpoint[0][0], 1);
}
