//! Attacks on the guarantee, one for each correction B1 to B15, that have to fail against the
//! engine.
//!
//! Where it is cheap, a test also shows that the attack has teeth: that the same traffic read the
//! wrong way does roll a healthy green back. B3 is in the golden vector H19; the tables of B11, B12
//! and B13 have further tests beside them. What hangs is attacked in `hanging`.

mod answers;
mod hanging;
mod order;
mod sides;

use crate::core::analysis::{Answer, Arrival, Thresholds, Trial};
use crate::core::model::{MonoTime, Side, Span};

use super::golden::{cohort, weight};
use super::*;

/// A request for the driver below.
#[derive(Clone, Copy, Debug)]
struct Sent {
    cohort: u64,
    side: Side,
    bad: bool,
    /// The tick at which the outcome is known; `u64::MAX`: never.
    known: u64,
    target: Option<usize>,
}

impl Sent {
    /// The target of green that it waits for; `None` on blue and without one.
    fn written_to(&self) -> Option<usize> {
        self.target.filter(|_| self.side == Side::Green)
    }
}

/// Rules with all the evidence in the errors, or in one other metric.
fn only(metric: Metric, preset: Preset) -> Rules {
    let row = |other: Metric| (preset.table().of(other), f64::from(u8::from(other == metric)));
    let margins = MarginTable::new(Metric::ALL.map(row)).unwrap();
    Rules { margins, leave_one_out_from: None, ..Rules::default() }
}

/// Plays requests in one metric through a comparison, a tick per cohort, and goes on until every
/// known outcome is in.
fn play(rules: Rules, metric: Metric, sent: &[Sent], cohorts: &[Cohort]) -> Comparator {
    play_by(&Thresholds::default(), rules, metric, sent, cohorts)
}

/// The same where what is open for longer than is slow is moved; green's requests that have a
/// target are written to it at once.
fn play_by(
    thresholds: &Thresholds,
    rules: Rules,
    metric: Metric,
    sent: &[Sent],
    cohorts: &[Cohort],
) -> Comparator {
    let mut comparator = Comparator::new(rules);
    comparator.time_by(thresholds);
    let mut cells = vec![Cells::default(); cohorts.len()];
    let mut by_known: Vec<&Sent> = sent.iter().filter(|sent| sent.known < u64::MAX).collect();
    by_known.sort_by_key(|sent| sent.known);
    let (mut arrived, mut settled) = (0, 0);
    let last = by_known.last().map_or(0, |sent| sent.known).max(cohorts.len() as u64);
    for tick in 0..=last {
        comparator.fold();
        if let Some(next) = cohorts.get(tick as usize) {
            comparator.open(*next).unwrap();
        }
        let mut touched = Vec::new();
        while let Some(next) = sent.get(arrived).filter(|next| next.cohort <= tick) {
            let cells = &mut cells[next.cohort as usize];
            cells.rows[metric.index()].arrive(next.side);
            if let Some(target) = next.written_to() {
                cells.write(target);
            }
            touched.push(next.cohort);
            arrived += 1;
        }
        while let Some(next) = by_known.get(settled).filter(|next| next.known <= tick) {
            let cells = &mut cells[next.cohort as usize];
            cells.settle(metric, next.side, next.bad, next.target);
            if let Some(target) = next.written_to() {
                cells.time(target);
            }
            touched.push(next.cohort);
            settled += 1;
        }
        touched.dedup();
        for cohort in touched {
            comparator.observe(cohort, &cells[cohort as usize]);
        }
        comparator.evaluate(MonoTime::from_ms(100 * tick), 3);
    }
    comparator
}

fn cohorts(count: u64, bp: u16) -> Vec<Cohort> {
    (0..count).map(|number| cohort(number, number / 300, bp)).collect()
}

/// A rollout at 10 % for a while, with errors alone and the strictest margins.
fn strict_trial(rate: f64, secs: u64) -> Trial {
    Trial {
        rules: only(Metric::Errors, Preset::Strict),
        rate,
        steps: vec![(weight(1_000), Span::from_secs(secs))],
        green_targets: 1,
        guard: ClusterGuard::new(Span::ZERO),
        known_before: 0,
        users: None,
    }
}

fn rolled_back(
    runs: u64,
    trial: &Trial,
    mut traffic: impl FnMut(&mut Chance, Arrival) -> Answer,
) -> usize {
    let mut back = |seed| trial.run(seed, &mut traffic).rolled_back_us.is_some();
    (0..runs).filter(|seed| back(*seed)).count()
}

/// Requests that are slow with the same probability on both sides, known at once.
fn alike(chance: &mut Chance, slow: f64, count: usize, per_cohort: usize) -> Vec<Sent> {
    let each = |place: usize| {
        let side = if chance.yes(0.1) { Side::Green } else { Side::Blue };
        let target = (side == Side::Green).then_some(place % 3);
        let cohort = (place / per_cohort) as u64;
        Sent { cohort, side, bad: chance.yes(slow), known: cohort, target }
    };
    (0..count).map(each).collect()
}
