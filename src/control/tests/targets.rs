//! Registering targets.

use super::*;

#[tokio::test]
async fn registered_targets_outlive_the_process_and_win_over_the_file() {
    let rig = Rig::new().await;
    set(&rig, "a", &[9_011, 9_012]).await.expect("registered");
    assert_eq!(ports(&rig.shop().blue), [9_011, 9_012]);
    assert_eq!(rig.table.load().services[&name("shop")].blue.targets.len(), 2);
    let rig = rig.restart(&SHOP.replace("9001", "9021")).await;
    assert_eq!((ports(&rig.shop().blue), rig.shop().blue.registered), (vec![9_011, 9_012], true));

    rig.send(Command::ResetTargets { group: name("a") }).await.expect("reset");
    assert_eq!((ports(&rig.shop().blue), rig.shop().blue.registered), (vec![9_021], false));
    let rig = rig.restart(SHOP).await;
    assert_eq!(ports(&rig.shop().blue), [9_001]);
}

#[tokio::test]
async fn a_registration_that_the_store_refuses_changes_nothing() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.fail(outage());
    refused(set(&rig, "a", &[9_011]).await, "store_failed");
    assert_eq!(ports(&rig.shop().blue), [9_001]);
    rig.store.release();
    set(&rig, "a", &[9_011]).await.expect("registered");
    refused(set(&rig, "c", &[9_011]).await, "no_such_target_group");
    refused(set(&rig, "a", &[9_011, 9_011]).await, "bad_targets");
}

#[tokio::test]
async fn a_group_that_serves_keeps_a_target() {
    let rig = Rig::new().await;
    let refusal = refused(set(&rig, "a", &[]).await, "group_serves");
    assert!(refusal.fix().is_some(), "{refusal}");
    set(&rig, "a", &[9_011]).await.expect("others may take over");
    refused(set(&rig, "a", &[]).await, "group_serves");
    assert_eq!(ports(&rig.shop().blue), [9_011]);

    set(&rig, "b", &[]).await.expect("nobody is sent there");
    set(&rig, "b", &[9_012]).await.expect("registered");
    rig.set_split("10%").await.expect("raised");
    refused(set(&rig, "b", &[]).await, "group_serves");
    rig.set_split("0%").await.expect("lowered");
    set(&rig, "b", &[]).await.expect("nobody is sent there");

    let emptied = SHOP.replace("['127.0.0.1:9001']", "[]");
    rig.reload(&emptied).await.expect("the file's list does not count");
    let reset = rig.send(Command::ResetTargets { group: name("a") }).await;
    refused(reset, "group_serves");
}

#[tokio::test]
async fn a_reload_leaves_a_group_that_serves_a_target() {
    let rig = Rig::new().await;
    let emptied = SHOP.replace("['127.0.0.1:9001']", "[]");
    let refusal = refused(rig.reload(&emptied).await.map(Reply::Reloaded), "reload_refused");
    assert!(refusal.to_string().contains("target_groups.a.targets: "), "{refusal}");
    assert_eq!(ports(&rig.shop().blue), [9_001]);
}

#[tokio::test]
async fn green_is_not_replaced_while_it_has_traffic() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let refusal = refused(set(&rig, "b", &[9_003]).await, "green_in_use");
    assert!(refusal.to_string().contains(id.as_str()), "{refusal}");
    let group = GroupRef::GreenOf(name("shop"));
    let revision = Some(name("another"));
    let other = Command::SetTargets { group, targets: targets(&[9_002]), revision };
    refused(rig.send(other).await, "green_in_use");
    set(&rig, "b", &[9_002, 9_003]).await.expect("added");
    set(&rig, "b", &[9_003]).await.expect("removed");
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);
}

#[tokio::test]
async fn green_is_not_replaced_while_its_raise_is_being_saved() {
    let rig = Rig::new().await;
    let id = rig.started("approved").await;
    rig.until_state(&id, StateName::Ready).await;
    rig.saved().await;
    rig.store.block();
    rig.tell(&id, Verb::Approve).await.expect("approved");
    rig.until("green is about to rise", |rig| {
        rig.rollout(&id).holds.iter().any(|hold| hold.kind() == "store")
    })
    .await;
    assert_eq!(rig.green(), Weight::ZERO);
    refused(set(&rig, "b", &[9_003]).await, "green_in_use");
    rig.store.release();
    rig.until("green has 10%", |rig| rig.green() == percent("10%")).await;
}

async fn set(rig: &Rig, group: &str, ports: &[u16]) -> Result<Reply, Refusal> {
    let group = GroupRef::Named(name(group));
    let targets = targets(ports);
    rig.send(Command::SetTargets { group, targets, revision: None }).await
}

fn ports(side: &SideView) -> Vec<u16> {
    side.targets.iter().map(|target| target.address.socket_addr().port()).collect()
}
