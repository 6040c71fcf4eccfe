//! What is answered, and for how long it holds: B11 to B14, restarts, re-arming.

use super::*;
use crate::core::analysis::verdict::{Missing, NoComparison, Verdict};

#[test]
fn b11_a_certificate_is_for_one_step_and_rests_on_what_is_known() {
    let mut comparator = Comparator::new(Rules::default());
    let fill = |comparator: &mut Comparator, number: u64, in_flight: u32| {
        let mut cells = Cells::default();
        for row in &mut cells.rows {
            *row = Row {
                green: 1_000,
                blue: 9_000,
                green_ok: 1_000 - in_flight,
                blue_ok: 9_000,
                ..*row
            };
        }
        cells.absolute = cells.rows[0];
        comparator.observe(number, &cells);
        comparator.evaluate(MonoTime::default(), 0);
    };
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    assert_eq!(comparator.verdict(), Verdict::Insufficient { missing: Missing::Green(914) });
    fill(&mut comparator, 0, 20);
    let Verdict::Insufficient { .. } = comparator.verdict() else {
        panic!("20 requests in flight may all fail: {}", comparator.verdict());
    };
    fill(&mut comparator, 0, 0);
    assert_eq!(comparator.verdict(), Verdict::Pass);
    comparator.open(cohort(1, 0, 1_000)).unwrap();
    let mut bad = Cells::default();
    bad.rows[0] = Row { green: 3, green_bad: 3, ..Row::default() };
    comparator.observe(1, &bad);
    comparator.evaluate(MonoTime::default(), 0);
    assert_eq!(comparator.verdict(), Verdict::Pass, "latched inside of the step");
    comparator.open(Cohort { step: 1, ..cohort(2, 0, 1_000) }).unwrap();
    assert!(matches!(comparator.verdict(), Verdict::Insufficient { .. }), "the next step is new");
    fill(&mut comparator, 2, 0);
    assert_eq!(comparator.verdict(), Verdict::Pass);
    comparator.open(Cohort { step: 1, ..cohort(3, 0, 2_500) }).unwrap();
    assert!(matches!(comparator.verdict(), Verdict::Insufficient { .. }), "so is another weight");
}

#[test]
fn b12_the_shown_ratio_covers() {
    let claims_too_much = (0..200).filter(|seed| {
        let mut chance = Chance::new(*seed);
        let mut rules = only(Metric::Errors, Preset::Strict);
        rules.alpha = Level::new(0.05).unwrap();
        // Green fails exactly three times as often.
        let sent: Vec<Sent> = (0..4_000)
            .map(|place| {
                let side = if chance.yes(0.1) { Side::Green } else { Side::Blue };
                let bad = chance.yes(if side == Side::Green { 0.3 } else { 0.1 });
                Sent { cohort: place / 20, side, bad, known: place / 20, target: None }
            })
            .collect();
        let comparator = play(rules, Metric::Errors, &sent, &cohorts(200, 1_000));
        let shown = comparator.ratio_lower_bound();
        assert!(shown.is_some_and(|shown| shown >= 1.0), "seed {seed}: {shown:?}");
        shown.is_some_and(|shown| shown >= 3.0)
    });
    // Expected at most 10; 21 would happen once in 1 500.
    assert!(claims_too_much.count() < 21);
}

#[test]
fn b13_and_b14_what_cannot_be_compared_says_so_and_never_passes() {
    let mut comparator = Comparator::new(Rules::default());
    assert_eq!(comparator.verdict(), Verdict::NoComparison { why: NoComparison::NotBegun });
    for (number, (bp, why)) in (0..).zip([
        (0, NoComparison::GreenHasNothing),
        (1, NoComparison::WeightTooExtreme),
        (9_999, NoComparison::WeightTooExtreme),
        (10_000, NoComparison::GreenHasEverything),
    ]) {
        comparator.open(cohort(number, 0, bp)).unwrap();
        let mut cells = Cells::default();
        cells.rows[0] = Row {
            green: 9_000,
            blue: 9_000,
            green_bad: 4_000,
            green_ok: 5_000,
            blue_ok: 9_000,
            ..Row::default()
        };
        comparator.observe(number, &cells);
        let found = comparator.evaluate(MonoTime::default(), 0);
        assert!(!found.crossed && (found.point.total - 1.0).abs() < 1e-12, "{found:?}");
        assert_eq!(comparator.verdict(), Verdict::NoComparison { why });
    }
    comparator.open(cohort(4, 0, 5_000)).unwrap();
    assert!(matches!(comparator.verdict(), Verdict::Insufficient { .. }));
}

