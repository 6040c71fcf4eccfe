//! Rollouts as somebody might configure them, drawn at random.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt as _};
use tidegate::core::model::{
    AnalysisTerms, Approval, Deadline, DeadlineAction, Deadlines, FinalBake, GateMode, GateStage,
    GateUse, HealthFloor, OnApprovalTimeout, OnGateError, OnInsufficient, OnMissingEvidence,
    OnRegression, ParamsText, Policies, Salt, Sha256, Shift, Span, Step, Strategy, WallTime,
    Weight,
};
use tidegate::core::rollout::{Actor, Assignment, BoundGate, Spec, WatchedAlarm};

/// How much time the deadlines leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So little that they pass now and then.
    Hasty,
    /// So much that only what waits for ever runs into them.
    Patient,
}

pub(crate) fn draw<T: Copy>(rng: &mut SmallRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

/// A rollout that asks for nothing and moves everything at once.
pub(crate) fn plain() -> Spec {
    Spec {
        id: "d-AAAAAAAAA".parse().expect("an id"),
        rollback_id: "d-BBBBBBBBB".parse().expect("an id"),
        service: "shop".parse().expect("a name"),
        blue: "shop-a".parse().expect("a name"),
        green: "shop-b".parse().expect("a name"),
        blue_revision: None,
        green_revision: "v2".parse().expect("a revision"),
        strategy: "sim".parse().expect("a name"),
        steps: vec![Step::Shift(Shift::timed(Weight::FULL, Span::ZERO))],
        final_bake: FinalBake::default(),
        gates: Vec::new(),
        alarms: Vec::new(),
        policies: Policies { min_green: 0, ..Policies::default() },
        salt: Salt { k0: 1, k1: 2 },
        description: String::new(),
        created: WallTime::from_ms(0),
        created_by: Actor { name: "sim".to_owned(), origin: "test".to_owned() },
        analysis: AnalysisTerms::default(),
        assignment: Assignment::default(),
    }
}

/// A rollout as it may be.
pub(crate) fn spec(rng: &mut SmallRng, pace: Pace) -> Spec {
    let strategy = "sim".parse().expect("a name");
    let final_bake = final_bake(rng);
    let steps = Strategy::new(strategy, steps(rng, pace), Some(final_bake))
        .expect("weights grow and the last step is the whole")
        .steps()
        .to_vec();
    let (gates, alarms) = (rng.random_range(0..=3), rng.random_range(0..=2));
    Spec {
        steps,
        final_bake,
        gates: ["one", "two", "three"][..gates].iter().map(|name| gate(name, rng)).collect(),
        alarms: ["errors", "latency"][..alarms].iter().map(|name| alarm(name, rng)).collect(),
        policies: policies(rng, pace, final_bake),
        salt: Salt { k0: 1, k1: rng.next_u64() },
        ..plain()
    }
}

fn steps(rng: &mut SmallRng, pace: Pace) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut weight = Weight::ZERO;
    while weight < Weight::FULL {
        if rng.random_ratio(1, 6) {
            let on_timeout = draw(
                rng,
                &[
                    OnApprovalTimeout::Rollback,
                    OnApprovalTimeout::Stop,
                    OnApprovalTimeout::Continue,
                ],
            );
            let timeout = Span::from_secs(match pace {
                Pace::Hasty => rng.random_range(1..20),
                Pace::Patient => 60,
            });
            steps.push(Step::Approval(Approval { timeout, on_timeout }));
        }
        let more = Weight::from_bp(rng.random_range(100..=6_000)).expect("a weight");
        weight = if steps.len() < 5 { weight.saturating_add(more) } else { Weight::FULL };
        let samples = rng.random_ratio(1, 5).then(|| rng.random_range(1..50));
        let evidence_pass = rng.random_ratio(1, 8);
        let bakes: &[u64] = match pace {
            Pace::Hasty => &[0, 0, 700, 3_000, 10_000],
            // So long that somebody looks before it is over, wherever it was interrupted.
            Pace::Patient if samples.is_some() || evidence_pass => &[10_000],
            Pace::Patient => &[3_000, 10_000],
        };
        let bake = Span::from_ms(draw(rng, bakes));
        steps.push(Step::Shift(Shift {
            weight,
            bake,
            samples,
            evidence_pass,
            promote_early: false,
        }));
    }
    steps
}

