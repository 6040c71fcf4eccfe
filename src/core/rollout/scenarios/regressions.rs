//! What speaks against green: every trigger under every policy, and what a person may take upon
//! themselves.

use super::*;

use crate::core::model::OnRegression;
use crate::core::rollout::{Evidence, Hold};

const OVERRIDE: Verb = Verb::Resume { override_regression: true };

fn against() -> Evidence {
    Evidence::Against { reason: "errors 4% to 1%".to_owned() }
}

/// What makes a look show something.
type Change = fn(&mut Observation);

/// Everything that the watching can find, each with how it comes up.
const TRIGGERS: [(&str, Change); 4] = [
    ("alarm errors is in ALARM", |seen| seen.alarms[0].1 = AlarmState::Alarm),
    ("green is worse than blue: errors 4% to 1%", |seen| seen.evidence = against()),
    ("green breaks its SLO: 99.1%", |seen| seen.slo_breach = Some("99.1%".to_owned())),
    ("green is below its health floor", |seen| seen.green.healthy = 0),
];

fn hit(policy: OnRegression, trigger: Change) -> Drive {
    let mut drive = Drive::started(|spec| spec.policies.on_regression = policy);
    trigger(&mut drive.seen);
    drive.look();
    drive
}

fn notices_of(drive: &Drive) -> (usize, usize) {
    let regressions = |notice: &&Notice| matches!(notice, Notice::Regression { .. });
    let dead = |notice: &&Notice| matches!(notice, Notice::BlueCannotTakeTraffic { .. });
    (drive.notices().filter(regressions).count(), drive.notices().filter(dead).count())
}

#[test]
fn every_trigger_returns_all_traffic_to_blue() {
    for (text, trigger) in TRIGGERS {
        let drive = hit(OnRegression::Rollback, trigger);
        drive.is(StateName::RolledBack, 0);
        assert_eq!(drive.cause().map(ToString::to_string).as_deref(), Some(text));
        assert!(!drive.exposed.green_exists);
    }
}

#[test]
fn freeze_keeps_the_weight_even_when_the_trigger_is_gone() {
    for (text, trigger) in TRIGGERS {
        let mut drive = hit(OnRegression::Freeze, trigger);
        assert!(drive.holds().contains(&"regression"), "{text}");
        assert_eq!(notices_of(&drive), (1, 0), "{text}");
        drive.seen = Observation { scored_green: drive.seen.scored_green, ..fine() };
        drive.pass(60);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.holds(), ["regression"], "{text}");
        drive.say(Verb::Resume { override_regression: false });
        assert_eq!(drive.holds(), ["regression"], "{text}");
        drive.say(OVERRIDE);
        drive.is(StateName::Shifting, 5_000);
    }
}

#[test]
fn notify_tells_once_and_keeps_going_when_it_is_over() {
    for (text, trigger) in TRIGGERS {
        let mut drive = hit(OnRegression::Notify, trigger);
        drive.pass(5);
        assert_eq!(drive.green(), 1_000, "{text}");
        assert_eq!(notices_of(&drive), (1, 0), "{text}");
        drive.seen = Observation { scored_green: drive.seen.scored_green, ..fine() };
        drive.pass(5);
        drive.is(StateName::Shifting, 5_000);
        trigger(&mut drive.seen);
        drive.look();
        assert_eq!(notices_of(&drive), (2, 0), "{text}: the next one is told again");
    }
}

#[test]
fn alarm_while_baking_returns_all_traffic_to_blue() {
    let mut drive = Drive::started(|spec| spec.final_bake = final_bake(600, None));
    drive.pass(30);
    drive.is(StateName::Baking, 10_000);
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn alarm_before_there_is_traffic_ends_failed() {
    let mut drive = Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_hold(), |_| {});
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::Failed, 0);
}

#[test]
fn only_an_alarm_speaks_against_a_green_without_traffic() {
    for (text, trigger) in &TRIGGERS[1..] {
        let mut drive = Drive::with_gate(GateStage::AfterAllowTestTraffic, gate_hold(), |_| {});
        trigger(&mut drive.seen);
        drive.look();
        drive.is(StateName::Testing, 0);
        assert_eq!(notices_of(&drive), (0, 0), "{text}");
    }
}

