//! What people and tools say: abort, stop, pause, resume, approve, reject.

use super::*;

use crate::core::rollout::Refusal;

/// A rollout brought to a state by the shortest way.
fn in_state(state: StateName) -> Drive {
    let mut drive = match state {
        StateName::Created => Drive::with_gate(GateStage::BeforeInstall, gate_hold(), |_| {}),
        StateName::Installing => {
            let mut drive = Drive::created(|_| {});
            drive.seen.green = GroupHealth::default();
            drive
        }
        StateName::Testing | StateName::Failed => {
            Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_hold(), |_| {})
        }
        StateName::Ready => Drive::created(|spec| {
            spec.steps.insert(0, approval(60, OnApprovalTimeout::Rollback));
        }),
        StateName::Baking => Drive::created(|spec| spec.final_bake = final_bake(60, None)),
        StateName::Shifting | StateName::Succeeded | StateName::RolledBack | StateName::Stopped => {
            Drive::created(|_| {})
        }
    };
    drive.look();
    match state {
        StateName::Baking | StateName::Succeeded => drive.pass(25),
        StateName::RolledBack | StateName::Failed => drive.say(Verb::Abort),
        StateName::Stopped => drive.say(Verb::Stop),
        StateName::Created
        | StateName::Installing
        | StateName::Testing
        | StateName::Ready
        | StateName::Shifting => {}
    }
    assert_eq!(drive.state(), state);
    drive
}

const VERBS: [Verb; 9] = [
    Verb::Abort,
    Verb::Stop,
    Verb::Pause,
    Verb::Resume { override_regression: false },
    Verb::Resume { override_regression: true },
    Verb::Promote { force: false },
    Verb::Promote { force: true },
    Verb::Approve,
    Verb::Reject,
];

fn letter(result: &Result<(), Refusal>) -> char {
    match result {
        Ok(()) => '+',
        Err(Refusal::Over { .. }) => 'o',
        Err(Refusal::NotNow { .. }) => 'n',
        Err(Refusal::NothingToApprove) => 'a',
        Err(Refusal::ReasonWanted { .. }) => 'r',
        Err(Refusal::Held { .. }) => 'h',
    }
}

#[test]
fn every_state_answers_every_command() {
    // abort, stop, pause, resume, resume with override, promote, promote by force, approve, reject
    let check = |state: StateName, reason: Option<&str>, expected: &str| {
        for (verb, expected) in VERBS.into_iter().zip(expected.chars()) {
            let mut drive = in_state(state);
            let actor = Actor { name: "ann".to_owned(), origin: "api".to_owned() };
            let command = Command { verb, actor, reason: reason.map(str::to_owned) };
            let permitted = drive.rollout.permits(&command);
            assert_eq!(letter(&permitted), expected, "{verb:?} while {state}");
            let (before, exposed) = (drive.rollout.clone(), drive.exposed);
            drive.send(Event::Commanded(command));
            let refused = drive.facts().any(|fact| matches!(fact, Fact::CommandRefused { .. }));
            assert_eq!(refused, permitted.is_err(), "{verb:?} while {state}");
            if refused {
                assert_eq!(drive.rollout.state(), before.state(), "{verb:?} while {state}");
                assert_eq!(drive.exposed, exposed, "{verb:?} while {state}");
            }
        }
    };
    check(StateName::Created, Some("why"), "+++nnnnaa");
    check(StateName::Installing, Some("why"), "+++nnnnaa");
    check(StateName::Testing, Some("why"), "+++nn++aa");
    check(StateName::Ready, Some("why"), "+++nn++++");
    check(StateName::Shifting, Some("why"), "+++nn++aa");
    check(StateName::Baking, Some("why"), "+++nnnnaa");
    for state in StateName::ALL.into_iter().filter(|state| state.is_terminal()) {
        check(state, Some("why"), "ooooooooo");
        check(state, None, "ooooooooo");
    }
    check(StateName::Shifting, None, "+++nr+raa");
    check(StateName::Ready, Some("  "), "+++nr+r++");
}

#[test]
fn abort_lowers_the_table_before_anything_else_happens() {
    let mut drive = in_state(StateName::Shifting);
    let before = drive.effects.len();
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
    assert!(matches!(drive.effects[before], Effect::Expose(_)));
}

#[test]
fn abort_before_there_was_traffic_ends_failed() {
    for state in [StateName::Created, StateName::Installing, StateName::Testing, StateName::Ready] {
        let mut drive = in_state(state);
        drive.say(Verb::Abort);
        drive.is(StateName::Failed, 0);
        assert!(!drive.exposed.green_exists, "{state}");
    }
}

#[test]
fn abort_in_the_final_bake_returns_all_traffic_to_blue() {
    let mut drive = in_state(StateName::Baking);
    drive.is(StateName::Baking, 10_000);
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
    let cause = drive.cause().expect("a person");
    assert_eq!(cause.to_string(), "abort by ann: because");
}

