//! Promoting: everything is skipped but the final bake, and nothing goes against a regression
//! unless somebody takes that upon themselves.

use super::*;

use crate::core::model::OnRegression;
use crate::core::rollout::{Evidence, Hold, Refusal};

const PROMOTE: Verb = Verb::Promote { force: false };
const FORCE: Verb = Verb::Promote { force: true };

fn refusal(drive: &Drive, verb: Verb) -> Option<Vec<&'static str>> {
    let actor = Actor { name: "ann".to_owned(), origin: "api".to_owned() };
    let command = Command { verb, actor, reason: Some("because".to_owned()) };
    match drive.rollout.permits(&command) {
        Err(Refusal::Held { holds }) => Some(holds.iter().map(Hold::kind).collect()),
        Ok(()) | Err(_) => None,
    }
}

#[test]
fn promote_skips_bakes_samples_gates_and_approvals_but_not_the_final_bake() {
    let stages =
        [GateStage::BeforeStep, GateStage::AfterAllowTraffic, GateStage::BeforeAllowTraffic];
    let mut drive = Drive::created(|spec| {
        spec.steps = vec![
            Step::Shift(Shift {
                samples: Some(1_000_000),
                evidence_pass: true,
                ..Shift::timed(weight(1_000), Span::from_hours(1))
            }),
            approval(60, OnApprovalTimeout::Rollback),
            shift(10_000, 3_600),
        ];
        spec.gates = vec![gate("g", &stages)];
        spec.final_bake = final_bake(10, None);
    });
    drive.look();
    drive.gate_says("g", gate_hold());
    drive.is(StateName::Shifting, 1_000);
    drive.say(PROMOTE);
    drive.is(StateName::Baking, 10_000);
    drive.pass(9);
    drive.is(StateName::Baking, 10_000);
    drive.pass(1);
    assert_eq!(drive.state(), StateName::Succeeded);
}

#[test]
fn promote_from_testing_and_ready_goes_to_all_traffic() {
    let mut testing = Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_hold(), |_| {});
    testing.is(StateName::Testing, 0);
    testing.say(PROMOTE);
    assert_eq!(testing.weights(), [0, 10_000]);
    let mut ready = Drive::started(|spec| {
        spec.steps.insert(0, approval(60, OnApprovalTimeout::Rollback));
    });
    ready.is(StateName::Ready, 0);
    ready.say(PROMOTE);
    assert_eq!(ready.weights(), [0, 10_000]);
}

#[test]
fn promote_goes_on_from_a_pause() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(10, None));
    drive.say(Verb::Pause);
    drive.say(PROMOTE);
    drive.pass(11);
    assert_eq!(drive.state(), StateName::Succeeded);
}

#[test]
fn promote_writes_its_intention_before_it_raises() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(10, None));
    drive.confirms = false;
    drive.say(PROMOTE);
    drive.pass(3);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["store"]);
    drive.store_recovers();
    drive.is(StateName::Baking, 10_000);
}

#[test]
fn a_pause_while_a_promotion_is_being_saved_holds_it() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(60, None));
    drive.confirms = false;
    drive.say(PROMOTE);
    drive.say(Verb::Pause);
    drive.store_recovers();
    drive.pass(3);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["paused"]);
    drive.say(Verb::Resume { override_regression: false });
    drive.is(StateName::Baking, 10_000);
}

#[test]
fn promote_is_refused_with_what_stands_against_it() {
    let mut alarm = Drive::started(|spec| spec.policies.on_regression = OnRegression::Notify);
    alarm.alarm(AlarmState::Alarm);
    assert_eq!(refusal(&alarm, PROMOTE), Some(vec!["alarm"]));
    assert_eq!(refusal(&alarm, FORCE), None);

    let mut latched = Drive::started(|spec| spec.policies.on_regression = OnRegression::Freeze);
    latched.alarm(AlarmState::Alarm);
    latched.alarm(AlarmState::Ok);
    assert_eq!(refusal(&latched, PROMOTE), Some(vec!["regression"]));
    latched.say(PROMOTE);
    latched.is(StateName::Shifting, 1_000);

    let mut unhealthy = Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_hold(), |_| {});
    unhealthy.seen.green.healthy = 0;
    unhealthy.look();
    assert_eq!(refusal(&unhealthy, PROMOTE), Some(vec!["green-unhealthy"]));
}

#[test]
fn force_goes_against_an_alarm_and_stays_until_another_one_comes() {
    let mut drive = Drive::started(|spec| {
        spec.policies.on_regression = OnRegression::Freeze;
        spec.final_bake = final_bake(60, None);
    });
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::Shifting, 1_000);
    drive.say(FORCE);
    drive.is(StateName::Baking, 10_000);
    drive.pass(5);
    drive.is(StateName::Baking, 10_000);
    let overridden = |fact: &&Fact| matches!(fact, Fact::RegressionOverridden { .. });
    assert_eq!(drive.facts().filter(overridden).count(), 1);
    assert!(!drive.holds().contains(&"regression"));
    // The certificate is another matter, and nobody took that upon themselves.
    drive.seen.evidence = Evidence::Against { reason: "errors".to_owned() };
    drive.look();
    assert!(drive.holds().contains(&"regression"));
}

#[test]
fn a_forced_promotion_of_an_unhealthy_green_is_not_taken_back_for_that() {
    let mut drive = Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_hold(), |spec| {
        spec.final_bake = final_bake(60, None);
    });
    drive.seen.green.healthy = 0;
    drive.look();
    drive.say(FORCE);
    drive.pass(5);
    drive.is(StateName::Baking, 10_000);
    // Once it was healthy again, the next time is a new one.
    drive.seen.green.healthy = 2;
    drive.look();
    drive.seen.green.healthy = 0;
    drive.look();
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn an_alarm_that_comes_while_a_promotion_is_saved_stops_it() {
    for verb in [PROMOTE, FORCE] {
        let mut drive = Drive::started(|spec| {
            spec.policies.on_regression = OnRegression::Notify;
        });
        drive.confirms = false;
        drive.say(verb);
        drive.alarm(AlarmState::Alarm);
        drive.store_recovers();
        drive.pass(3);
        drive.is(StateName::Shifting, 1_000);
        drive.alarm(AlarmState::Ok);
        drive.pass(1);
        assert_eq!(drive.green(), 10_000);
    }
}

#[test]
fn nothing_is_promoted_while_restarting_not_even_by_force() {
    let mut drive = Drive::started(|_| {});
    drive.restart(drive.exposed, Span::from_secs(5));
    drive.look();
    assert_eq!(refusal(&drive, PROMOTE), Some(vec!["restarting"]));
    assert_eq!(refusal(&drive, FORCE), Some(vec!["restarting"]));
    drive.send(Event::Settled);
    assert_eq!(refusal(&drive, PROMOTE), None);
}

#[test]
fn promote_leaves_blue_what_the_final_bake_keeps_for_it() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(10, Some(5_000)));
    drive.say(PROMOTE);
    drive.is(StateName::Baking, 5_000);
    drive.pass(10);
    assert_eq!(drive.state(), StateName::Succeeded);
    assert_eq!(drive.weights(), [0, 1_000, 5_000, 10_000]);
}
