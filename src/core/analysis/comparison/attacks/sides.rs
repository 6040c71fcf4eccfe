//! Attacks that treat one side otherwise than the other, or count one cause many times: B4, B5, B7,
//! B8, B9.

use super::*;
use crate::core::analysis::AnswerKind;
use crate::core::analysis::verdict::{Missing, Unavailable, Verdict};

#[test]
fn b4_leaving_a_target_out_takes_nothing_away_from_green() {
    let metric = Metric::LatencyP50;
    for seed in 0..10 {
        let sent = alike(&mut Chance::new(seed), 0.4, 6_000, 50);
        let rules = Rules { leave_one_out_from: Some(3), ..only(metric, Preset::Default) };
        let comparator = play(rules, metric, &sent, &cohorts(120, 1_000));
        assert!(comparator.crossed().is_none(), "everybody got faster, seed {seed}");
    }
}

/// Green's requests all fail, one target after the other or one alone.
fn failing(count: u64, target: impl Fn(u64) -> usize) -> (Evaluation, bool) {
    let row =
        |metric: Metric| (MarginTable::default().of(metric), MarginTable::default().omega(metric));
    let margins = MarginTable::new(Metric::ALL.map(row)).unwrap();
    let mut comparator = Comparator::new(Rules { margins, ..Rules::default() });
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    let mut cells = Cells::default();
    for place in 0..count {
        cells.rows[0].arrive(Side::Green);
        cells.settle(Metric::Errors, Side::Green, true, Some(target(place)));
    }
    comparator.observe(0, &cells);
    (comparator.evaluate(MonoTime::default(), 3), comparator.crossed().is_some())
}

#[test]
fn b4_a_version_that_fails_is_told_from_a_target_that_does() {
    let needed = (1..20).find(|count| failing(*count, |place| place as usize % 3).1);
    assert_eq!(needed, Some(8), "three failures more than without leave-one-out");
    let (found, crossed) = failing(500, |_| 2);
    assert!(found.point.total >= 1_000.0 && !crossed);
    assert_eq!(found.suspect, Some(2));
    let (found, crossed) = failing(500, |_| 2 + ENDPOINTS);
    assert!(!crossed, "targets that share a place are left out together");
    assert_eq!(found.suspect, Some(2));
}

#[test]
fn b5_a_warm_up_silences_both_sides() {
    let metric = Metric::LatencyP50;
    let mut chance = Chance::new(5);
    let mut sent = alike(&mut chance, 0.4, 6_000, 50);
    // Whoever drops green's latencies while green warms up leaves blue's good ones in.
    sent.retain(|sent| sent.side == Side::Blue);
    let rules = only(metric, Preset::Default);
    let awake = cohorts(120, 1_000);
    let warming: Vec<Cohort> =
        awake.iter().map(|cohort| Cohort { dormant: MetricSet::LATENCIES, ..*cohort }).collect();
    assert!(play(rules, metric, &sent, &awake).crossed().is_some(), "it has teeth");
    let comparator = play(rules, metric, &sent, &warming);
    assert!(comparator.crossed().is_none());
    assert_eq!(comparator.highest(), 1.0);
}

/// One green and nine blue hosts that are alike; each crashes now and then and takes the next 20
/// requests with it.
fn crashing_hosts() -> impl FnMut(&mut Chance, Arrival) -> Answer {
    let mut broken = [0_u32; 10];
    move |chance, arrival| {
        let host = match arrival.side {
            Side::Green => 0,
            Side::Blue => 1 + (chance.bits() % 9) as usize,
        };
        if chance.yes(1.0 / 4_000.0) {
            broken[host] = 20;
        }
        let failed = broken[host] > 0;
        broken[host] = broken[host].saturating_sub(1);
        let kind = if failed { AnswerKind::Error } else { AnswerKind::Ok };
        let after_us = chance.exponential(5_000.0) as u64;
        Answer { after_us, kind, target: (host == 0).then_some(0) }
    }
}

