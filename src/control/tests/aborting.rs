//! Taking traffic back: at once, whatever the store does.

use super::*;
use crate::core::model::Span;

#[tokio::test]
async fn a_store_that_blocks_delays_no_abort() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.saved().await;
    rig.store.block();
    rig.push(AlarmState::Ok).await;
    rig.until_blocked().await;

    let before = rig.clock.mono();
    let answer = rig.sending(Command::Rollout { id: id.clone(), verb: Verb::Abort });
    rig.until("green has nothing", |rig| rig.green() == Weight::ZERO).await;
    let taken = rig.clock.mono().since(before);
    assert!(taken <= Span::from_ms(100), "it took {taken}");
    assert!(!persisted(&answer.await.unwrap().expect("aborted")));

    let view = rig.rollout(&id);
    assert_eq!((view.state, view.weight), (StateName::RolledBack, Weight::ZERO));
    assert_eq!(rig.shop().active, Some(id.clone()));
    let next = rig.send(Command::StartRollout(Box::new(rig.start("quick")))).await;
    refused(next, "rollout_active");

    rig.store.release();
    rig.until_over(&id, StateName::RolledBack).await;
    rig.saved().await;
    let story = rig.story(&id).await;
    let end = ["ended", "green_lowered", "commanded"];
    assert_eq!(story[story.len() - 3..], end, "{story:?}");
    rig.started("quick").await;
}

#[tokio::test]
async fn a_rollback_is_a_rollout_of_its_own_and_is_saved_with_the_end() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    assert!(persisted(&rig.tell(&id, Verb::Abort).await.expect("aborted")));
    rig.until_over(&id, StateName::RolledBack).await;

    let RollbackOf::RolledBackBy(rollback) = rig.rollout(&id).link.clone() else {
        panic!("no rollback")
    };
    let view = rig.rollout(&rollback);
    assert_eq!(view.link, RollbackOf::RollbackOf(id.clone()));
    assert_eq!((view.state, view.ended), (StateName::Succeeded, rig.rollout(&id).ended));
    assert!(view.ended.is_some());

    let original = record(&rig.store, &format!("rollout/{id}")).await.expect("saved");
    let back = record(&rig.store, &format!("rollout/{rollback}")).await.expect("saved");
    let service = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!((original.1, original.1), (back.1, service.1), "one transaction");
    assert_eq!(back.0["rollback"]["of"], id.as_str());
    assert_eq!(back.0["rollback"]["at"], original.0["rollout"]["ended"]);
    assert_eq!(service.0["split"]["green"], "0%");

    let rig = rig.restart(SHOP).await;
    assert_eq!(rig.rollout(&id).link, RollbackOf::RolledBackBy(rollback.clone()));
    assert_eq!(rig.rollout(&rollback).link, RollbackOf::RollbackOf(id.clone()));
    assert_eq!(rig.shop().active, None);
    rig.started("quick").await;
}

#[tokio::test]
async fn an_abort_before_there_was_traffic_fails_the_rollout_and_leaves_the_targets() {
    let rig = Rig::new().await;
    let start = StartRollout { targets: Some(targets(&[9_005])), ..rig.start("approved") };
    let id = id_of(rig.send(Command::StartRollout(Box::new(start))).await.expect("started"));
    rig.until_state(&id, StateName::Ready).await;
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until_over(&id, StateName::Failed).await;
    assert_eq!(rig.rollout(&id).link, RollbackOf::None);
    assert_eq!(rig.shop().green.targets[0].address, name("127.0.0.1:9005"));
    refused(rig.tell(&id, Verb::Abort).await, "rollout_over");
}

#[tokio::test]
async fn what_was_taken_back_but_not_saved_stays_taken_back() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.saved().await;
    rig.store.block();
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    let rig = rig.crash().await.start(SHOP).await;
    assert_eq!(rig.exposure().split.green(), Weight::ZERO);
    rig.until_over(&id, StateName::RolledBack).await;
    rig.saved().await;
    assert!(rig.story(&id).await.contains(&"restored".to_owned()));
}

#[tokio::test]
async fn a_stopped_rollout_keeps_its_split_over_a_restart() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.tell(&id, Verb::Stop).await.expect("stopped");
    rig.until_over(&id, StateName::Stopped).await;
    let salt = rig.exposure().salt;
    let rig = rig.restart(SHOP).await;
    let exposure = rig.exposure();
    assert_eq!((exposure.split.green(), exposure.salt), (percent("10%"), salt));
    assert!(!exposure.green_exists);
    let next = rig.send(Command::StartRollout(Box::new(rig.start("quick")))).await;
    refused(next, "split_not_zero");
    rig.set_split("0%").await.expect("lowered");
    rig.started("quick").await;
}
