//! Splits by hand.

use super::*;

#[tokio::test]
async fn raising_waits_for_the_store_and_lowering_does_not() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.block();
    let raise = rig.sending(split("10%"));
    rig.until_blocked().await;
    assert_eq!((rig.green(), rig.shop().configured), (Weight::ZERO, Weight::ZERO));
    refused(rig.send(split("20%")).await, "busy");
    rig.store.release();
    assert!(persisted(&raise.await.unwrap().expect("raised")));
    assert_eq!(rig.green(), percent("10%"));

    rig.store.block();
    assert!(!persisted(&rig.set_split("5%").await.expect("lowered")));
    assert_eq!(rig.green(), percent("5%"));
    rig.store.release();
    rig.saved().await;
    let (saved, _) = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!(saved["split"]["green"], "5%");
    assert_eq!(saved["version"], rig.shop().version);
}

#[tokio::test]
async fn a_raise_that_the_store_refuses_changes_nothing_and_the_next_one_works() {
    let rig = Rig::new().await;
    rig.saved().await;
    let version = rig.shop().version;
    rig.store.fail(outage());
    refused(rig.set_split("10%").await, "store_failed");
    assert_eq!((rig.green(), rig.shop().version), (Weight::ZERO, version));
    assert!(matches!(rig.handle.view().store, StoreState::Failing(_)));
    rig.store.release();
    assert!(record(&rig.store, "service/shop").await.is_none());
    rig.set_split("10%").await.expect("raised");
    assert_eq!(rig.green(), percent("10%"));
    assert_eq!(rig.handle.view().store, StoreState::Good);
}

#[tokio::test]
async fn a_raise_whose_answer_was_lost_is_taken_out_of_the_store_again() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.lose_answers(StoreError::Unavailable);
    refused(rig.set_split("10%").await, "store_failed");
    rig.store.release();
    rig.saved().await;
    let (saved, _) = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!(saved["split"]["green"], "0%");
    let kinds: Vec<String> = rig.ledger().await.into_iter().map(|entry| entry.kind).collect();
    assert!(kinds.contains(&"change_undone".to_owned()), "{kinds:?}");
    let rig = rig.restart(SHOP).await;
    assert_eq!(rig.green(), Weight::ZERO);
}

#[tokio::test]
async fn a_raise_fails_at_once_while_the_store_fails_with_something_else() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.fail(outage());
    rig.push(AlarmState::Ok).await;
    rig.until("the trouble shows", |rig| rig.handle.view().store != StoreState::Good).await;
    refused(rig.set_split("10%").await, "store_failed");
    rig.store.release();
    rig.until("the store is good", |rig| rig.handle.view().store == StoreState::Good).await;
    rig.set_split("10%").await.expect("raised");
}

#[tokio::test]
async fn lowering_overtakes_a_raise_that_is_being_saved() {
    let rig = Rig::new().await;
    rig.set_split("10%").await.expect("raised");
    rig.store.block();
    let raise = rig.sending(split("50%"));
    rig.until_blocked().await;
    rig.set_split("0%").await.expect("lowered");
    assert_eq!(rig.green(), Weight::ZERO);
    refused(raise.await.unwrap(), "busy");
    rig.store.release();
    rig.saved().await;
    let (saved, _) = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!(saved["split"]["green"], "0%");
    rig.set_split("1%").await.expect("raised");
    assert_eq!(rig.green(), percent("1%"));
}

#[tokio::test]
async fn a_split_by_hand_is_refused_while_a_rollout_is_active() {
    let rig = Rig::new().await;
    let id = rig.started("approved").await;
    let refusal = refused(rig.set_split("0%").await, "rollout_active");
    assert!(refusal.to_string().contains(id.as_str()), "{refusal}");
}

#[tokio::test]
async fn a_change_goes_through_only_if_its_author_saw_the_present_version() {
    let rig = Rig::new().await;
    rig.set_split("10%").await.expect("raised");
    let seen = |if_match| Request { if_match: Some(if_match), ..request(split("20%")) };
    let version = rig.shop().version;
    refused(rig.handle.send(seen(version + 1)).await, "version_mismatch");
    refused(rig.handle.send(seen(version - 1)).await, "version_mismatch");
    assert_eq!(rig.green(), percent("10%"));
    rig.handle.send(seen(version)).await.expect("raised");
    assert!(rig.shop().version > version);
    let (saved, _) = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!(saved["version"], rig.shop().version);

    rig.set_split("0%").await.expect("lowered");
    let id = rig.shifting().await;
    let group = GroupRef::GreenOf(name("shop"));
    let all = [
        Command::Rollout { id, verb: Verb::Pause },
        Command::SetTargets { group, targets: targets(&[9_002, 9_003]), revision: None },
        Command::StartRollout(Box::new(rig.start("quick"))),
        roles(RoleChange::Revert),
    ];
    for command in all {
        let stale = Request { if_match: Some(version), ..request(command) };
        refused(rig.handle.send(stale).await, "version_mismatch");
    }
    let rig = rig.restart(SHOP).await;
    let (saved, _) = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!(saved["version"], rig.shop().version);
}