/// What the guard gives, measured: with 20 runs of 20 s each, 9 false rollbacks in 20 become none.
#[test]
fn b7_hosts_that_fail_in_clusters_are_what_the_guard_is_for() {
    let back = |guard: ClusterGuard| {
        let trial = Trial { guard, ..strict_trial(1_000.0, 20) };
        (0..20).filter(|seed| trial.run(*seed, crashing_hosts()).rolled_back_us.is_some()).count()
    };
    let without = back(ClusterGuard::new(Span::ZERO));
    assert!(without >= 4, "not covered by the guarantee: {without} of 20");
    assert_eq!(back(ClusterGuard::default()), 0);
    // A green that never answered well is caught as before.
    let trial = Trial { guard: ClusterGuard::default(), ..strict_trial(1_000.0, 20) };
    let report = trial.run(1, |chance, arrival| {
        let failed = arrival.side == Side::Green;
        let kind = if failed { AnswerKind::Error } else { AnswerKind::Ok };
        Answer { after_us: chance.exponential(5_000.0) as u64, kind, target: failed.then_some(0) }
    });
    assert!(report.rolled_back_us.is_some_and(|at| at < 500_000), "{report:?}");
}

/// B8 is a condition and no fault that an engine could mend: here the outcome of an open request
/// depends on the flip of a later one, and the bet is not fair.
#[test]
fn b8_what_later_flips_decide_is_outside_of_the_guarantee() {
    let strict = Margins::new(1.0, 0.0, 0.0).unwrap();
    for (w, wanted) in [(0.5, 1.49), (0.1, 1.875)] {
        let table = BetTable::against(w, strict);
        let unfair = |bet: usize| {
            let [green, _, blue, _] = table.row(bet).map(f64::exp);
            // The later request always fails; the earlier one does if both went to one side.
            w * w * green * green + w * (1.0 - w) * (green + blue) + (1.0 - w).powi(2) * blue * blue
        };
        let found = (0..BETS).map(unfair).fold(0.0, f64::max);
        assert!((found - wanted).abs() < 0.01, "{w}: {found}");
    }
}

/// Thirty users with broken clients, each pinned to a side, send fifty failures each; so do
/// healthy users with a failure now and then.
fn poison(chance: &mut Chance, units: &mut SeenUnits, once: bool) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..30 {
        let key = (chance.bits(), chance.bits());
        let green = chance.yes(0.1);
        for _ in 0..50 {
            if !units.insert(key) && once {
                continue;
            }
            *(if green { &mut tally.green_bad } else { &mut tally.blue_bad }) += 1;
        }
    }
    tally
}

#[test]
fn b9_a_sticky_user_is_one_datum_in_a_whole_rollout() {
    let back = |once: bool| {
        let run = |seed: u64| {
            let mut chance = Chance::new(seed);
            let mut units = SeenUnits::new();
            let mut rules = only(Metric::Errors, Preset::Strict);
            rules.margins = rules.margins.for_units();
            let mut comparator = Comparator::new(rules);
            // The same users come back in every epoch: nothing is forgotten in between.
            for epoch in 0..10 {
                let mut again = Chance::new(seed);
                let tally = poison(&mut again, &mut units, once);
                comparator.open(cohort(epoch, epoch, 1_000)).unwrap();
                let mut cells = Cells::default();
                for _ in 0..tally.green_bad {
                    cells.rows[0].arrive(Side::Green);
                    cells.rows[0].settle(Side::Green, true);
                }
                for _ in 0..tally.blue_bad {
                    cells.rows[0].arrive(Side::Blue);
                    cells.rows[0].settle(Side::Blue, true);
                }
                comparator.observe(epoch, &cells);
                comparator.evaluate(MonoTime::default(), 0);
                chance.bits();
            }
            comparator.crossed().is_some()
        };
        (0..60).filter(|seed| run(*seed)).count()
    };
    assert!(back(false) > 15, "it has teeth");
    assert_eq!(back(true), 0);
}

#[test]
fn b9_lost_units_end_the_comparison_and_sticky_services_get_no_certificate() {
    let rules = Rules { certificate: None, ..Rules::default() };
    let mut comparator = Comparator::new(rules);
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    let without = Verdict::Insufficient { missing: Missing::NotByStatistics };
    assert_eq!(comparator.verdict(), without);
    comparator.open(Cohort { dormant: MetricSet::ALL, ..cohort(1, 0, 1_000) }).unwrap();
    assert_eq!(comparator.verdict(), Verdict::Unavailable { why: Unavailable::UnitsForgotten });
}
