//! Attacks by requests that are not answered: what is slow by its age already is moved before it
//! ends, and must not be worth more than it is in truth (section 5, C1, B4).

use super::*;
use crate::core::analysis::AnswerKind;
use crate::core::analysis::thresholds::{Threshold, Thresholds};

/// Longer than this is slow, on either side.
const SLOW_MS: u64 = 277;

fn thresholds() -> Thresholds {
    let slow = Threshold { blue_us: 1_000 * SLOW_MS, green_us: 1_000 * SLOW_MS };
    Thresholds { each: [Some(slow); 3] }
}

fn at_tick(tick: u64) -> MonoTime {
    MonoTime::from_ms(100 * tick)
}

/// In each of the first cohorts a request to each of green's three targets and 27 to blue, which
/// are answered well at once but for what hangs; what each tick finds, up to the rollback.
fn hang(targets: &[usize], is_blue_hanging: bool) -> (Vec<Evaluation>, Comparator) {
    let mut comparator = Comparator::new(Rules::default());
    comparator.time_by(&thresholds());
    let mut found = Vec::new();
    for tick in 0..40 {
        comparator.open(cohort(tick, 0, 1_000)).unwrap();
        let mut cells = Cells::default();
        let answer = |cells: &mut Cells, side: Side, target: Option<usize>| {
            Metric::ALL.into_iter().for_each(|metric| cells.settle(metric, side, false, target));
            cells.absolute.settle(side, false);
        };
        for target in 0..3 {
            cells.arrive(Side::Green, MetricSet::ALL);
            cells.write(target);
            if !targets.contains(&target) {
                answer(&mut cells, Side::Green, Some(target));
                cells.time(target);
            }
        }
        for _ in 0..27 {
            cells.arrive(Side::Blue, MetricSet::ALL);
            if !is_blue_hanging {
                answer(&mut cells, Side::Blue, None);
            }
        }
        comparator.observe(tick, &cells);
        found.push(comparator.evaluate(at_tick(tick), 3));
        if comparator.crossed().is_some() {
            break;
        }
    }
    (found, comparator)
}

#[test]
fn a_green_that_hangs_is_found_as_soon_as_it_is_slow() {
    let (found, comparator) = hang(&[0, 1, 2], false);
    // Opened, seen at rest, and the margin: 300 ms and what is slow.
    let before = found.iter().take(5).all(|found| found.point.total <= 1.0);
    assert!(before && (6..10).contains(&found.len()), "{found:?}");
    let crossing = comparator.crossed().expect("green hangs");
    let tallies = crossing.tallies;
    assert_eq!(tallies[Metric::Errors.index()].green_bad, 0, "nothing has failed");
    for metric in Metric::LATENCIES {
        assert!(tallies[metric.index()].green_bad >= 3, "what a person can check: {crossing:?}");
    }
}

#[test]
fn where_blue_hangs_as_well_nothing_speaks_against_green() {
    let (found, _) = hang(&[0, 1, 2], true);
    assert_eq!(found.len(), 40);
    assert!(found.iter().all(|found| found.point.total <= 1.0), "{:?}", found.last());
}

#[test]
fn b4_one_host_that_hangs_is_named_and_is_no_bad_version() {
    let (found, comparator) = hang(&[1], false);
    assert!(comparator.crossed().is_none());
    let last = found.last().expect("40 looks");
    assert!(last.point.total >= 1_000.0, "{last:?}");
    assert_eq!(last.suspect, Some(1));
}

/// Section 8.1 with what hangs: every sequence of four requests, green's slow ones never answered;
/// looked at as soon as they are there, and when they have hung for a while.
#[test]
fn nobody_wins_at_the_boundary_by_hanging() {
    let margins = Preset::Strict.table().of(Metric::LatencyP50);
    let blue = [0.3, 0.6, 0.05, 0.9];
    let mut expected = [0.0; 2];
    for sequence in 0..4_usize.pow(4) {
        let mut comparator = Comparator::new(only(Metric::LatencyP50, Preset::Strict));
        comparator.time_by(&thresholds());
        let mut probability = 1.0;
        let mut seen = [0.0; 2];
        for tick in 0..12_u64 {
            if let Some(p_blue) = blue.get(tick as usize) {
                let p_green = margins.rho0() * p_blue + margins.delta();
                let kind = (sequence >> (2 * tick)) & 3;
                let side = if kind < 2 { Side::Green } else { Side::Blue };
                let bad = kind % 2 == 0;
                let (drawn, slow) = match side {
                    Side::Green => (0.1, p_green),
                    Side::Blue => (0.9, *p_blue),
                };
                probability *= drawn * if bad { slow } else { 1.0 - slow };
                let mut cells = Cells::default();
                cells.rows[Metric::LatencyP50.index()].arrive(side);
                match (side, bad) {
                    (Side::Green, true) => cells.write(0),
                    (Side::Green, false) | (Side::Blue, _) => {
                        cells.settle(Metric::LatencyP50, side, bad, None);
                    }
                }
                comparator.open(cohort(tick, 0, 1_000)).unwrap();
                comparator.observe(tick, &cells);
            }
            comparator.evaluate(at_tick(tick), 0);
            let last = comparator.points().last().expect("one is open").total;
            seen[usize::from(tick > 3)] = last;
        }
        for (expected, seen) in expected.iter_mut().zip(seen) {
            *expected += probability * seen;
        }
    }
    assert!((expected[1] - 1.0).abs() < 1e-12, "{expected:?}");
    assert!(expected[0] < 0.99, "before that green's are ok: {expected:?}");
}