#[test]
fn a_restart_of_the_process_changes_nothing_but_what_was_in_flight() {
    let rules = only(Metric::Errors, Preset::Default);
    let mut chance = Chance::new(9);
    let sent: Vec<Sent> = (0..2_000)
        .map(|place| {
            let side = if chance.yes(0.1) { Side::Green } else { Side::Blue };
            let bad = chance.yes(if side == Side::Green { 0.02 } else { 0.01 });
            Sent { cohort: place / 20, side, bad, known: place / 20, target: None }
        })
        .collect();
    let whole = play(rules, Metric::Errors, &sent, &cohorts(100, 1_000));
    let mut again = Comparator::restore(rules, whole.saved());
    assert_eq!(again.saved(), whole.saved());
    assert_eq!(again.highest(), whole.highest());
    assert_eq!(again.known(), whole.known());
    let last = whole.saved().last().unwrap();
    assert!(again.open(last).is_err(), "numbers are never used twice");
    again.open(cohort(last.number + 1, last.epoch + 1, 1_000)).unwrap();
    let mut cells = Cells::default();
    cells.rows[0] = Row { green: 30, green_bad: 30, ..Row::default() };
    again.observe(last.number + 1, &cells);
    assert!(again.evaluate(MonoTime::default(), 0).crossed);
    assert!(matches!(again.verdict(), Verdict::Fail(_)));
    assert!(matches!(Comparator::restore(rules, again.saved()).verdict(), Verdict::Fail(_)));
}

#[test]
fn an_alarm_that_was_dealt_with_may_be_armed_again() {
    let absolute = Some(AbsoluteRule::for_objective(0.999));
    let mut comparator =
        Comparator::new(Rules { absolute, ..only(Metric::Errors, Preset::Strict) });
    let failing = |count: u32| {
        let absolute = Row { green: count, green_bad: count, ..Row::default() };
        Cells { absolute, ..Cells::default() }
    };
    comparator.open(cohort(0, 0, 10_000)).unwrap();
    comparator.observe(0, &failing(2));
    comparator.evaluate(MonoTime::default(), 0);
    assert_eq!(comparator.absolute_alarm(Side::Green), None);
    comparator.observe(0, &failing(3));
    comparator.evaluate(MonoTime::default(), 0);
    assert!(comparator.absolute_alarm(Side::Green).is_some(), "three requests, at 100 %");
    assert_eq!(comparator.absolute_alarm(Side::Blue), None);
    comparator.rearm(Side::Green);
    comparator.evaluate(MonoTime::default(), 0);
    assert_eq!(comparator.absolute_alarm(Side::Green), None, "what came before does not count");
    comparator.open(cohort(1, 0, 10_000)).unwrap();
    comparator.observe(1, &failing(3));
    comparator.evaluate(MonoTime::default(), 0);
    assert!(comparator.absolute_alarm(Side::Green).is_some());
}

#[test]
fn a_certificate_that_needs_nothing_is_never_given() {
    let nothing = CertificateRule { gating: [None; METRICS], ..CertificateRule::default() };
    let mut comparator = Comparator::new(Rules { certificate: Some(nothing), ..Rules::default() });
    comparator.open(cohort(0, 0, 1_000)).unwrap();
    comparator.evaluate(MonoTime::default(), 0);
    let missing = Missing::NotByStatistics;
    assert_eq!(comparator.verdict(), Verdict::Insufficient { missing });
}

#[test]
fn a_cohort_that_comes_too_late_is_refused() {
    let mut comparator = Comparator::new(Rules::default());
    comparator.open(cohort(5, 0, 1_000)).unwrap();
    assert_eq!(comparator.open(cohort(5, 1, 1_000)), Err(OutOfOrder { found: 5, last: 5 }));
    comparator.open(cohort(9, 0, 2_000)).unwrap();
    assert_eq!(
        comparator.newest().map(|newest| newest.epoch),
        Some(1),
        "a new weight, a new epoch"
    );
    comparator.open(cohort(10, 0, 2_000)).unwrap();
    assert_eq!(comparator.newest().map(|newest| newest.epoch), Some(1), "an epoch never goes back");
}
