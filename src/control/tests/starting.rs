//! Starting rollouts.

use super::*;
use crate::core::rollout::Hold;
use crate::telemetry::{Outcome, OutcomeKind};

#[tokio::test]
async fn a_second_rollout_is_refused_with_the_id_of_the_first() {
    let rig = Rig::new().await;
    let id = rig.started("approved").await;
    let refusal = refused(start(&rig, rig.start("quick")).await, "rollout_active");
    assert!(refusal.to_string().contains(id.as_str()), "{refusal}");
}

#[tokio::test]
async fn a_second_rollout_is_refused_while_the_first_is_being_saved() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.block();
    let first = rig.sending(Command::StartRollout(Box::new(rig.start("approved"))));
    rig.until_blocked().await;
    refused(start(&rig, rig.start("quick")).await, "busy");
    let group = GroupRef::Named(name("b"));
    let change = Command::SetTargets { group, targets: targets(&[9_009]), revision: None };
    refused(rig.send(change).await, "busy");
    refused(rig.reload(SHOP).await.map(Reply::Reloaded), "busy");
    assert_eq!(rig.shop().active, None);
    rig.store.release();
    let id = id_of(first.await.unwrap().expect("started"));
    assert_eq!(rig.shop().active, Some(id));
}

#[tokio::test]
async fn a_rollout_does_not_start_from_a_split() {
    let rig = Rig::new().await;
    rig.set_split("0.01%").await.expect("raised");
    refused(start(&rig, rig.start("quick")).await, "split_not_zero");
}

#[tokio::test]
async fn a_strategy_that_waits_for_what_never_comes_is_refused() {
    for (key, why) in
        [("analysis: off", "`analysis` is off"), ("stickiness: { header: x-user }", "`stickiness`")]
    {
        let config =
            SHOP.replacen("strategy: quick", &format!("strategy: quick, {key}"), 1).replacen(
                "  quick:",
                "  sure: { steps: [{ weight: 1%, bake: 1h, evidence: pass }] }\n  quick:",
                1,
            );
        let rig = Remains::none().start(&config).await;
        let refusal = refused(start(&rig, rig.start("sure")).await, "never_certified");
        let said = refusal.to_string();
        assert!(said.contains("steps[0] of sure") && said.contains(why), "{said}");
        assert_eq!(rig.shop().active, None);
    }
}

#[tokio::test]
async fn an_alarm_refuses_a_rollout_that_does_not_ignore_it() {
    let rig = Rig::new().await;
    rig.push(AlarmState::Alarm).await;
    refused(start(&rig, rig.start("quick")).await, "alarm_active");
    let foreign = StartRollout { ignore_alarms: vec![name("other")], ..rig.start("quick") };
    refused(start(&rig, foreign).await, "no_such_alarm");
    let bold = StartRollout { ignore_alarms: vec![name("pager")], ..rig.start("quick") };
    let id = id_of(start(&rig, bold).await.expect("started"));
    rig.until_over(&id, StateName::Succeeded).await;
}

#[tokio::test]
async fn a_slow_request_of_the_last_revision_does_not_count_for_the_next() {
    let errors = "own: { metric: error_rate }, above: 1%, datapoints: 1 of 1, period: 1s";
    let rig = Remains::none().start(&SHOP.replace("pushed: true", errors)).await;
    let meter = |rig: &Rig| rig.table.load().services[&name("shop")].green.meter;
    let record = |rig: &Rig, meter, kind| {
        rig.handle.recorder.record(meter, Outcome { kind, latency_us: 1, rescued: false });
    };
    let last = rig.shifting().await;
    let slow = meter(&rig);
    rig.tell(&last, Verb::Abort).await.expect("aborted");
    rig.until_over(&last, StateName::RolledBack).await;

    let next = rig.shifting().await;
    for _ in 0..100 {
        record(&rig, slow, OutcomeKind::Timeout);
    }
    record(&rig, meter(&rig), OutcomeKind::Status(200));
    let alarm = |rig: &Rig| rig.handle.view().alarms[0].state;
    rig.until("the alarm is judged", |rig| alarm(rig) != AlarmState::InsufficientData).await;
    assert_eq!(alarm(&rig), AlarmState::Ok);
    let view = rig.rollout(&next);
    assert_eq!((view.state, view.tally.green_requests), (StateName::Shifting, 1));
    assert_eq!(view.tally.green_failed, 0);
    assert_eq!((rig.shop().green.requests, rig.shop().green.failed), (101, 100), "all are told");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_started() {
    let rig = Rig::new().await;
    refused(start(&rig, rig.start("unheard-of")).await, "no_such_strategy");
    let elsewhere = StartRollout { service: name("cart"), ..rig.start("quick") };
    refused(start(&rig, elsewhere).await, "no_such_service");
    assert!(rig.handle.view().rollouts.is_empty());
}

#[tokio::test]
async fn green_is_registered_with_the_start() {
    let rig = Rig::new().await;
    let with = StartRollout { targets: Some(targets(&[9_007])), ..rig.start("approved") };
    let id = id_of(start(&rig, with).await.expect("started"));
    let green = rig.shop().green;
    assert_eq!((green.revision, green.registered), (Some(name("v1")), true));
    assert_eq!(green.targets[0].address, name("127.0.0.1:9007"));
    let table = rig.table.load();
    assert_eq!(table.services[&name("shop")].green.targets.len(), 1);
    let story = rig.story(&id).await;
    assert_eq!(story[..2], ["rollout_created", "targets_registered"]);

    rig.until_state(&id, StateName::Ready).await;
    let rig = rig.restart(SHOP).await;
    assert_eq!(rig.shop().green.targets[0].address, name("127.0.0.1:9007"));
}

#[tokio::test]
async fn a_start_that_the_store_refuses_leaves_nothing() {
    let rig = Rig::new().await;
    rig.saved().await;
    for error in [outage(), StoreError::Unavailable] {
        rig.store.fail(error);
        let with = StartRollout { targets: Some(targets(&[9_007])), ..rig.start("quick") };
        refused(start(&rig, with).await, "store_failed");
        assert_eq!((rig.shop().active, rig.shop().green.revision), (None, None));
        assert_eq!(rig.shop().green.targets[0].address, name("127.0.0.1:9002"));
        rig.store.release();
    }
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Succeeded).await;
}

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_taken_out_of_the_store_again() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.lose_answers(StoreError::Unavailable);
    refused(start(&rig, rig.start("slow")).await, "store_failed");
    rig.store.release();
    rig.saved().await;
    let rig = rig.restart(SHOP).await;
    assert!(rig.handle.view().rollouts.is_empty());
    assert_eq!(rig.shop().green.revision, None);
}

#[tokio::test]
async fn a_rollout_of_an_empty_green_waits_for_targets() {
    let rig = Remains::none().start(&SHOP.replace("['127.0.0.1:9002']", "[]")).await;
    let id = rig.started("quick").await;
    let waits = |rig: &Rig| rig.rollout(&id).holds == [Hold::GreenHasNoTargets];
    rig.until("it waits for targets", waits).await;
    assert_eq!(rig.rollout(&id).state, StateName::Installing);
    let group = GroupRef::GreenOf(name("shop"));
    let some = Command::SetTargets { group, targets: targets(&[9_002]), revision: None };
    rig.send(some).await.expect("registered");
    rig.until_over(&id, StateName::Succeeded).await;
}

async fn start(rig: &Rig, start: StartRollout) -> Result<Reply, Refusal> {
    rig.send(Command::StartRollout(Box::new(start))).await
}