fn final_bake(rng: &mut SmallRng) -> FinalBake {
    let length = Span::from_ms(draw(rng, &[0, 1_000, 8_000]));
    let keep_blue = rng
        .random_ratio(1, 4)
        .then(|| Weight::from_bp(rng.random_range(1_000..8_000)).expect("a weight"));
    FinalBake { length, keep_blue }
}

fn gate(name: &str, rng: &mut SmallRng) -> BoundGate {
    let stages = rng.random_range(1..=4);
    let mut at: Vec<_> =
        (0..stages).map(|_| draw(rng, &GateStage::ALL.map(|(_, stage)| stage))).collect();
    at.sort();
    at.dedup();
    let mode = if rng.random_ratio(1, 6) { GateMode::Shadow } else { GateMode::Enforce };
    let on_error = draw(rng, &[OnGateError::Hold, OnGateError::Rollback, OnGateError::Ignore]);
    let every = Span::from_secs(rng.random_range(1..5));
    bound(GateUse { on_error, every, mode, ..asked_at(name, at) })
}

/// A gate that is obeyed at some stages.
pub(crate) fn asked_at(name: &str, at: Vec<GateStage>) -> GateUse {
    GateUse {
        gate: name.parse().expect("a name"),
        at,
        params: ParamsText::default(),
        on_error: OnGateError::Hold,
        every: Span::from_secs(10),
        mode: GateMode::Enforce,
        on_timeout: None,
    }
}

/// A gate with some component.
pub(crate) fn bound(usage: GateUse) -> BoundGate {
    BoundGate { usage, digest: Sha256::from_bytes([7; 32]) }
}

fn alarm(name: &str, rng: &mut SmallRng) -> WatchedAlarm {
    let on_insufficient = draw(rng, &[OnInsufficient::Hold, OnInsufficient::Ignore]);
    WatchedAlarm { name: name.parse().expect("a name"), on_insufficient, source: None }
}

fn policies(rng: &mut SmallRng, pace: Pace, final_bake: FinalBake) -> Policies {
    Policies {
        on_regression: draw(
            rng,
            &[
                OnRegression::Rollback,
                OnRegression::Freeze,
                OnRegression::Freeze,
                OnRegression::Notify,
            ],
        ),
        on_insufficient: draw(
            rng,
            &[
                OnMissingEvidence::Hold,
                OnMissingEvidence::Hold,
                OnMissingEvidence::Promote,
                OnMissingEvidence::Rollback,
            ],
        ),
        min_green: draw(rng, &[0, 1, 1, 5]),
        health_floor: HealthFloor::default(),
        start_healthy: Weight::FULL,
        final_bake,
        deadlines: deadlines(rng, pace),
    }
}

fn deadlines(rng: &mut SmallRng, pace: Pace) -> Deadlines {
    let after = |rng: &mut SmallRng| match pace {
        Pace::Hasty => Span::from_secs(rng.random_range(5..90)),
        Pace::Patient => Span::from_secs(100),
    };
    let early = |rng: &mut SmallRng| Deadline { after: after(rng), action: DeadlineAction::Fail };
    let actions = [DeadlineAction::Rollback, DeadlineAction::Rollback, DeadlineAction::Stop];
    Deadlines {
        created: early(rng),
        installing: early(rng),
        testing: early(rng),
        ready: early(rng),
        hold: Deadline { after: after(rng), action: draw(rng, &actions) },
        whole: Deadline {
            after: match pace {
                Pace::Hasty => Span::from_secs(rng.random_range(60..=600)),
                Pace::Patient => Span::from_mins(30),
            },
            action: draw(rng, &actions),
        },
    }
}