#[test]
fn abort_waits_for_no_store() {
    let mut drive = in_state(StateName::Shifting);
    drive.confirms = false;
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
    drive.send(Event::SaveFailed { reason: "disk full".to_owned() });
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn abort_goes_through_into_a_dead_blue() {
    let mut drive = in_state(StateName::Shifting);
    drive.seen.blue.healthy = 0;
    drive.look();
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_raise_that_is_confirmed_after_an_abort_never_happens() {
    let mut drive = Drive::created(|_| {});
    drive.confirms = false;
    drive.look();
    assert_eq!(drive.holds(), ["store"]);
    drive.say(Verb::Abort);
    drive.store_recovers();
    drive.pass(60);
    // The intention was on its way to the store: somebody may have seen green.
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.weights(), [0]);
}

#[test]
fn stop_keeps_the_split_and_closes_the_test_listeners() {
    for (state, green) in
        [(StateName::Testing, 0), (StateName::Shifting, 1_000), (StateName::Baking, 10_000)]
    {
        let mut drive = in_state(state);
        assert!(drive.exposed.green_exists);
        drive.say(Verb::Stop);
        drive.is(StateName::Stopped, green);
        assert!(!drive.exposed.green_exists);
        drive.alarm(AlarmState::Alarm);
        drive.leap(Span::from_hours(1_000));
        drive.is(StateName::Stopped, green);
        assert!(!drive.effects.contains(&Effect::SwapRoles));
    }
}

#[test]
fn stop_while_a_raise_is_being_saved_keeps_the_weight_before_it() {
    let mut drive = in_state(StateName::Shifting);
    drive.confirms = false;
    drive.pass(10);
    assert_eq!(drive.holds(), ["store"]);
    drive.say(Verb::Stop);
    drive.store_recovers();
    drive.pass(10);
    drive.is(StateName::Stopped, 1_000);
}

#[test]
fn pause_stops_the_clock_of_a_step_until_resume() {
    let mut drive = in_state(StateName::Shifting);
    drive.pass(4);
    drive.say(Verb::Pause);
    drive.pass(30);
    assert_eq!(drive.watched(), Some(Span::from_secs(4)));
    assert_eq!(drive.holds(), ["paused"]);
    drive.is(StateName::Shifting, 1_000);
    drive.say(Verb::Resume { override_regression: false });
    drive.pass(5);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn alarm_while_paused_returns_all_traffic_to_blue() {
    let mut drive = in_state(StateName::Shifting);
    drive.say(Verb::Pause);
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_pause_while_a_raise_is_being_saved_holds_the_raise() {
    let mut drive = Drive::created(|_| {});
    drive.confirms = false;
    drive.look();
    drive.say(Verb::Pause);
    drive.store_recovers();
    drive.pass(3);
    drive.is(StateName::Shifting, 0);
    drive.say(Verb::Resume { override_regression: false });
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn a_pause_before_traffic_keeps_it_from_going_on() {
    let mut drive = Drive::created(|_| {});
    drive.say(Verb::Pause);
    drive.pass(5);
    drive.is(StateName::Created, 0);
    assert_eq!(drive.holds(), ["paused"]);
}

#[test]
fn leading_approvals_are_asked_for_one_by_one_before_the_gates_and_any_traffic() {
    let mut drive = Drive::started(|spec| {
        let yes = approval(60, OnApprovalTimeout::Rollback);
        spec.steps.splice(0..0, [yes, yes]);
        spec.gates = vec![gate("g", &[GateStage::BeforeAllowTraffic])];
    });
    for asked in 1..=2 {
        drive.is(StateName::Ready, 0);
        assert_eq!(drive.holds(), ["approval"]);
        let wanted = |notice: &&Notice| matches!(notice, Notice::ApprovalWanted { .. });
        assert_eq!(drive.notices().filter(wanted).count(), asked);
        assert_eq!(drive.calls().count(), 0);
        drive.say(Verb::Approve);
    }
    assert_eq!(drive.calls().count(), 1);
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn an_approval_between_steps_keeps_the_weight_until_it_is_given() {
    let mut drive = Drive::started(|spec| {
        spec.steps.insert(1, approval(3_600, OnApprovalTimeout::Rollback));
    });
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["approval"]);
    drive.say(Verb::Approve);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn reject_takes_it_back() {
    let mut drive = in_state(StateName::Ready);
    drive.say(Verb::Reject);
    drive.is(StateName::Failed, 0);
    let mut drive = Drive::started(|spec| {
        spec.steps.insert(1, approval(3_600, OnApprovalTimeout::Rollback));
    });
    drive.pass(11);
    drive.say(Verb::Reject);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_given_approval_does_not_pass_by_a_pause() {
    let mut drive = in_state(StateName::Ready);
    drive.say(Verb::Pause);
    drive.say(Verb::Approve);
    drive.pass(5);
    drive.is(StateName::Ready, 0);
    assert_eq!(drive.holds(), ["paused"]);
    drive.say(Verb::Resume { override_regression: false });
    drive.is(StateName::Shifting, 1_000);
}
