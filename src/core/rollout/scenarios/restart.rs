//! Restarts: what was saved goes on, what was taken back stays so, and nothing rises before the
//! world has been looked at.

use super::*;

use crate::core::model::{OnRegression, Split};

const GONE: Span = Span::from_secs(20);

fn served(drive: &Drive, bp: u16, green_exists: bool) -> Exposure {
    Exposure { split: Split::with_green(weight(bp)), green_exists, ..drive.exposed }
}

#[test]
fn a_restart_serves_what_was_served_and_raises_nothing_before_it_has_settled() {
    let mut drive = Drive::started(|_| {});
    drive.pass(6);
    drive.restart(drive.exposed, GONE);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["restarting"]);
    drive.send(Event::Settled);
    // What was watched in the last seconds before the end was not saved.
    assert_eq!(drive.watched(), Some(Span::from_secs(5)));
    drive.pass(4);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn downtime_counts_for_deadlines_and_not_for_bakes() {
    let mut drive = Drive::started(|_| {});
    drive.pass(5);
    drive.restart(drive.exposed, Span::from_hours(23));
    assert_eq!(drive.rollout.elapsed(), Span::from_ms(23 * 3_600_000 + 5_000));
    assert_eq!(drive.watched(), Some(Span::from_secs(5)));
    let gone = Span::from_hours(23);
    assert!(drive.facts().any(|fact| *fact == Fact::Restored { gone }));
    drive.settle();
    drive.say(Verb::Pause);
    drive.leap(Span::from_hours(2));
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_wall_clock_set_back_over_a_restart_shortens_no_deadline() {
    let mut drive = Drive::started(|_| {});
    drive.pass(5);
    drive.now.wall = WallTime::from_ms(0);
    drive.restart(drive.exposed, Span::ZERO);
    assert_eq!(drive.rollout.elapsed(), Span::from_secs(5));
}

#[test]
fn a_table_that_serves_less_is_believed_and_the_step_is_done_again() {
    let mut drive = Drive::started(|_| {});
    drive.pass(13);
    drive.is(StateName::Shifting, 5_000);
    drive.restart(served(&drive, 1_000, true), GONE);
    drive.is(StateName::Shifting, 1_000);
    let lowered = Fact::GreenLowered { from: weight(5_000), to: weight(1_000) };
    assert!(drive.facts().any(|fact| *fact == lowered));
    drive.pass(5);
    drive.is(StateName::Shifting, 1_000);
    drive.settle();
    drive.is(StateName::Shifting, 5_000);
    assert_eq!(drive.watched(), Some(Span::ZERO));
    drive.pass(10);
    drive.is(StateName::Shifting, 10_000);
}

#[test]
fn a_fall_back_passes_by_no_gate_of_the_next_step() {
    let mut drive = Drive::with_gate(GateStage::BeforeStep, GateAnswer::Pass, |_| {});
    drive.gate_says("g", gate_hold());
    drive.pass(11);
    assert_eq!(drive.holds(), ["gate"]);
    drive.pass(5);
    drive.restart(served(&drive, 500, true), GONE);
    drive.is(StateName::Shifting, 500);
    drive.settle();
    drive.is(StateName::Shifting, 1_000);
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["gate"]);
}

#[test]
fn a_fall_back_in_an_approval_goes_back_to_the_step_before_it() {
    let mut drive = Drive::started(|spec| {
        spec.steps.insert(1, approval(3_600, OnApprovalTimeout::Rollback));
    });
    drive.pass(16);
    drive.restart(served(&drive, 0, true), GONE);
    drive.settle();
    drive.is(StateName::Shifting, 1_000);
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["approval"]);
}

#[test]
fn traffic_that_was_taken_back_and_not_recorded_stays_so() {
    let mut drive = Drive::started(|_| {});
    drive.confirms = false;
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
    drive.confirms = true;
    drive.restart(drive.exposed, GONE);
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.cause(), Some(&Cause::TakenBackUnrecorded));
}

#[test]
fn traffic_that_was_taken_back_before_the_raise_was_recorded_stays_so() {
    let mut drive = Drive::created(|_| {});
    drive.confirms = false;
    drive.look();
    // The store knows the intention, and nothing of what came of it.
    let intention = drive.rollout.seq();
    drive.send(Event::Saved { seq: intention });
    drive.is(StateName::Shifting, 1_000);
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
    drive.confirms = true;
    drive.restart(drive.exposed, GONE);
    drive.settle();
    drive.pass(60);
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.cause(), Some(&Cause::TakenBackUnrecorded));
}

