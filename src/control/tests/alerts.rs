//! Alarms that Alertmanager tells.

use super::*;
use crate::core::rollout::Cause;

/// The configuration with a pager that alerts tell.
fn told(keys: &str) -> String {
    stale_after("5h", keys)
}

/// The same where what was told counts for so long.
fn stale_after(limit: &str, keys: &str) -> String {
    let pushed = "pager: { pushed: true, on_insufficient: ignore }";
    let told = format!("alertmanager: {{ {keys} }}, stale_after: {limit}");
    assert!(SHOP.contains(pushed));
    SHOP.replace(pushed, &format!("pager: {{ {told}, on_insufficient: ignore }}"))
}

fn alert(labels: &[(&str, &str)], fingerprint: &str, is_firing: bool) -> Alert {
    Alert {
        is_firing,
        labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        fingerprint: fingerprint.to_owned(),
        summary: "too many errors".to_owned(),
    }
}

fn of_pager(fingerprint: &str, is_firing: bool) -> Alert {
    alert(&[("tidegate_alarm", "pager"), ("instance", fingerprint)], fingerprint, is_firing)
}

async fn hear(rig: &Rig, alerts: Vec<Alert>) -> HookReport {
    let reply = rig.send(Command::HearAlerts { alerts }).await.expect("heard");
    let Reply::AlertsHeard(report) = reply else { panic!("{reply:?}") };
    report
}

/// What the pager says after alerts.
async fn after(rig: &Rig, alerts: Vec<Alert>) -> AlarmState {
    let report = hear(rig, alerts).await;
    let view = rig.handle.view();
    let state = view.alarms[0].state;
    let heard: Vec<_> = report.heard.iter().map(|(name, says)| (name.as_str(), *says)).collect();
    assert_eq!(heard, [("pager", state)]);
    state
}

#[tokio::test]
async fn an_alert_that_fires_takes_the_traffic_back_before_it_is_answered() {
    let rig = Remains::none().start(&told("")).await;
    let id = rig.shifting().await;
    assert_eq!(after(&rig, vec![of_pager("a", true)]).await, AlarmState::Alarm);
    assert_eq!(rig.green(), Weight::ZERO);
    let view = rig.rollout(&id);
    assert_eq!(view.cause, Some(Cause::Alarm { alarm: name("pager") }));
    let reason = rig.handle.view().alarms[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("firing: too many errors"));
    rig.until_over(&id, StateName::RolledBack).await;
}

#[tokio::test]
async fn an_alarm_is_ok_again_when_the_last_of_its_alerts_is_resolved() {
    let rig = Remains::none().start(&told("")).await;
    assert_eq!(rig.handle.view().alarms[0].state, AlarmState::InsufficientData);
    let both = vec![of_pager("a", true), of_pager("b", true)];
    assert_eq!(after(&rig, both).await, AlarmState::Alarm);
    assert_eq!(after(&rig, vec![of_pager("a", false)]).await, AlarmState::Alarm);
    let rig = rig.restart(&told("")).await;
    assert_eq!(rig.handle.view().alarms[0].state, AlarmState::Alarm);
    assert_eq!(after(&rig, vec![of_pager("b", false)]).await, AlarmState::Ok);
    let reason = rig.handle.view().alarms[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("resolved: too many errors"));
    rig.saved().await;
    let entries = rig.ledger().await;
    let pushed = entries.iter().filter(|entry| entry.kind == "alarm_pushed").count();
    assert_eq!(pushed, 2, "what changes nothing is no entry");
}

#[tokio::test]
async fn a_person_can_say_that_an_alert_is_over() {
    let rig = Remains::none().start(&told("")).await;
    assert_eq!(after(&rig, vec![of_pager("lost", true)]).await, AlarmState::Alarm);
    rig.push(AlarmState::Ok).await;
    assert_eq!(rig.handle.view().alarms[0].state, AlarmState::Ok);
    assert_eq!(after(&rig, vec![of_pager("a", false)]).await, AlarmState::Ok);
}

#[tokio::test]
async fn labels_tell_what_an_alert_is_about_and_what_is_about_nothing_is_named() {
    let keys = "matchers: { alertname: Down, service: shop }";
    let rig = Remains::none().start(&told(keys)).await;
    let other = alert(&[("alertname", "Down"), ("service", "cart")], "b", true);
    let report = hear(&rig, vec![other]).await;
    assert!(report.heard.is_empty());
    assert_eq!(report.unknown, ["{alertname=\"Down\", service=\"cart\"}"]);
    let more = [("alertname", "Down"), ("service", "shop"), ("instance", "x")];
    assert_eq!(after(&rig, vec![alert(&more, "a", true)]).await, AlarmState::Alarm);
}

#[tokio::test]
async fn a_heartbeat_says_that_nothing_fires_and_silence_says_nothing() {
    let config = stale_after("1s", "heartbeat: { alertname: Watchdog }");
    let rig = Remains::none().start(&config).await;
    let beat = || alert(&[("alertname", "Watchdog")], "w", true);
    assert_eq!(after(&rig, vec![beat()]).await, AlarmState::Ok);
    let silent = |rig: &Rig| rig.handle.view().alarms[0].state == AlarmState::InsufficientData;
    rig.until("it is stale", silent).await;
    assert_eq!(after(&rig, vec![beat()]).await, AlarmState::Ok);
    assert_eq!(after(&rig, vec![of_pager("a", true)]).await, AlarmState::Alarm);
    assert_eq!(after(&rig, vec![beat()]).await, AlarmState::Alarm, "it still fires");
}