#[test]
fn an_alarm_without_data_holds_while_green_has_weight() {
    let mut drive = Drive::with_gate(GateStage::BeforeStep, GateAnswer::Pass, |_| {});
    drive.is(StateName::Shifting, 1_000);
    for state in [vec![(alarm_name(), AlarmState::InsufficientData)], Vec::new()] {
        drive.seen.alarms = state;
        drive.pass(15);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.holds(), ["alarm"]);
        assert_eq!(drive.rollout.holds()[0].to_string(), "alarm errors says INSUFFICIENT_DATA");
    }
    drive.alarm(AlarmState::Ok);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn an_alarm_without_data_does_not_hold_before_traffic_or_where_it_is_ignored() {
    let mut drive = Drive::created(|_| {});
    drive.seen.alarms.clear();
    drive.look();
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["alarm"]);
    let mut ignored =
        Drive::created(|spec| spec.alarms[0].on_insufficient = OnInsufficient::Ignore);
    ignored.seen.alarms.clear();
    ignored.pass(11);
    ignored.is(StateName::Shifting, 5_000);
}

#[test]
fn a_dead_blue_is_not_given_the_traffic_until_it_is_there_again() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.look();
    assert_eq!(drive.holds(), ["blue-unhealthy"]);
    drive.alarm(AlarmState::Alarm);
    drive.alarm(AlarmState::Ok);
    drive.pass(30);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(notices_of(&drive), (0, 1));
    assert_eq!(drive.holds(), ["blue-cannot-take-traffic", "blue-unhealthy"]);
    drive.seen.blue.healthy = 1;
    drive.look();
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_dead_blue_is_given_the_traffic_when_green_is_dead_too() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.seen.green.healthy = 0;
    drive.look();
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_regression_is_acted_on_while_the_store_is_silent() {
    let mut drive = Drive::started(|_| {});
    drive.confirms = false;
    drive.send(Event::SaveFailed { reason: "disk full".to_owned() });
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::RolledBack, 0);
}

#[test]
fn a_regression_while_a_raise_is_saved_stops_the_raise() {
    for (policy, state) in [
        (OnRegression::Rollback, StateName::RolledBack),
        (OnRegression::Freeze, StateName::Shifting),
    ] {
        let mut drive = Drive::created(|spec| spec.policies.on_regression = policy);
        drive.confirms = false;
        drive.look();
        drive.alarm(AlarmState::Alarm);
        drive.store_recovers();
        drive.pass(5);
        drive.is(state, 0);
    }
}

#[test]
fn an_overridden_alarm_holds_but_is_no_regression_until_it_comes_again() {
    let mut drive = hit(OnRegression::Freeze, TRIGGERS[0].1);
    drive.say(OVERRIDE);
    drive.pass(15);
    assert_eq!(drive.holds(), ["alarm"]);
    drive.alarm(AlarmState::Ok);
    drive.is(StateName::Shifting, 5_000);
    drive.alarm(AlarmState::Alarm);
    assert_eq!(drive.holds(), ["regression", "alarm"]);
}

#[test]
fn overridden_evidence_no_longer_holds() {
    let mut drive = hit(OnRegression::Freeze, TRIGGERS[1].1);
    assert_eq!(drive.holds(), ["regression", "evidence-against"]);
    drive.say(OVERRIDE);
    assert!(drive.holds().is_empty());
    // The same verdict with other figures is not a new one.
    drive.seen.evidence = Evidence::Against { reason: "errors 5% to 1%".to_owned() };
    drive.pass(10);
    drive.is(StateName::Shifting, 5_000);
}

