//! Gates: asked at every stage, obeyed by mode and policy, never waited for when they only listen.

use super::*;

use crate::core::model::OnRegression;

fn stages(drive: &Drive) -> Vec<GateStage> {
    drive.calls().map(|call| call.stage).collect()
}

/// The answers in the history: in which step, and whether it was only listened to.
fn heard(drive: &Drive) -> Vec<(u32, bool)> {
    let answers = drive.facts().filter_map(|fact| {
        if let Fact::GateAnswered { step, shadow, .. } = fact {
            Some((*step, *shadow))
        } else {
            None
        }
    });
    answers.collect()
}

#[test]
fn a_gate_is_asked_at_every_stage_in_the_order_of_a_rollout() {
    let mut drive = Drive::started(|spec| {
        let asked: Vec<GateStage> = GateStage::ALL.iter().map(|(_, stage)| *stage).collect();
        spec.gates = vec![gate("g", &asked)];
        spec.steps = vec![shift(1_000, 1), shift(10_000, 1)];
    });
    drive.pass(5);
    assert_eq!(drive.state(), StateName::Succeeded);
    let expected = [
        GateStage::BeforeInstall,
        GateStage::AfterInstall,
        GateStage::AfterAllowTestTraffic,
        GateStage::BeforeAllowTraffic,
        GateStage::BeforeStep,
        GateStage::DuringStep,
        GateStage::BeforeStep,
        GateStage::DuringStep,
        GateStage::AfterAllowTraffic,
        // The final bake watches too.
        GateStage::DuringStep,
    ];
    assert_eq!(stages(&drive), expected);
}

#[test]
fn a_gate_is_told_where_the_rollout_is_and_where_a_pass_leads() {
    let mut drive = Drive::started(|spec| spec.gates = vec![gate("g", &[GateStage::BeforeStep])]);
    drive.pass(25);
    let told: Vec<(u32, u16, u16)> =
        drive.calls().map(|call| (call.step, call.weight.bp(), call.next_weight.bp())).collect();
    assert_eq!(told, [(0, 0, 1_000), (1, 1_000, 5_000), (2, 5_000, 10_000)]);
    let attempts: Vec<u32> = drive.calls().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
}

#[test]
fn fail_ends_the_rollout_at_every_stage_that_can_veto() {
    let check = |stage, state, highest: u16| {
        let mut drive = Drive::with_gate(stage, gate_fail(), |_| {});
        drive.pass(25);
        drive.is(state, 0);
        assert_eq!(drive.weights().into_iter().max(), Some(highest), "{stage}");
        let cause = drive.cause().map(ToString::to_string);
        assert_eq!(cause, Some(format!("gate g at {stage}: budget is burnt")));
    };
    check(GateStage::BeforeInstall, StateName::Failed, 0);
    check(GateStage::AfterInstall, StateName::Failed, 0);
    check(GateStage::AfterAllowTestTraffic, StateName::Failed, 0);
    check(GateStage::BeforeAllowTraffic, StateName::Failed, 0);
    check(GateStage::BeforeStep, StateName::Failed, 0);
    check(GateStage::DuringStep, StateName::RolledBack, 1_000);
    check(GateStage::AfterAllowTraffic, StateName::RolledBack, 10_000);
}

