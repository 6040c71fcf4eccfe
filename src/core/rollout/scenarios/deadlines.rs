//! Deadlines: nothing stays in progress for ever, and no clock can shorten them.

use super::*;

use crate::core::model::{Deadline, DeadlineAction, OnRegression};

/// Waits until just before a deadline, then for it; gives the rollout that ended.
fn run_out(mut drive: Drive, after: Span) -> Drive {
    let state = drive.state();
    drive.leap(Span::from_ms(after.ms() - 1));
    assert_eq!(drive.state(), state, "it ended early");
    drive.leap(Span::from_ms(1));
    drive
}

fn deadline(of: &str) -> Cause {
    Cause::Deadline { of: of.to_owned() }
}

#[test]
fn every_state_has_a_deadline() {
    let check = |drive: Drive, after: Span, of: &str, end: StateName| {
        let drive = run_out(drive, after);
        drive.is(end, 0);
        assert_eq!(drive.cause(), Some(&deadline(of)));
    };
    let held_at = |stage| Drive::with_gate(stage, gate_hold(), |_| {});
    let created = held_at(GateStage::BeforeInstall);
    check(created, Span::from_mins(1), "created", StateName::Failed);
    let mut installing = Drive::created(|_| {});
    installing.seen.green = GroupHealth::default();
    installing.look();
    check(installing, Span::from_mins(30), "installing", StateName::Failed);
    let testing = held_at(GateStage::AfterAllowTestTraffic);
    check(testing, Span::from_hours(1), "testing", StateName::Failed);
    let ready = held_at(GateStage::BeforeAllowTraffic);
    check(ready, Span::from_hours(24), "ready", StateName::Failed);

    let mut step = Drive::started(|_| {});
    step.say(Verb::Pause);
    let of_step = Span::from_ms(24 * 3_600_000 + 10_000);
    check(step, of_step, "step", StateName::RolledBack);
    let mut baking = Drive::started(|spec| {
        spec.steps = vec![shift(10_000, 0)];
        spec.final_bake = final_bake(60, None);
    });
    baking.pass(1);
    baking.is(StateName::Baking, 10_000);
    baking.say(Verb::Pause);
    let of_bake = Span::from_ms(24 * 3_600_000 + 60_000);
    check(baking, of_bake, "final bake", StateName::RolledBack);
}

#[test]
fn a_rollout_that_nobody_looks_at_still_ends() {
    let mut drive = Drive::created(|_| {});
    drive.now.mono = drive.now.mono.plus(Span::from_mins(1));
    drive.send(Event::Ticked);
    drive.is(StateName::Failed, 0);
    assert_eq!(drive.cause(), Some(&deadline("created")));
}

#[test]
fn the_whole_rollout_has_a_deadline() {
    let drive = Drive::started(|spec| {
        spec.steps[0] = shift(1_000, 30 * 24 * 3_600);
    });
    let drive = run_out(drive, Span::from_hours(7 * 24));
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.cause(), Some(&deadline("whole")));
}

#[test]
fn the_whole_deadline_stops_a_rollout_whose_blue_is_dead() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.leap(Span::from_hours(48));
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["blue-cannot-take-traffic", "blue-unhealthy"]);
    drive.leap(Span::from_hours(5 * 24));
    drive.is(StateName::Stopped, 1_000);
    assert_eq!(drive.cause(), Some(&deadline("whole")));
}

#[test]
fn a_deadline_does_what_it_is_configured_to() {
    let check = |action, end, green| {
        let mut drive = Drive::started(|spec| {
            spec.policies.deadlines.hold = Deadline { after: Span::from_secs(50), action };
        });
        drive.say(Verb::Pause);
        drive.pass(60);
        drive.is(end, green);
    };
    check(DeadlineAction::Rollback, StateName::RolledBack, 0);
    check(DeadlineAction::Fail, StateName::RolledBack, 0);
    check(DeadlineAction::Stop, StateName::Stopped, 1_000);
}

#[test]
fn a_deadline_ends_a_freeze_too() {
    let mut frozen = Drive::started(|spec| spec.policies.on_regression = OnRegression::Freeze);
    frozen.alarm(AlarmState::Alarm);
    frozen.leap(Span::from_hours(25));
    frozen.is(StateName::RolledBack, 0);
    assert_eq!(frozen.cause(), Some(&deadline("step")));

    let mut testing = Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_fail(), |spec| {
        spec.policies.on_regression = OnRegression::Freeze;
    });
    testing.is(StateName::Testing, 0);
    testing.leap(Span::from_hours(1));
    testing.is(StateName::Failed, 0);
}

#[test]
fn a_deadline_into_a_dead_blue_takes_it_back_when_blue_is_there_again() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.leap(Span::from_hours(25));
    drive.is(StateName::Shifting, 1_000);
    drive.seen.blue.healthy = 2;
    drive.look();
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn an_overridden_deadline_leaves_the_step_to_the_deadline_of_the_whole() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.leap(Span::from_hours(25));
    drive.say(Verb::Resume { override_regression: true });
    drive.seen.blue.healthy = 2;
    drive.seen.scored_green = 1;
    drive.pass(10);
    drive.is(StateName::Shifting, 5_000);
    drive.say(Verb::Pause);
    drive.leap(Span::from_hours(25));
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn an_approval_that_nobody_gives_ends_as_it_says() {
    let check = |place: usize, on_timeout, end, green| {
        let mut drive = Drive::started(|spec| {
            spec.steps = vec![shift(1_000, 1), shift(10_000, 3_600)];
            spec.steps.insert(place, approval(60, on_timeout));
        });
        drive.pass(if place == 0 { 59 } else { 60 });
        assert!(drive.rollout.state().approval().is_some());
        drive.pass(1);
        drive.is(end, green);
        if end != StateName::Shifting {
            assert_eq!(drive.cause(), Some(&deadline("approval")));
        }
    };
    check(0, OnApprovalTimeout::Rollback, StateName::Failed, 0);
    check(0, OnApprovalTimeout::Stop, StateName::Stopped, 0);
    check(0, OnApprovalTimeout::Continue, StateName::Shifting, 1_000);
    check(1, OnApprovalTimeout::Rollback, StateName::RolledBack, 0);
    check(1, OnApprovalTimeout::Stop, StateName::Stopped, 1_000);
    check(1, OnApprovalTimeout::Continue, StateName::Shifting, 10_000);
}

#[test]
fn an_approval_between_steps_is_bounded_by_its_own_timeout_alone() {
    let mut drive = Drive::started(|spec| {
        spec.steps.insert(1, approval(72 * 3_600, OnApprovalTimeout::Rollback));
    });
    drive.pass(10);
    drive.leap(Span::from_hours(71));
    drive.is(StateName::Shifting, 1_000);
    drive.leap(Span::from_hours(1));
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_wall_clock_that_jumps_touches_no_deadline() {
    for wall in [0, u64::MAX / 2] {
        let mut drive = Drive::started(|_| {});
        drive.now.wall = WallTime::from_ms(wall);
        drive.pass(5);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.rollout.elapsed(), Span::from_secs(5));
        drive.say(Verb::Pause);
        drive.now.wall = WallTime::from_ms(0);
        drive.leap(Span::from_hours(25));
        drive.is(StateName::RolledBack, 0);
    }
}

#[test]
fn a_process_that_stood_still_has_not_baked() {
    let mut drive = Drive::started(|_| {});
    drive.seen.scored_green = 100;
    drive.leap(Span::from_mins(10));
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.watched(), Some(Span::from_secs(2)));
}
