//! What gates answer, and when.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate::core::model::Span;
use tidegate::core::rollout::{GateAnswer, GateCall, GateErrorKind};

use crate::plan::draw;

/// One answer under way.
#[derive(Debug)]
pub(crate) struct Reply {
    /// How long it takes.
    pub(crate) after_ms: u64,
    /// What it says.
    pub(crate) answer: GateAnswer,
    /// Whether it is delivered a second time at once.
    pub(crate) twice: bool,
}

/// A gate of a changing world: mostly a pass, now and then none, or too late, or twice.
pub(crate) fn changing(rng: &mut SmallRng, trouble: u32) -> Option<Reply> {
    if rng.random_ratio(trouble, 300) {
        return None;
    }
    let late = rng.random_ratio(trouble, 300);
    let after_ms = if late { rng.random_range(29_000..45_000) } else { rng.random_range(5..1_500) };
    let answer = if rng.random_ratio(trouble, 20) { unwilling(rng) } else { GateAnswer::Pass };
    Some(Reply { after_ms, answer, twice: rng.random_ratio(1, 10) })
}

/// A gate that passes at once.
pub(crate) fn willing(rng: &mut SmallRng) -> Reply {
    Reply { after_ms: rng.random_range(5..200), answer: GateAnswer::Pass, twice: false }
}

/// A gate whose answer depends on nothing but what it is asked.
pub(crate) fn fixed(seed: u64, call: &GateCall, rng: &mut SmallRng) -> Reply {
    let mut own = seed ^ (u64::from(call.step) << 8 | call.stage as u64);
    for byte in call.name().as_str().bytes() {
        own = own.wrapping_mul(31).wrapping_add(byte.into());
    }
    let mut own = SmallRng::seed_from_u64(own);
    let answer = if own.random_ratio(1, 12) { unwilling(&mut own) } else { GateAnswer::Pass };
    Reply { after_ms: rng.random_range(5..300), answer, twice: false }
}

fn unwilling(rng: &mut SmallRng) -> GateAnswer {
    let retry_after = draw(rng, &[None, Some(Span::ZERO), Some(Span::from_secs(5))]);
    match rng.random_range(0..4) {
        0 => GateAnswer::Fail { reason: "no".to_owned() },
        1 => GateAnswer::Error { kind: GateErrorKind::Trap, text: "unreachable".to_owned() },
        _ => GateAnswer::Hold { reason: "not yet".to_owned(), retry_after },
    }
}
