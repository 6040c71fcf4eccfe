//! Attacks on the order of arrival and on what is in flight: B1, B2, B6, B10, B15.

use super::*;
use crate::core::analysis::{AnswerKind, TrialReport};

/// Half of all requests fail on both sides; green is fast about it and blue slow.
fn hostile_outage(chance: &mut Chance, arrival: Arrival) -> Answer {
    let failed = chance.yes(0.5);
    let after_us = if arrival.side == Side::Green { 1_000_000 } else { 30_000_000 };
    let kind = if failed { AnswerKind::Error } else { AnswerKind::Ok };
    Answer { after_us, kind, target: None }
}

#[test]
fn b1_an_outage_that_blue_answers_late_rolls_nothing_back() {
    for rate in [10.0, 50.0, 200.0] {
        let trial = strict_trial(rate, 60);
        assert_eq!(rolled_back(6, &trial, hostile_outage), 0, "{rate} a second");
    }
}

#[test]
fn b1_nothing_is_folded_past_an_incomplete_cohort() {
    let mut comparator = Comparator::new(only(Metric::Errors, Preset::Strict));
    for number in 0..50 {
        comparator.open(cohort(number, 0, 1_000)).unwrap();
        let mut cells = Cells::default();
        // Blue hangs in cohort 0 alone; afterwards only green's failures are seen.
        cells.arrive(if number == 0 { Side::Blue } else { Side::Green }, MetricSet::ALL);
        if number > 0 {
            cells.settle(Metric::Errors, Side::Green, number.is_multiple_of(10), None);
        }
        comparator.observe(number, &cells);
        comparator.evaluate(MonoTime::default(), 0);
        comparator.fold();
        assert_eq!(comparator.oldest().map(|oldest| oldest.number), Some(0));
    }
}

/// C1 as a property: whatever is seen in whatever order, the evidence never exceeds the largest
/// that the arrival order has, with every outcome known at once.
#[test]
fn b1_the_evidence_never_exceeds_that_of_the_arrival_order() {
    let mut chance = Chance::new(11);
    let mut tight = 0;
    for run in 0..400 {
        let metric = Metric::ALL[run % METRICS];
        let count = 40 + chance.bits() % 80;
        let mut bp = 1_000;
        let cohorts: Vec<Cohort> = (0..count)
            .map(|number| {
                if chance.yes(0.03) {
                    bp = [100, 500, 1_000, 2_500, 5_000, 10_000][(chance.bits() % 6) as usize];
                }
                let dormant = if chance.yes(0.05) { MetricSet::ALL } else { MetricSet::NONE };
                Cohort { dormant, ..cohort(number, number / 20, bp) }
            })
            .collect();
        let slow = if chance.yes(0.5) { Side::Green } else { Side::Blue };
        let mut sent = Vec::new();
        for cohort in &cohorts {
            for _ in 0..chance.bits() % 12 {
                let green = chance.yes(f64::from(cohort.weight.bp()) / 1e4);
                let side = if green { Side::Green } else { Side::Blue };
                let mean = if side == slow { 25.0 } else { 1.0 };
                let late = chance.exponential(mean) as u64;
                let known = if chance.yes(0.02) { u64::MAX } else { cohort.number + late };
                let bad = chance.yes(if green { 0.5 } else { 0.3 });
                sent.push(Sent { cohort: cohort.number, side, bad, known, target: None });
            }
        }
        let ring = 5 + (chance.bits() % 200) as usize;
        let rules = Rules { ring, ..only(metric, Preset::Default) };
        let seen = play(rules, metric, &sent, &cohorts);
        let mut all = sent;
        all.iter_mut().for_each(|sent| sent.known = sent.cohort);
        let truth = play(Rules { ring: 1_000, ..rules }, metric, &all, &cohorts);
        let ratio = seen.highest() / truth.highest();
        assert!(ratio <= 1.0 + 1e-12, "run {run}: {ratio}");
        tight += usize::from(ratio > 1.0 - 1e-9);
    }
    assert!(tight > 20, "the bound is reached now and then: {tight}");
}

