//! Kinds of healthy traffic, each a way in which threshold checkers or naive tests fail.
//!
//! In all of them green is exactly as good as blue.

use tidegate::core::analysis::comparison::{
    Chance, ClusterGuard, MarginTable, Metric, Preset, Rules,
};
use tidegate::core::analysis::{Answer, AnswerKind, Arrival, Trial};
use tidegate::core::model::{Side, Span, Weight};

/// A rollout with five steps of 50 s.
pub(crate) fn rollout(rate: f64, rules: Rules) -> Trial {
    let step = |bp: u16| {
        let weight = Weight::from_bp(bp).expect("at most 10 000");
        (weight, Span::from_secs(50))
    };
    Trial {
        rules,
        rate,
        steps: [100, 500, 1_000, 2_500, 5_000].map(step).to_vec(),
        green_targets: 1,
        guard: ClusterGuard::new(Span::ZERO),
        known_before: 2_000,
        users: None,
    }
}

/// All the evidence in the errors and no tolerance: the least favourable rules.
pub(crate) fn strict_errors() -> Rules {
    let row = |metric: Metric| {
        let omega = f64::from(u8::from(metric == Metric::Errors));
        (Preset::Strict.table().of(metric), omega)
    };
    let margins = MarginTable::new(Metric::ALL.map(row)).expect("one metric has all of it");
    Rules { margins, ..Rules::default() }
}

/// A ramp from 0.2 % to 2 % of errors with a cycle on it, latencies that breathe, and a minute in
/// which 30 % fail on both sides.
pub(crate) fn drift_and_outage(chance: &mut Chance, arrival: Arrival) -> Answer {
    let at = arrival.at_us as f64 / 250e6;
    let cycle = 1.0 + 0.5 * (40.0 * at).sin();
    let failing = if in_outage(&arrival) { 0.3 } else { (0.002 + 0.018 * at) * cycle };
    let after_us = chance.log_normal(50_000.0 * cycle, 0.8) as u64;
    answer(failed(chance, failing), after_us)
}

/// 0.1 % of errors, and an outage that green answers in 10 ms and blue after 30 s.
pub(crate) fn hostile_outage(chance: &mut Chance, arrival: Arrival) -> Answer {
    if in_outage(&arrival) && chance.yes(0.3) {
        let after_us = if arrival.side == Side::Green { 10_000 } else { 30_000_000 };
        return answer(AnswerKind::Error, after_us);
    }
    let after_us = chance.log_normal(50_000.0, 0.8) as u64;
    answer(failed(chance, 0.001), after_us)
}

/// The same, but blue hangs until the client goes away after 10 s.
pub(crate) fn aborts_in_an_outage(chance: &mut Chance, arrival: Arrival) -> Answer {
    if in_outage(&arrival) && chance.yes(0.3) {
        return match arrival.side {
            Side::Green => answer(AnswerKind::Error, 1_000_000),
            Side::Blue => answer(AnswerKind::ClientGone, 10_000_000),
        };
    }
    let after_us = chance.log_normal(50_000.0, 0.8) as u64;
    answer(failed(chance, 0.001), after_us)
}

/// All the evidence in the latencies, which are slow before they end.
pub(crate) fn latencies() -> Rules {
    let row = |metric: Metric| {
        let omega = match metric {
            Metric::Errors | Metric::Client4xx => 0.0,
            Metric::LatencyP50 => 0.2,
            Metric::LatencyP90 | Metric::LatencyP99 => 0.4,
        };
        (Preset::Strict.table().of(metric), omega)
    };
    let margins = MarginTable::new(Metric::ALL.map(row)).expect("they have all of it");
    Rules { margins, ..Rules::default() }
}

/// One request in a hundred hangs, until its client goes away after 3 s; in an outage three in ten
/// are bad, of which green's hang and blue's fail at once.
pub(crate) fn hanging(chance: &mut Chance, arrival: Arrival) -> Answer {
    let target = (arrival.side == Side::Green).then_some(0);
    let outage = in_outage(&arrival);
    if chance.yes(if outage { 0.3 } else { 0.01 }) {
        let hangs = answer(AnswerKind::ClientGone, 3_000_000);
        return match arrival.side {
            Side::Blue if outage => answer(AnswerKind::Error, 10_000),
            Side::Green | Side::Blue => Answer { target, ..hangs },
        };
    }
    let after_us = chance.log_normal(50_000.0, 0.8) as u64;
    Answer { target, ..answer(AnswerKind::Ok, after_us) }
}

/// Sticky users of whom one in ten has a broken client that always fails.
pub(crate) fn poison_users(chance: &mut Chance, arrival: Arrival) -> Answer {
    let poison = arrival.user.is_some_and(|user| user.is_multiple_of(10));
    let after_us = chance.log_normal(50_000.0, 0.8) as u64;
    answer(failed(chance, if poison { 1.0 } else { 0.001 }), after_us)
}

/// Ten hosts that are alike, one of them green's, of which each crashes now and then and takes the
/// next 20 requests with it. The guarantee does not cover this (B7).
pub(crate) fn crashing_hosts() -> impl FnMut(&mut Chance, Arrival) -> Answer {
    let mut broken = [0_u32; 10];
    move |chance, arrival| {
        let host = match arrival.side {
            Side::Green => 0,
            Side::Blue => 1 + (chance.bits() % 9) as usize,
        };
        if chance.yes(1.0 / 2_000.0) {
            broken[host] = 20;
        }
        let kind = if broken[host] > 0 { AnswerKind::Error } else { AnswerKind::Ok };
        broken[host] = broken[host].saturating_sub(1);
        let after_us = chance.exponential(5_000.0) as u64;
        Answer { target: (host == 0).then_some(0), ..answer(kind, after_us) }
    }
}

fn in_outage(arrival: &Arrival) -> bool {
    (100_000_000..160_000_000).contains(&arrival.at_us)
}

fn failed(chance: &mut Chance, probability: f64) -> AnswerKind {
    if chance.yes(probability) { AnswerKind::Error } else { AnswerKind::Ok }
}

fn answer(kind: AnswerKind, after_us: u64) -> Answer {
    Answer { after_us, kind, target: None }
}
