//! The way up: what a rollout waits for, in which order it writes and raises, and how it succeeds.

use super::*;

use crate::core::model::OnMissingEvidence;
use crate::core::rollout::{Evidence, Hold};

#[test]
fn a_canary_goes_up_step_by_step_and_changes_the_roles_at_its_end() {
    let mut drive = Drive::started(|_| {});
    drive.is(StateName::Shifting, 1_000);
    drive.pass(9);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
    drive.pass(10);
    drive.is(StateName::Shifting, 10_000);
    drive.pass(1);
    drive.is(StateName::Succeeded, 10_000);
    assert_eq!(drive.weights(), [0, 1_000, 5_000, 10_000]);
    assert_eq!(drive.effects.last(), Some(&Effect::SwapRoles));
    assert_eq!(drive.cause(), None);
}

#[test]
fn the_states_are_entered_in_their_order() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(1, None));
    drive.pass(30);
    let entered = drive.facts().filter_map(|fact| {
        if let Fact::StateEntered { state } = fact { Some(*state) } else { None }
    });
    assert_eq!(entered.collect::<Vec<_>>(), StateName::ALL[1..=5]);
    assert_eq!(drive.state(), StateName::Succeeded);
}

#[test]
fn green_rises_only_when_the_store_knows_of_it() {
    let mut drive = Drive::created(|_| {});
    drive.confirms = false;
    drive.look();
    drive.pass(30);
    drive.is(StateName::Shifting, 0);
    assert_eq!(drive.holds(), ["store"]);
    drive.send(Event::SaveFailed { reason: "disk full".to_owned() });
    assert_eq!(drive.rollout.holds()[0].to_string(), "the store does not save: disk full");
    drive.store_recovers();
    drive.is(StateName::Shifting, 1_000);
    assert!(drive.holds().is_empty());
}

#[test]
fn the_roles_change_hands_only_when_the_end_is_saved() {
    let mut drive = Drive::started(|spec| spec.steps = vec![shift(10_000, 0)]);
    drive.confirms = false;
    drive.pass(1);
    drive.is(StateName::Succeeded, 10_000);
    assert!(!drive.effects.contains(&Effect::SwapRoles));
    drive.store_recovers();
    assert_eq!(drive.effects.last(), Some(&Effect::SwapRoles));
}

#[test]
fn test_listeners_answer_from_green_from_testing_to_the_end() {
    let mut drive = Drive::with_gate(GateStage::AfterInstall, gate_hold(), |_| {});
    drive.is(StateName::Installing, 0);
    assert!(!drive.exposed.green_exists);
    drive.gate_says("g", GateAnswer::Pass);
    drive.pass(10);
    drive.is(StateName::Shifting, 1_000);
    assert!(drive.exposed.green_exists);
    drive.pass(25);
    drive.is(StateName::Succeeded, 10_000);
    assert!(!drive.exposed.green_exists);
}

#[test]
fn installing_waits_for_healthy_targets() {
    let mut drive = Drive::created(|spec| spec.policies.start_healthy = weight(7_500));
    for (targets, healthy, hold) in [
        (0, 0, "green has no targets: register them"),
        (4, 0, "0 of 4 green targets are healthy, wanted 75%"),
        (4, 2, "2 of 4 green targets are healthy, wanted 75%"),
    ] {
        drive.seen.green = GroupHealth { targets, healthy, unknown: 0 };
        drive.pass(10);
        drive.is(StateName::Installing, 0);
        let holds: Vec<String> = drive.rollout.holds().iter().map(ToString::to_string).collect();
        assert_eq!(holds, [hold]);
    }
    drive.seen.green.healthy = 3;
    drive.look();
    drive.is(StateName::Shifting, 1_000);
}

#[test]
fn nothing_is_raised_while_a_side_is_below_its_floor() {
    let check = |change: fn(&mut Observation), hold: &str| {
        let mut drive = Drive::with_gate(GateStage::BeforeStep, gate_hold(), |_| {});
        change(&mut drive.seen);
        drive.gate_says("g", GateAnswer::Pass);
        drive.pass(30);
        drive.is(StateName::Shifting, 0);
        assert_eq!(drive.holds(), [hold]);
        drive.seen = fine();
        drive.look();
        drive.is(StateName::Shifting, 1_000);
    };
    check(|seen| seen.green = GroupHealth::default(), "green-has-no-targets");
    check(|seen| seen.green.healthy = 0, "green-unhealthy");
    check(|seen| seen.blue.healthy = 0, "blue-unhealthy");
}