#[test]
fn b2_a_hundred_small_proxies_are_one_large_one() {
    let mut back = 0;
    for seed in 0..4 {
        let (mut chance, mut comparator) =
            (Chance::new(seed), Comparator::new(only(Metric::Errors, Preset::Strict)));
        let mut alone = Comparator::new(only(Metric::Errors, Preset::Strict));
        let mut proxies = vec![vec![Cells::default(); 400]; 100];
        let mut flights: Vec<(u64, usize, u64, Side, bool)> = Vec::new();
        for tick in 0..400_u64 {
            comparator.fold();
            alone.fold();
            comparator.open(cohort(tick, tick / 300, 1_000)).unwrap();
            alone.open(cohort(tick, tick / 300, 1_000)).unwrap();
            for _ in 0..20 {
                let proxy = (chance.bits() % 100) as usize;
                let side = if chance.yes(0.1) { Side::Green } else { Side::Blue };
                proxies[proxy][tick as usize].rows[0].arrive(side);
                let late = if side == Side::Green { 10 } else { 300 };
                flights.push((tick + late, proxy, tick, side, chance.yes(0.5)));
            }
            flights.retain(|(known, proxy, cohort, side, bad)| {
                if *known <= tick {
                    proxies[*proxy][*cohort as usize].settle(Metric::Errors, *side, *bad, None);
                }
                *known > tick
            });
            for late in [0, 10, 300] {
                let Some(number) = tick.checked_sub(late) else {
                    continue;
                };
                let parts = proxies.iter().map(|cells| cells[number as usize]);
                let merged = parts.fold(Cells::default(), |sum, part| sum.plus(&part));
                comparator.observe(number, &merged);
                // The same reading again, and an older one, change nothing.
                comparator.observe(number, &merged);
                comparator.observe(number, &Cells::default());
                alone.observe(number, &merged);
            }
            let found = comparator.evaluate(MonoTime::default(), 0);
            assert_eq!(found, alone.evaluate(MonoTime::default(), 0));
            back += usize::from(found.crossed);
        }
        assert!(comparator.crossed().is_none());
    }
    assert_eq!(back, 0);
}

#[test]
fn b6_clients_that_leave_in_an_outage_are_failures_on_both_sides() {
    let outage = |gone: AnswerKind| {
        move |chance: &mut Chance, arrival: Arrival| {
            let failed = chance.yes(0.5);
            let (after_us, failure) = match arrival.side {
                Side::Green => (1_000_000, AnswerKind::Error),
                Side::Blue => (10_000_000, gone),
            };
            let kind = if failed { failure } else { AnswerKind::Ok };
            Answer { after_us, kind, target: None }
        }
    };
    let trial = strict_trial(200.0, 40);
    assert_eq!(rolled_back(6, &trial, outage(AnswerKind::Ok)), 6, "it has teeth");
    assert_eq!(rolled_back(6, &trial, outage(AnswerKind::ClientGone)), 0);
}

/// The same traffic for an absolute process that takes what is known as it becomes known.
fn alarms_in_order_of_completion(chance: &mut Chance) -> bool {
    let mut known: Vec<(u64, bool)> = (0..5_000)
        .map(|at_ms| {
            let failed = chance.yes(0.01);
            let late = if failed { 5 } else { chance.log_normal(500.0, 0.8) as u64 };
            (at_ms + late, failed)
        })
        .collect();
    known.sort_unstable();
    let table = BetTable::absolute(AbsoluteRule::for_objective(0.999).p0);
    let mut wealth = Wealth::default();
    wealth.enter(0, &table);
    known.iter().any(|(_, failed)| {
        wealth.add(Tally::new(u64::from(*failed), u64::from(!failed), 0, 0));
        wealth.value(&table) >= Level::ALPHA.boundary()
    })
}