/// C1 as a property, with what hangs: the evidence never exceeds the largest that the arrival order
/// has with every outcome known at once, and comes nearer to it than without.
#[test]
fn the_evidence_never_exceeds_that_of_the_arrival_order_although_what_hangs_is_moved() {
    let mut chance = Chance::new(23);
    let mut nearer = 0;
    for run in 0..200 {
        let metric = Metric::LATENCIES[run % 3];
        let cohorts = cohorts(60 + chance.bits() % 60, 1_000);
        let slow = if chance.yes(0.5) { Side::Green } else { Side::Blue };
        let mut sent = Vec::new();
        for cohort in &cohorts {
            for _ in 0..chance.bits() % 12 {
                let side = if chance.yes(0.1) { Side::Green } else { Side::Blue };
                let ticks = chance.exponential(if side == slow { 25.0 } else { 1.0 }) as u64;
                let (is_never, fails) = (chance.yes(0.02), chance.yes(0.1));
                let known = if is_never { u64::MAX } else { cohort.number + ticks };
                let bad = is_never || fails || 100 * ticks > SLOW_MS;
                let target = (side == Side::Green).then_some((chance.bits() % 3) as usize);
                sent.push(Sent { cohort: cohort.number, side, bad, known, target });
            }
        }
        let ring = 5 + (chance.bits() % 200) as usize;
        let rules = Rules { ring, ..only(metric, Preset::Default) };
        let seen = play_by(&thresholds(), rules, metric, &sent, &cohorts);
        let unmoved = play(rules, metric, &sent, &cohorts);
        let mut all = sent;
        all.iter_mut().for_each(|sent| sent.known = sent.cohort);
        let truth = play(Rules { ring: 1_000, ..rules }, metric, &all, &cohorts);
        let ratio = seen.highest() / truth.highest();
        assert!(ratio <= 1.0 + 1e-12, "run {run}: {ratio}");
        nearer += usize::from(seen.highest() > unmoved.highest() * 1.01);
    }
    assert!(nearer > 20, "moving matters: {nearer}");
}

/// A rollout at 10 % with a past that says what is slow.
fn trial(rules: Rules, secs: u64) -> Trial {
    Trial {
        rules,
        guard: ClusterGuard::default(),
        known_before: 2_000,
        ..strict_trial(100.0, secs)
    }
}

/// A part of the requests of green hangs for a minute; all others are answered well.
fn hangs(part: f64, chance: &mut Chance, arrival: Arrival) -> Answer {
    let target = (arrival.side == Side::Green).then_some(0);
    if arrival.side == Side::Green && chance.yes(part) {
        return Answer { after_us: 60_000_000, kind: AnswerKind::Error, target };
    }
    let after_us = chance.log_normal(50_000.0, 0.8) as u64;
    Answer { after_us, kind: AnswerKind::Ok, target }
}

#[test]
fn a_green_that_hangs_is_taken_back_long_before_its_requests_end() {
    for (part, most_us) in [(1.0, 4_000_000), (0.3, 12_000_000)] {
        for seed in 0..10 {
            let report = trial(Rules::default(), 20)
                .run(seed, |chance, arrival| hangs(part, chance, arrival));
            let back = report.rolled_back_us.expect("it hangs");
            assert!(back < most_us, "{part}, seed {seed}: {back} µs");
        }
    }
}

#[test]
fn sides_that_hang_alike_until_the_client_leaves_take_nothing_back() {
    let row = |metric: Metric| {
        let omega = match metric {
            Metric::Errors | Metric::Client4xx => 0.0,
            Metric::LatencyP50 => 0.2,
            Metric::LatencyP90 | Metric::LatencyP99 => 0.4,
        };
        (Preset::Strict.table().of(metric), omega)
    };
    let margins = MarginTable::new(Metric::ALL.map(row)).unwrap();
    let rules = Rules { margins, leave_one_out_from: None, ..Rules::default() };
    let alike = |chance: &mut Chance, arrival: Arrival| {
        let target = (arrival.side == Side::Green).then_some(0);
        if chance.yes(0.1) {
            return Answer { after_us: 3_000_000, kind: AnswerKind::ClientGone, target };
        }
        let after_us = chance.log_normal(50_000.0, 0.8) as u64;
        Answer { after_us, kind: AnswerKind::Ok, target }
    };
    assert_eq!(rolled_back(8, &trial(rules, 40), alike), 0);
}
