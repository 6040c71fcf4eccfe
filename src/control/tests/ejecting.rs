//! Ejecting targets for what their requests came to, and slow start.

use super::*;
use crate::core::model::TargetHealth;
use crate::core::routing::LiveTarget;

/// Group a has two targets, and an ejection does not take long.
pub(super) fn two_targets(keys: &str) -> String {
    let targets = "'127.0.0.1:9001', '127.0.0.1:9003'";
    let shop = SHOP.replacen("'127.0.0.1:9001'", targets, 1);
    shop.replacen("min_green: 0", &format!("min_green: 0, {keys}"), 1)
}

pub(super) fn first_of_blue(rig: &Rig) -> Arc<LiveTarget> {
    Arc::clone(&rig.table.load().services[&name("shop")].blue.targets[0])
}

pub(super) fn fail(target: &LiveTarget, times: usize) {
    (0..times).for_each(|_| target.count_failure());
}

#[tokio::test]
async fn failures_in_a_row_eject_a_target_until_its_time_is_over() {
    let keys = "outlier_ejection: { consecutive_failures: 3, base: 1s, max: 1s }";
    let rig = Remains::none().start(&two_targets(keys)).await;
    let target = first_of_blue(&rig);
    fail(&target, 2);
    target.count_success();
    fail(&target, 3);
    rig.until("it is ejected", |_| target.is_ejected()).await;
    rig.until("others see it", |rig| {
        let blue = rig.shop().blue;
        let ejected: Vec<bool> = blue.targets.iter().map(|target| target.ejected).collect();
        blue.health.healthy == 1 && ejected == [true, false]
    })
    .await;
    assert_eq!(target.health(), TargetHealth::Healthy, "checks said nothing of it");
    rig.until("it is back", |_| !target.is_ejected()).await;
    assert_eq!(target.consecutive_failures(), 0);
    rig.until("others see it", |rig| rig.shop().blue.health.healthy == 2).await;
}

#[tokio::test]
async fn a_target_alone_is_never_ejected_and_nobody_is_once_it_is_off() {
    let rig = Remains::none().start(&two_targets("outlier_ejection: { base: 1h, max: 1h }")).await;
    let alone = Arc::clone(&rig.table.load().services[&name("shop")].green.targets[0]);
    let target = first_of_blue(&rig);
    fail(&alone, 99);
    fail(&target, 5);
    rig.until("one of two is ejected", |_| target.is_ejected()).await;
    assert!(!alone.is_ejected());
    rig.reload(&two_targets("outlier_ejection: off")).await.expect("reloaded");
    rig.until("it is back at once", |_| !target.is_ejected()).await;
}

#[tokio::test]
async fn a_target_that_is_registered_grows_into_its_share() {
    let rig = Remains::none().start(&two_targets("slow_start: 1h")).await;
    let old = first_of_blue(&rig);
    rig.until("it begins with a tenth", |_| old.share_bp() < 2_000).await;
    rig.reload(&two_targets("slow_start: 1ms")).await.expect("reloaded");
    rig.until("it has the whole", |_| old.share_bp() == 10_000).await;
    rig.reload(&two_targets("slow_start: 1h")).await.expect("reloaded");
    set(&rig, "a", &[9_001, 9_004]).await.expect("registered");
    let new = Arc::clone(&rig.table.load().services[&name("shop")].blue.targets[1]);
    rig.until("the new one has a tenth", |_| new.share_bp() < 2_000).await;
}

async fn set(rig: &Rig, group: &str, ports: &[u16]) -> Result<Reply, Refusal> {
    let group = GroupRef::Named(name(group));
    rig.send(Command::SetTargets { group, targets: targets(ports), revision: None }).await
}
