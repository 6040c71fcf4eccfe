//! Rollouts that other alarms judge than those of their service.

use super::*;

/// The configuration with a second alarm that the service does not list.
fn two() -> String {
    SHOP.replace(
        "alarms: { pager:",
        "alarms: { other: { pushed: true, on_insufficient: ignore }, pager:",
    )
}

async fn push(rig: &Rig, alarm: &str, state: AlarmState) {
    rig.send(Command::PushAlarm { alarm: name(alarm), state }).await.expect("taken");
}

fn judged_by(rig: &Rig, strategy: &str, alarms: &[&str]) -> Command {
    let alarms = Some(alarms.iter().map(|alarm| name(alarm)).collect());
    Command::StartRollout(Box::new(StartRollout { alarms, ..rig.start(strategy) }))
}

/// What the ledger says of the alarms of a rollout: the detail, and why.
async fn overridden(rig: &Rig, id: &RolloutId) -> Option<(serde_json::Value, Option<String>)> {
    rig.saved().await;
    let entries = rig.ledger().await;
    let of =
        |entry: &&Entry| entry.kind == "alarms_overridden" && entry.rollout.as_ref() == Some(id);
    let entry = entries.iter().find(of)?;
    assert_eq!(entry.actor, "ann");
    Some((serde_json::from_str(&entry.detail).unwrap(), entry.reason.clone()))
}

#[tokio::test]
async fn a_rollout_is_judged_by_the_alarms_that_it_names() {
    let rig = Remains::none().start(&two()).await;
    push(&rig, "pager", AlarmState::Alarm).await;
    let started = rig.send(judged_by(&rig, "slow", &["other", "other"])).await.expect("started");
    let id = id_of(started);
    rig.until("green has 10%", |rig| rig.green() == percent("10%")).await;
    let (detail, reason) = overridden(&rig, &id).await.expect("an entry");
    let expected = serde_json::json!({
        "judging": ["other"], "left_out": ["pager"], "in_alarm": ["pager"],
    });
    assert_eq!((detail, reason.as_deref()), (expected, Some("because")));
    let view = rig.handle.view();
    let other = view.alarms.iter().find(|alarm| alarm.alarm == name("other")).expect("shown");
    assert_eq!(other.service, Some(name("shop")));
    // What the service never listed stands in no reload's way.
    rig.reload(&two()).await.expect("reloaded");
    push(&rig, "other", AlarmState::Alarm).await;
    rig.until_over(&id, StateName::RolledBack).await;
}

#[tokio::test]
async fn a_rollout_may_be_judged_by_no_alarm() {
    let rig = Remains::none().start(&two()).await;
    push(&rig, "pager", AlarmState::Alarm).await;
    let id = id_of(rig.send(judged_by(&rig, "quick", &[])).await.expect("started"));
    rig.until_over(&id, StateName::Succeeded).await;
    let (detail, _) = overridden(&rig, &id).await.expect("an entry");
    assert_eq!(detail["judging"], serde_json::json!([]));
    assert_eq!(detail["in_alarm"], serde_json::json!(["pager"]));
}

#[tokio::test]
async fn what_is_ignored_is_in_the_ledger_too_and_what_is_not_overridden_is_not() {
    let rig = Rig::new().await;
    let plain = rig.started("quick").await;
    rig.until_over(&plain, StateName::Succeeded).await;
    assert_eq!(overridden(&rig, &plain).await, None);
    let bold = StartRollout { ignore_alarms: vec![name("pager")], ..rig.start("quick") };
    let started = rig.send(Command::StartRollout(Box::new(bold))).await.expect("started");
    let (detail, _) = overridden(&rig, &id_of(started)).await.expect("an entry");
    assert_eq!(detail["left_out"], serde_json::json!(["pager"]));
}

#[tokio::test]
async fn an_alarm_that_is_named_and_raised_or_not_there_refuses_the_rollout() {
    let rig = Remains::none().start(&two()).await;
    push(&rig, "other", AlarmState::Alarm).await;
    refused(rig.send(judged_by(&rig, "quick", &["other"])).await, "alarm_active");
    refused(rig.send(judged_by(&rig, "quick", &["unheard-of"])).await, "no_such_alarm");
}
