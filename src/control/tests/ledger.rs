//! The ledger: who did what, when and why, in one chain.

use super::*;

#[tokio::test]
async fn the_story_of_a_rollout_is_told_from_its_creation_to_its_end() {
    let rig = Remains::none().start(&gated()).await;
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Succeeded).await;
    rig.saved().await;
    let story = rig.story(&id).await;
    let told = |kind: &str| story.iter().filter(|told| *told == kind).count();
    assert_eq!(story.first().map(String::as_str), Some("rollout_created"));
    assert_eq!(story.last().map(String::as_str), Some("ended"));
    assert_eq!((told("step_began"), told("green_raised"), told("bake_over")), (2, 2, 2));
    assert_eq!(told("state_entered"), 5, "{story:?}");
    let first = &rig.ledger().await[0];
    assert_eq!((first.kind.as_str(), first.actor.as_str()), ("started", "tidegate"));
}

#[tokio::test]
async fn what_gates_say_about_a_rollback_is_told_though_they_cannot_veto() {
    let rig = Remains::none().start(&gated()).await;
    let id = rig.shifting().await;
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until_over(&id, StateName::RolledBack).await;
    rig.saved().await;
    let entries = rig.ledger().await;
    let stages: Vec<String> = entries
        .iter()
        .filter(|entry| entry.kind == "gate_answered")
        .filter_map(|entry| {
            let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
            Some(detail["stage"].as_str()?.to_owned())
        })
        .collect();
    assert_eq!(stages[stages.len() - 2..], ["on-rollback", "after-rollback"], "{stages:?}");
    let abort = entries.iter().find(|entry| entry.kind == "commanded").expect("told");
    assert_eq!((abort.actor.as_str(), abort.origin.as_str()), ("ann", "test"));
    assert_eq!(abort.reason.as_deref(), Some("because"));
}

#[tokio::test]
async fn nothing_is_missing_after_an_outage() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.saved().await;
    rig.store.fail(outage());
    for _ in 0..5 {
        rig.tell(&id, Verb::Pause).await.expect("paused");
        rig.push(AlarmState::Ok).await;
        rig.tell(&id, Verb::Resume { override_regression: false }).await.expect("resumed");
    }
    rig.until("the trouble shows", |rig| rig.handle.view().store != StoreState::Good).await;
    rig.store.release();
    rig.saved().await;
    let entries = rig.ledger().await;
    let count = |kind: &str| entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count("commanded"), count("alarm_pushed")), (10, 5));
    assert!(entries.is_sorted_by_key(|entry| entry.at), "in the order of what happened");
    rig.until("the store is good", |rig| rig.handle.view().store == StoreState::Good).await;
}