#[test]
fn an_override_is_recorded_with_who_and_why() {
    let mut drive = hit(OnRegression::Freeze, TRIGGERS[0].1);
    drive.say(OVERRIDE);
    let expected = Effect::Record {
        fact: Fact::RegressionOverridden { cause: Cause::Alarm { alarm: alarm_name() } },
        actor: Actor { name: "ann".to_owned(), origin: "api".to_owned() },
        reason: Some("because".to_owned()),
    };
    assert!(drive.effects.contains(&expected));
}

#[test]
fn override_keeps_green_where_a_dead_blue_cannot_take_it() {
    let mut drive = Drive::started(|_| {});
    drive.seen.blue.healthy = 0;
    drive.alarm(AlarmState::Alarm);
    drive.say(OVERRIDE);
    drive.seen.blue.healthy = 2;
    drive.pass(5);
    drive.is(StateName::Shifting, 1_000);
    assert_eq!(drive.holds(), ["alarm"]);
}

#[test]
fn an_alarm_while_an_approval_is_waited_for_is_acted_on_at_once() {
    let asking = || approval(600, OnApprovalTimeout::Continue);
    let before_traffic = vec![asking(), shift(1_000, 10), shift(10_000, 0)];
    let mut drive = Drive::started(|spec| spec.steps = before_traffic);
    drive.is(StateName::Ready, 0);
    assert_eq!(drive.holds(), ["approval"]);
    drive.alarm(AlarmState::Alarm);
    drive.is(StateName::Failed, 0);
    assert_eq!(drive.cause().map(ToString::to_string).as_deref(), Some(TRIGGERS[0].0));

    let between_steps = vec![shift(1_000, 10), asking(), shift(10_000, 0)];
    for (policy, state, green) in [
        (OnRegression::Rollback, StateName::RolledBack, 0),
        (OnRegression::Freeze, StateName::Shifting, 1_000),
    ] {
        let mut drive = Drive::started(|spec| {
            spec.steps = between_steps.clone();
            spec.policies.on_regression = policy;
        });
        drive.pass(11);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.holds(), ["approval"]);
        drive.alarm(AlarmState::Alarm);
        drive.is(state, green);
        assert_eq!(drive.holds().contains(&"regression"), policy == OnRegression::Freeze);
        drive.alarm(AlarmState::Ok);
        drive.say(Verb::Approve);
        drive.is(state, green);
    }
}

#[test]
fn a_freeze_holds_the_weight_and_takes_nothing_back_until_it_is_accepted() {
    let freezes = [
        Hold::Degraded { reason: "green and blue fail together".to_owned() },
        Hold::SampleRatio { reason: "90 of 100 at 10%".to_owned() },
        Hold::AnalysisFault,
    ];
    for freeze in freezes {
        let mut drive = Drive::started(|_| {});
        drive.seen.freezes = vec![freeze.clone()];
        drive.pass(60);
        drive.is(StateName::Shifting, 1_000);
        assert_eq!(drive.holds(), [freeze.kind()]);
        let began = |fact: &&Fact| matches!(fact, Fact::HoldBegan { hold } if *hold == freeze);
        assert_eq!(drive.facts().filter(began).count(), 1);
        // Whoever looks clears it when a person says so, as the comparison does.
        drive.say(OVERRIDE);
        drive.seen.freezes.clear();
        drive.pass(1);
        drive.is(StateName::Shifting, 5_000);
    }
}

#[test]
fn a_freeze_refuses_a_promotion_unless_it_is_forced() {
    let mut drive = Drive::started(|_| {});
    drive.seen.freezes = vec![Hold::Degraded { reason: "blue fails".to_owned() }];
    drive.look();
    drive.say(Verb::Promote { force: false });
    drive.is(StateName::Shifting, 1_000);
    drive.say(Verb::Promote { force: true });
    assert_eq!(drive.green(), 10_000);
}

#[test]
fn a_verdict_against_green_takes_back_what_a_freeze_holds() {
    let mut drive = Drive::started(|_| {});
    drive.seen.freezes = vec![Hold::Degraded { reason: "both fail".to_owned() }];
    drive.pass(1);
    drive.seen.evidence = Evidence::Against { reason: "errors".to_owned() };
    drive.look();
    drive.is(StateName::RolledBack, 0);
}