#[test]
fn silence_is_not_health() {
    let mut drive = Drive::started(|_| {});
    drive.rate = 0;
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.rollout.holds()[0].to_string(), "1 more green request");
    drive.rate = 1;
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn a_schedule_is_a_schedule_where_no_request_is_wanted() {
    let mut drive = Drive::started(|spec| spec.policies.min_green = 0);
    drive.rate = 0;
    drive.pass(21);
    assert_eq!(drive.state(), StateName::Succeeded);
}

/// A rollout whose first step asks for something.
fn asking(samples: Option<u64>, evidence_pass: bool, policy: OnMissingEvidence) -> Drive {
    Drive::started(|spec| {
        let timed = Shift::timed(weight(1_000), Span::from_secs(10));
        spec.steps[0] = Step::Shift(Shift { samples, evidence_pass, ..timed });
        spec.policies.on_insufficient = policy;
    })
}

#[test]
fn a_step_that_asks_for_samples_says_how_many_are_missing() {
    let mut drive = asking(Some(500), false, OnMissingEvidence::Hold);
    drive.rate = 20;
    drive.pass(9);
    assert!(drive.holds().is_empty(), "while it bakes it just takes its time");
    drive.pass(1);
    assert_eq!(drive.rollout.holds()[0].to_string(), "300 more green requests");
    drive.pass(15);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn a_step_that_asks_for_evidence_waits_for_the_certificate() {
    let mut drive = asking(None, true, OnMissingEvidence::Hold);
    for (evidence, text) in [
        (Evidence::Unavailable, "no certificate yet"),
        (Evidence::Insufficient { missing: None }, "no certificate yet"),
        (
            Evidence::Insufficient { missing: Some(312) },
            "no certificate yet, about 312 more green requests",
        ),
    ] {
        drive.seen.evidence = evidence;
        drive.pass(11);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.rollout.holds()[0].to_string(), text);
    }
    drive.seen.evidence = Evidence::Pass;
    drive.look();
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn a_step_that_may_go_early_does_so_with_the_certificate_and_what_else_it_asked_for() {
    let mut drive = Drive::started(|spec| {
        let timed = Shift::timed(weight(1_000), Span::from_secs(10));
        let samples = Some(3);
        spec.steps[0] = Step::Shift(Shift { samples, promote_early: true, ..timed });
    });
    drive.pass(1);
    drive.seen.evidence = Evidence::Pass;
    drive.pass(1);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
    drive.pass(9);
    drive.is(StateName::Shifting, 5_000);
    drive.pass(2);
    assert_eq!(drive.state(), StateName::Succeeded);
}

#[test]
fn a_step_that_may_go_early_goes_in_its_time_without_the_certificate() {
    let mut drive = Drive::started(|spec| {
        let timed = Shift::timed(weight(1_000), Span::from_secs(10));
        spec.steps[0] = Step::Shift(Shift { promote_early: true, ..timed });
    });
    drive.seen.evidence = Evidence::Insufficient { missing: Some(9) };
    drive.pass(9);
    drive.is(StateName::Shifting, 1_000);
    drive.pass(1);
    drive.is(StateName::Shifting, 5_000);
}

/// Nothing else asks these steps to wait for the first look at the new weight.
#[test]
fn b11_a_certificate_of_one_step_is_none_of_the_next() {
    let timed = |bp, secs| Shift::timed(weight(bp), Span::from_secs(secs));
    let early = |bp| Shift { promote_early: true, ..timed(bp, 10) };
    let asking = |bp| Shift { evidence_pass: true, ..timed(bp, 0) };
    for steps in [[early(1_000), early(5_000)], [asking(1_000), asking(5_000)]] {
        let mut drive = Drive::started(|spec| {
            spec.policies.min_green = 0;
            for (step, shift) in spec.steps.iter_mut().zip(steps) {
                *step = Step::Shift(shift);
            }
        });
        drive.is(StateName::Shifting, 1_000);
        drive.seen.evidence = Evidence::Pass;
        drive.look();
        drive.is(StateName::Shifting, 5_000);
        drive.seen.evidence = Evidence::Insufficient { missing: Some(9) };
        drive.pass(1);
        drive.is(StateName::Shifting, 5_000);
        drive.seen.evidence = Evidence::Pass;
        drive.look();
        assert_eq!(drive.green(), 10_000);
    }
}

#[test]
fn missing_evidence_does_what_the_policy_says() {
    let check = |policy, state, green| {
        for mut drive in [asking(Some(500), false, policy), asking(None, true, policy)] {
            drive.pass(9);
            drive.is(StateName::Shifting, 1_000);
            drive.pass(1);
            drive.is(state, green);
        }
    };
    check(OnMissingEvidence::Hold, StateName::Shifting, 1_000);
    check(OnMissingEvidence::Promote, StateName::Shifting, 5_000);
    check(OnMissingEvidence::Rollback, StateName::RolledBack, 0);
}

#[test]
fn what_was_not_asked_for_is_waited_for_under_every_policy() {
    for policy in [OnMissingEvidence::Hold, OnMissingEvidence::Promote, OnMissingEvidence::Rollback]
    {
        let mut drive = asking(None, false, policy);
        drive.rate = 0;
        drive.pass(60);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.holds(), ["samples"]);
    }
}

