//! Who is blue.

use super::*;
use crate::core::model::TargetGroupName;

#[tokio::test]
async fn success_gives_green_the_role_of_blue_with_the_end_of_the_rollout() {
    let rig = Rig::new().await;
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Succeeded).await;
    let shop = rig.shop();
    assert_eq!((shop.blue.group, shop.green.group), (group("b"), group("a")));
    assert_eq!((shop.blue.revision, rig.green()), (Some(name("v1")), Weight::ZERO));
    assert_eq!(rig.table.load().services[&name("shop")].blue.group, group("b"));

    let service = record(&rig.store, "service/shop").await.expect("saved");
    let rollout = record(&rig.store, &format!("rollout/{id}")).await.expect("saved");
    assert_eq!(service.1, rollout.1, "one transaction");
    assert_eq!((&service.0["blue"], &service.0["split"]["green"]), (&"b".into(), &"0%".into()));
    assert!(rollout.0["rollout"]["rollout"]["state"]["succeeded"].is_object());
    assert_eq!(service.0["version"], rig.shop().version);

    let rig = rig.restart(SHOP).await;
    assert_eq!(rig.shop().blue.group, group("b"));
    rig.send(roles(RoleChange::Revert)).await.expect("reverted");
    assert_eq!((rig.shop().blue.group, rig.green()), (group("a"), Weight::ZERO));
    let rig = rig.restart(SHOP).await;
    assert_eq!(rig.shop().blue.group, group("a"));
    let kinds: Vec<String> = rig.ledger().await.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "reverted").count(), 1);
}

#[tokio::test]
async fn the_roles_stay_until_the_end_of_the_rollout_is_saved() {
    let rig = Rig::new().await;
    let id = rig.started("baked").await;
    rig.until_state(&id, StateName::Baking).await;
    rig.saved().await;
    rig.store.block();
    rig.until_state(&id, StateName::Succeeded).await;
    assert_eq!((rig.shop().blue.group, rig.green()), (group("a"), Weight::FULL));
    rig.store.release();
    rig.until_over(&id, StateName::Succeeded).await;
    assert_eq!((rig.shop().blue.group, rig.green()), (group("b"), Weight::ZERO));
}

#[tokio::test]
async fn roles_are_swapped_by_hand_only_at_100_percent() {
    let rig = Rig::new().await;
    rig.set_split("99.99%").await.expect("raised");
    refused(rig.send(roles(RoleChange::Swap)).await, "split_not_full");
    refused(rig.send(roles(RoleChange::Revert)).await, "split_not_zero");
    rig.set_split("100%").await.expect("raised");
    rig.send(roles(RoleChange::Swap)).await.expect("swapped");
    assert_eq!((rig.shop().blue.group, rig.green()), (group("b"), Weight::ZERO));
    let (saved, _) = record(&rig.store, "service/shop").await.expect("saved");
    assert_eq!((&saved["blue"], &saved["version"]), (&"b".into(), &rig.shop().version.into()));
}

#[tokio::test]
async fn there_is_no_way_back_to_a_group_without_targets_or_during_a_rollout() {
    let rig = Remains::none().start(&SHOP.replace("['127.0.0.1:9002']", "[]")).await;
    let refusal = refused(rig.send(roles(RoleChange::Revert)).await, "nothing_to_revert");
    assert!(refusal.to_string().contains("b has no targets"), "{refusal}");
    rig.started("quick").await;
    refused(rig.send(roles(RoleChange::Revert)).await, "rollout_active");
}

#[tokio::test]
async fn there_is_no_way_back_to_what_was_taken_back() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until_over(&id, StateName::RolledBack).await;
    let refusal = refused(rig.send(roles(RoleChange::Revert)).await, "nothing_to_revert");
    assert!(refusal.to_string().contains("does not run what served before"), "{refusal}");
    assert_eq!(rig.shop().blue.group, group("a"));
}

#[tokio::test]
async fn the_way_back_ends_when_the_other_group_is_given_something_else() {
    let rig = Rig::new().await;
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Succeeded).await;
    let set = |revision: Option<&str>| Command::SetTargets {
        group: GroupRef::GreenOf(name("shop")),
        targets: targets(&[9_001]),
        revision: revision.map(name),
    };
    rig.send(set(None)).await.expect("the same targets");
    rig.send(set(Some("v9"))).await.expect("another revision");
    refused(rig.send(roles(RoleChange::Revert)).await, "nothing_to_revert");
}

#[tokio::test]
async fn a_swap_that_the_store_refuses_changes_nothing() {
    let rig = Rig::new().await;
    rig.set_split("100%").await.expect("raised");
    rig.store.fail(outage());
    refused(rig.send(roles(RoleChange::Swap)).await, "store_failed");
    assert_eq!((rig.shop().blue.group, rig.green()), (group("a"), Weight::FULL));
    rig.store.release();
    rig.send(roles(RoleChange::Swap)).await.expect("swapped");
    assert_eq!(rig.shop().blue.group, group("b"));
}

fn group(text: &str) -> TargetGroupName {
    name(text)
}