#[test]
fn b10_the_absolute_process_reads_in_order_of_arrival_too() {
    let mut trial = strict_trial(1_000.0, 5);
    trial.rules.absolute = Some(AbsoluteRule::for_objective(0.999));
    let alarms = (0..20).filter(|seed| {
        let report: TrialReport = trial.run(*seed, |chance, _| {
            if chance.yes(0.01) {
                Answer { after_us: 5_000, kind: AnswerKind::Error, target: None }
            } else {
                let after_us = chance.log_normal(500_000.0, 0.8) as u64;
                Answer { after_us, kind: AnswerKind::Ok, target: None }
            }
        });
        report.green_alarmed || report.blue_alarmed
    });
    assert_eq!(alarms.count(), 0);
    let hasty = (0..20).filter(|seed| alarms_in_order_of_completion(&mut Chance::new(*seed)));
    assert!(hasty.count() >= 2, "it has teeth: one in four");
    let failing =
        trial.run(1, |_, _| Answer { after_us: 5_000, kind: AnswerKind::Error, target: None });
    assert!(failing.green_alarmed && failing.blue_alarmed);
    assert!(failing.rolled_back_us.is_none(), "both sides alike: the comparison is silent");
    trial.rules.absolute = Some(AbsoluteRule::for_objective(0.9));
    let vacuous =
        trial.run(1, |_, _| Answer { after_us: 5_000, kind: AnswerKind::Error, target: None });
    assert!(!vacuous.green_alarmed, "p0 = 1.44 allows everything");
}

#[test]
fn b15_an_evaluation_costs_what_has_changed() {
    let mut comparator = Comparator::new(Rules::default());
    let mut hung = Cells::default();
    hung.arrive(Side::Blue, MetricSet::ALL);
    for number in 0..Rules::SMALLEST_RING as u64 {
        comparator.open(cohort(number, number / 300, 1_000)).unwrap();
        comparator.observe(number, &hung);
        comparator.evaluate(MonoTime::default(), 0);
    }
    assert_eq!(comparator.open_cohorts().count(), Rules::SMALLEST_RING, "blue hangs for 64 s");
    let before = comparator.evaluated_prefixes();
    assert_eq!(before, Rules::SMALLEST_RING as u64, "each was evaluated once");
    let mut one_more = hung;
    one_more.settle(Metric::Errors, Side::Blue, true, None);
    for _ in 0..100 {
        comparator.observe(637, &one_more);
        comparator.evaluate(MonoTime::default(), 0);
    }
    assert_eq!(comparator.evaluated_prefixes() - before, 3, "the changed one and those after it");
}

#[test]
fn b15_an_evaluation_has_a_bound_and_the_next_ones_finish_it() {
    let mut comparator = Comparator::new(Rules::default());
    let mut cells = Cells::default();
    cells.arrive(Side::Green, MetricSet::ALL);
    for number in 0..Rules::SMALLEST_RING as u64 {
        comparator.open(cohort(number, 0, 1_000)).unwrap();
        comparator.observe(number, &cells);
        comparator.evaluate(MonoTime::default(), 0);
    }
    // The first cohort of all changes, and with it every prefix.
    cells.settle(Metric::Errors, Side::Green, true, None);
    comparator.observe(0, &cells);
    let most = Comparator::MOST_PREFIXES as u64;
    let mut rounds = 0;
    loop {
        let before = comparator.evaluated_prefixes();
        comparator.evaluate(MonoTime::default(), 0);
        let evaluated = comparator.evaluated_prefixes() - before;
        assert!(evaluated <= most, "{evaluated}");
        if evaluated == 0 {
            break;
        }
        rounds += 1;
    }
    assert!((7..40).contains(&rounds), "{rounds}");
    let least = comparator.points().skip(1).map(|point| point.by_metric[0]).fold(9.0, f64::min);
    assert!(least > 1.0, "every prefix saw the failure: {least}");
}