#[test]
fn missing_evidence_is_no_reason_for_a_rollback_while_something_else_holds_the_step() {
    let mut drive = asking(Some(20), false, OnMissingEvidence::Rollback);
    drive.seen.blue.healthy = 0;
    drive.pass(15);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["blue-unhealthy", "samples"]);
    drive.seen.blue.healthy = 2;
    drive.look();
    drive.is(StateName::RolledBack, 0);
    assert_eq!(drive.cause(), Some(&Cause::MissingEvidence));
}

#[test]
fn the_final_bake_keeps_blue_its_share_and_then_gives_green_everything() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(30, Some(5_000)));
    drive.pass(25);
    drive.is(StateName::Baking, 5_000);
    drive.confirms = false;
    drive.pass(30);
    drive.is(StateName::Baking, 5_000);
    assert_eq!(drive.holds(), ["store"]);
    drive.store_recovers();
    drive.is(StateName::Succeeded, 10_000);
    assert_eq!(drive.weights(), [0, 1_000, 5_000, 10_000]);
}

#[test]
fn what_the_final_bake_keeps_never_lowers_green() {
    let mut drive = Drive::started(|spec| {
        spec.steps[1] = shift(8_000, 10);
        spec.final_bake = final_bake(30, Some(5_000));
    });
    drive.pass(60);
    assert_eq!(drive.state(), StateName::Succeeded);
    assert_eq!(drive.weights(), [0, 1_000, 8_000, 10_000]);
}

#[test]
fn a_bake_is_saved_every_few_seconds() {
    let mut drive = Drive::started(|spec| spec.steps[0] = shift(1_000, 3_600));
    let before = drive.rollout.seq();
    drive.pass(60);
    assert_eq!(drive.rollout.seq(), before + 12);
}

#[test]
fn a_hold_is_recorded_when_it_comes_and_when_it_goes() {
    let mut drive = Drive::started(|_| {});
    drive.rate = 0;
    drive.pass(60);
    drive.rate = 5;
    drive.pass(1);
    let began = |fact: &&Fact| matches!(fact, Fact::HoldBegan { .. });
    let ended = |fact: &&Fact| matches!(fact, Fact::HoldEnded { .. });
    assert_eq!((drive.facts().filter(began).count(), drive.facts().filter(ended).count()), (1, 1));
    let samples = Hold::Samples { missing: 1 };
    assert!(drive.facts().any(|fact| *fact == Fact::HoldEnded { hold: samples.clone() }));
}

#[test]
fn the_same_events_at_the_same_times_give_the_same_decisions() {
    let run = || {
        let mut drive = Drive::with_gate(GateStage::DuringStep, gate_hold(), |_| {});
        drive.pass(15);
        drive.gate_says("g", GateAnswer::Pass);
        drive.pass(8);
        drive.alarm(AlarmState::InsufficientData);
        drive.say(Verb::Pause);
        drive.say(Verb::Stop);
        (drive.rollout, drive.effects)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_step_waits_while_blue_is_below_its_floor_and_goes_on_when_blue_is_back() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.pass(60);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["blue-unhealthy"]);
    drive.seen.blue.healthy = 2;
    drive.pass(12);
    assert!(drive.weights().contains(&5_000), "{:?}", drive.weights());
}