#[test]
fn hold_keeps_the_weight_and_is_asked_about_again() {
    let mut drive = Drive::with_gate(GateStage::BeforeStep, gate_hold(), |_| {});
    assert_eq!(drive.holds(), ["gate"]);
    assert_eq!(drive.rollout.holds()[0].to_string(), "gate g: not yet");
    drive.pass(9);
    assert_eq!(drive.calls().count(), 1);
    drive.pass(1);
    assert_eq!(drive.calls().count(), 2);
    drive.gate_says("g", GateAnswer::Pass);
    drive.pass(9);
    drive.is(StateName::Shifting, 0);
    drive.pass(1);
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn a_gate_says_when_it_is_asked_again_within_bounds() {
    let check = |retry_after: Option<Span>, asked_again_after: Span| {
        let answer = GateAnswer::Hold { reason: "not yet".to_owned(), retry_after };
        let mut drive = Drive::with_gate(GateStage::AfterAllowTestTraffic, answer, |spec| {
            spec.policies.deadlines.testing.after = Span::from_hours(48);
        });
        drive.leap(Span::from_ms(asked_again_after.ms() - 1));
        assert_eq!(drive.calls().count(), 1, "{retry_after:?}");
        drive.leap(Span::from_ms(1));
        assert_eq!(drive.calls().count(), 2, "{retry_after:?}");
    };
    check(None, Span::from_secs(10));
    check(Some(Span::from_secs(3)), Span::from_secs(3));
    check(Some(Span::ZERO), Span::from_secs(1));
    check(Some(Span::from_hours(24)), Span::from_hours(1));
}

#[test]
fn fail_beats_hold_beats_pass() {
    let check = |answers: [GateAnswer; 3], state, green| {
        let names = ["a", "b", "c"];
        let replies = names.into_iter().zip(answers.map(Some)).collect();
        let mut drive = Drive::prepared(replies, |spec| {
            spec.gates = names.map(|name| gate(name, &[GateStage::BeforeStep])).to_vec();
        });
        drive.look();
        drive.is(state, green);
        assert_eq!(drive.calls().count(), 3, "all are asked at once");
    };
    let pass = || GateAnswer::Pass;
    check([pass(), pass(), pass()], StateName::Shifting, 1_000);
    check([pass(), gate_hold(), pass()], StateName::Shifting, 0);
    check([gate_hold(), pass(), gate_fail()], StateName::Failed, 0);
    check([gate_fail(), gate_hold(), pass()], StateName::Failed, 0);
}

#[test]
fn a_gate_error_does_what_the_policy_says() {
    let check = |on_error, state, green, holds: &[&str]| {
        let drive = Drive::with_gate(GateStage::BeforeStep, gate_error(), |spec| {
            spec.gates[0].usage.on_error = on_error;
        });
        drive.is(state, green);
        assert_eq!(drive.holds(), holds);
    };
    check(OnGateError::Hold, StateName::Shifting, 0, &["gate"]);
    check(OnGateError::Rollback, StateName::Failed, 0, &[]);
    check(OnGateError::Ignore, StateName::Shifting, 1_000, &[]);
}

#[test]
fn a_missed_deadline_has_a_policy_of_its_own() {
    let check = |kind, on_error, on_timeout, state| {
        let answer = GateAnswer::Error { kind, text: "no answer within 50ms".to_owned() };
        let drive = Drive::with_gate(GateStage::BeforeStep, answer, |spec| {
            spec.gates[0].usage.on_error = on_error;
            spec.gates[0].usage.on_timeout = on_timeout;
        });
        assert_eq!(drive.state(), state, "{kind:?} {on_error:?} {on_timeout:?}");
    };
    let (late, trap) = (super::super::GateErrorKind::Deadline, super::super::GateErrorKind::Trap);
    let (hold, rollback) = (OnGateError::Hold, OnGateError::Rollback);
    check(late, hold, None, StateName::Shifting);
    check(late, rollback, None, StateName::Failed);
    check(late, rollback, Some(hold), StateName::Shifting);
    check(late, hold, Some(rollback), StateName::Failed);
    check(trap, hold, Some(rollback), StateName::Shifting);
}

#[test]
fn a_shadow_gate_is_recorded_and_never_obeyed() {
    for answer in [GateAnswer::Pass, gate_fail(), gate_hold(), gate_error()] {
        let mut drive = Drive::with_gate(GateStage::BeforeStep, answer.clone(), |spec| {
            spec.gates[0].usage.mode = GateMode::Shadow;
            spec.gates[0].usage.on_error = OnGateError::Rollback;
            spec.gates[0].usage.at.push(GateStage::DuringStep);
        });
        drive.pass(25);
        assert_eq!(drive.weights(), [0, 1_000, 5_000, 10_000], "{answer:?}");
        let steps: Vec<u32> = heard(&drive).iter().map(|(step, _)| *step).collect();
        assert!(heard(&drive).iter().all(|(_, shadow)| *shadow));
        assert!([0, 1, 2].iter().all(|step| steps.contains(step)), "{answer:?}: {steps:?}");
        assert!(!drive.facts().any(|fact| matches!(fact, Fact::AnswerDropped { .. })));
    }
}

#[test]
fn a_shadow_gate_is_not_waited_for() {
    let mut drive = Drive::prepared(BTreeMap::from([("g", None)]), |spec| {
        spec.gates = vec![gate("g", &[GateStage::BeforeStep, GateStage::DuringStep])];
        spec.gates[0].usage.mode = GateMode::Shadow;
    });
    drive.look();
    drive.is(StateName::Shifting, 1_000);
    assert!(drive.holds().is_empty());
    drive.pass(25);
    assert_eq!(drive.state(), StateName::Succeeded);
}

#[test]
fn during_a_step_a_gate_is_asked_again_and_again() {
    let mut drive = Drive::with_gate(GateStage::DuringStep, GateAnswer::Pass, |spec| {
        spec.steps[0] = shift(1_000, 3_600);
    });
    drive.pass(20);
    assert_eq!(drive.calls().count(), 5, "at once, then every 5 s");
    assert_eq!(heard(&drive).len(), 1, "only what is new is recorded");
    drive.gate_says("g", gate_fail());
    drive.pass(4);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(1);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_gate_that_holds_during_a_step_keeps_it_beyond_its_bake() {
    let mut drive = Drive::with_gate(GateStage::DuringStep, gate_hold(), |_| {});
    drive.pass(29);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["gate"]);
    assert_eq!(drive.watched(), Some(Span::from_secs(10)));
    drive.gate_says("g", GateAnswer::Pass);
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn a_gate_that_fails_in_the_final_bake_returns_all_traffic_to_blue() {
    let mut drive = Drive::with_gate(GateStage::DuringStep, GateAnswer::Pass, |spec| {
        spec.final_bake = final_bake(3_600, None);
    });
    drive.pass(30);
    drive.is(StateName::Baking, 10_000);
    drive.gate_says("g", gate_fail());
    drive.pass(5);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_lost_answer_is_asked_for_again_and_the_late_one_is_dropped_and_recorded() {
    let mut drive = Drive::prepared(BTreeMap::from([("g", None)]), |spec| {
        spec.gates = vec![gate("g", &[GateStage::BeforeStep])];
    });
    drive.look();
    assert_eq!(drive.holds(), ["gate-asked"]);
    drive.pass(29);
    assert_eq!(drive.calls().count(), 1);
    drive.pass(1);
    assert_eq!(drive.calls().count(), 2);
    let late = |attempt| Event::GateAnswered {
        gate: "g".parse().expect("valid"),
        attempt,
        answer: GateAnswer::Pass,
        call: Some(Sha256::of(b"what it was told")),
    };
    drive.send(late(1));
    drive.is(StateName::Shifting, 0);
    let dropped = |fact: &Fact| matches!(fact, Fact::AnswerDropped { attempt: 1, .. });
    assert!(drive.facts().any(dropped));
    drive.send(late(2));
    let told = Some(Sha256::of(b"what it was told"));
    assert!(
        drive.facts().any(|fact| matches!(fact, Fact::GateAnswered { call, .. } if *call == told))
    );
    drive.is(StateName::Shifting, 1_000);
    drive.send(late(2));
    assert!(drive.facts().any(|fact| matches!(fact, Fact::AnswerDropped { attempt: 2, .. })));
}

#[test]
fn gates_on_a_rollback_cannot_veto_and_the_second_waits_for_the_record() {
    let mut drive = Drive::started(|spec| {
        spec.gates = vec![gate("g", &[GateStage::OnRollback, GateStage::AfterRollback])];
    });
    drive.gate_says("g", gate_fail());
    drive.pass(11);
    drive.is(StateName::Shifting, 5_000);
    drive.confirms = false;
    drive.say(Verb::Abort);
    assert_eq!(stages(&drive), [GateStage::OnRollback]);
    drive.store_recovers();
    assert_eq!(stages(&drive), [GateStage::OnRollback, GateStage::AfterRollback]);
    assert!(drive.calls().all(|call| call.step == 1 && call.weight == Weight::ZERO));
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn an_overridden_gate_is_obeyed_again_in_the_next_step() {
    let mut drive = Drive::with_gate(GateStage::BeforeStep, gate_fail(), |spec| {
        spec.policies.on_regression = OnRegression::Freeze;
    });
    for green in [1_000, 5_000] {
        assert_eq!(drive.holds(), ["regression"]);
        drive.say(Verb::Resume { override_regression: true });
        drive.is(StateName::Shifting, green);
        drive.pass(10);
        drive.is(StateName::Shifting, green);
    }
}

#[test]
fn a_gate_that_fails_during_another_regression_is_asked_again_after_that() {
    let mut drive = Drive::with_gate(GateStage::BeforeStep, gate_hold(), |spec| {
        spec.policies.on_regression = OnRegression::Freeze;
    });
    drive.alarm(AlarmState::Alarm);
    drive.gate_says("g", gate_fail());
    drive.pass(10);
    drive.alarm(AlarmState::Ok);
    drive.say(Verb::Resume { override_regression: true });
    drive.is(StateName::Shifting, 0);
    drive.pass(10);
    assert_eq!(drive.holds(), ["regression"], "the fail itself was not overridden");
    drive.say(Verb::Resume { override_regression: true });
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn an_overridden_gate_error_does_not_hold() {
    let mut drive = Drive::with_gate(GateStage::BeforeStep, gate_error(), |spec| {
        spec.gates[0].usage.on_error = OnGateError::Rollback;
        spec.policies.on_regression = OnRegression::Freeze;
    });
    assert_eq!(drive.holds(), ["regression"]);
    drive.say(Verb::Resume { override_regression: true });
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn a_fail_under_notify_is_told_and_passed_by() {
    let drive = Drive::with_gate(GateStage::BeforeStep, gate_fail(), |spec| {
        spec.policies.on_regression = OnRegression::Notify;
    });
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.notices().count(), 1);
}