#[test]
fn an_intention_that_was_saved_is_carried_out_after_a_restart() {
    let mut drive = Drive::created(|_| {});
    drive.confirms = false;
    drive.look();
    let intention = drive.rollout.seq();
    drive.stored = drive.saves[&intention].clone();
    drive.confirms = true;
    drive.restart(drive.exposed, GONE);
    drive.is(StateName::Shifting, 0);
    drive.settle();
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn a_promotion_is_not_carried_out_before_anybody_has_looked() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(60, None));
    drive.confirms = false;
    drive.say(Verb::Promote { force: false });
    let intention = drive.rollout.seq();
    drive.stored = drive.saves[&intention].clone();
    drive.confirms = true;
    drive.restart(drive.exposed, GONE);
    drive.send(Event::Settled);
    drive.is(StateName::Shifting, 1_000);
    drive.look();
    drive.is(StateName::Baking, 10_000);
}

#[test]
fn a_gate_that_was_being_asked_is_asked_anew() {
    let mut drive = Drive::prepared(BTreeMap::from([("g", None)]), |spec| {
        spec.gates = vec![gate("g", &[GateStage::BeforeStep])];
    });
    drive.look();
    assert_eq!(drive.calls().count(), 1);
    drive.gate_says("g", GateAnswer::Pass);
    drive.restart(drive.exposed, GONE);
    drive.settle();
    assert_eq!(drive.calls().count(), 2);
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn abort_goes_through_while_restarting() {
    let mut drive = Drive::started(|_| {});
    drive.restart(drive.exposed, GONE);
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_pause_outlives_a_restart() {
    let mut drive = Drive::started(|_| {});
    drive.say(Verb::Pause);
    drive.restart(drive.exposed, GONE);
    drive.settle();
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["paused"]);
}

#[test]
fn an_alarm_is_acted_on_before_the_restart_has_settled() {
    let mut drive = Drive::started(|_| {});
    drive.restart(drive.exposed, GONE);
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_deadline_runs_out_before_the_restart_has_settled() {
    let mut drive = Drive::started(|_| {});
    drive.pass(5);
    drive.restart(drive.exposed, Span::from_hours(25));
    drive.is(StateName::Shifting, 1_000);
    drive.look();
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.cause(), Some(&Cause::Deadline { of: "step".to_owned() }));
    let dead = |notice: &Notice| matches!(notice, Notice::BlueCannotTakeTraffic { .. });
    assert!(!drive.notices().any(dead), "nobody had looked at blue");
}

#[test]
fn a_freeze_outlives_a_restart() {
    let mut drive = Drive::started(|spec| spec.policies.on_regression = OnRegression::Freeze);
    drive.alarm(AlarmState::Alarm);
    drive.alarm(AlarmState::Ok);
    drive.restart(drive.exposed, GONE);
    drive.settle();
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["regression"]);
}

#[test]
fn what_was_overridden_stays_so_until_somebody_has_looked() {
    let mut drive = Drive::started(|spec| spec.policies.on_regression = OnRegression::Freeze);
    drive.alarm(AlarmState::Alarm);
    drive.say(Verb::Resume { override_regression: true });
    drive.restart(drive.exposed, GONE);
    drive.send(Event::Settled);
    drive.look();
    assert_eq!(drive.holds(), ["alarm"]);
}

#[test]
fn an_approval_that_ran_out_in_the_downtime_ends_when_the_restart_has_settled() {
    let mut drive = Drive::started(|spec| {
        spec.steps.insert(1, approval(60, OnApprovalTimeout::Rollback));
    });
    drive.pass(16);
    drive.restart(drive.exposed, Span::from_hours(1));
    drive.is(StateName::Shifting, 1_000);
    drive.settle();
    drive.is(StateName::RolledBack, 0);
    let dead = |notice: &Notice| matches!(notice, Notice::BlueCannotTakeTraffic { .. });
    assert!(!drive.notices().any(dead), "nobody had looked at blue");
}

#[test]
fn the_gates_after_a_rollback_are_asked_by_a_restart_unless_they_were() {
    let mut drive = Drive::with_gate(GateStage::AfterRollback, GateAnswer::Pass, |_| {});
    drive.confirms = false;
    drive.say(Verb::Abort);
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.calls().count(), 0);
    drive.stored = drive.saves[&drive.rollout.seq()].clone();
    assert!(drive.stored.has_gates_to_ask());
    drive.confirms = true;
    drive.restart(drive.exposed, GONE);
    assert_eq!(drive.calls().count(), 1);
    assert!(!drive.stored.has_gates_to_ask(), "it is saved that they were asked");
    drive.restart(drive.exposed, GONE);
    assert_eq!(drive.calls().count(), 1);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn an_end_that_was_saved_is_followed_by_what_belongs_to_it_after_a_restart() {
    let mut drive = Drive::started(|spec| spec.steps = vec![shift(10_000, 0)]);
    drive.confirms = false;
    drive.pass(1);
    drive.is(StateName::Succeeded, 10_000);
    drive.stored = drive.saves[&drive.rollout.seq()].clone();
    drive.restart(drive.exposed, GONE);
    assert_eq!(drive.effects.last(), Some(&Effect::SwapRoles));
}
