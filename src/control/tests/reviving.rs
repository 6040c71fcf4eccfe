//! Another control side in the same process, as after an upgrade that failed.

use super::ejecting::{fail, first_of_blue, two_targets};
use super::recovering::answer;
use super::*;
use crate::core::model::TargetHealth;
use crate::core::routing::ServiceRoute;

const EJECTING: &str = "outlier_ejection: { consecutive_failures: 3, base: 1h, max: 1h }";

/// What the next request loads.
fn route(rig: &Rig) -> Arc<ServiceRoute> {
    Arc::clone(&rig.table.load().services[&name("shop")])
}

fn blue_link(rig: &Rig) -> u64 {
    route(rig).blue.link.number()
}

#[tokio::test]
async fn targets_and_groups_are_the_same_for_the_next_control_side() {
    let file = two_targets("drain_timeout: 1m");
    let rig = Remains::none().start(&file).await;
    let before = route(&rig);
    let rig = rig.revive(&file).await;
    let after = route(&rig);
    assert!(after.generation > before.generation);
    for (before, after) in [(&before.blue, &after.blue), (&before.green, &after.green)] {
        assert!(Arc::ptr_eq(&before.live, &after.live), "streams are told to leave through it");
        assert!(Arc::ptr_eq(&before.link, &after.link), "connections are pooled by it");
        assert_eq!(before.targets.len(), after.targets.len());
        for (before, after) in before.targets.iter().zip(after.targets.iter()) {
            assert!(Arc::ptr_eq(before, after), "requests are counted on it");
        }
    }
    assert!(Arc::ptr_eq(&before.live, &after.live), "the retry budget is not filled anew");
}

#[tokio::test]
async fn an_ejected_target_stays_so_until_its_time_is_over_or_ejection_is_off() {
    let rig = Remains::none().start(&two_targets(EJECTING)).await;
    let target = first_of_blue(&rig);
    fail(&target, 3);
    rig.until("it is ejected", |_| target.is_ejected()).await;
    let rig = rig.revive(&two_targets(EJECTING)).await;
    assert!(Arc::ptr_eq(&target, &first_of_blue(&rig)) && target.is_ejected());
    let was_counted = |rig: &Rig| {
        let gauges = rig.handle.gauges.load();
        gauges.ejections.iter().map(|gauge| gauge.ejections).sum::<u64>() == 1
    };
    assert!(was_counted(&rig), "counters only grow");
    rig.reload(&two_targets("outlier_ejection: off")).await.expect("reloaded");
    rig.until("it is back, since the ejection is remembered", |_| !target.is_ejected()).await;
}

#[tokio::test]
async fn what_checks_said_of_a_target_is_known_before_the_next_check() {
    let check = "health_check: { path: /, interval: 1h, timeout: 1s, unhealthy_after: 9 }";
    let rig = Remains::none().start(&two_targets(check)).await;
    first_of_blue(&rig).set_health(TargetHealth::Healthy);
    let rig = rig.revive(&two_targets(check)).await;
    assert_eq!(first_of_blue(&rig).health(), TargetHealth::Healthy);
}

#[tokio::test]
async fn no_link_has_the_number_of_an_earlier_one() {
    let h2c = SHOP.replacen("a: {", "a: { protocol: h2c,", 1);
    let rig = Rig::new().await;
    let mut seen = vec![blue_link(&rig), route(&rig).green.link.number()];
    rig.reload(&h2c).await.expect("reloaded");
    assert!(!seen.contains(&blue_link(&rig)));
    seen.push(blue_link(&rig));
    let rig = rig.revive(&h2c).await;
    assert_eq!(blue_link(&rig), seen[2], "its transport is the same");
    rig.reload(SHOP).await.expect("reloaded");
    assert!(!seen.contains(&blue_link(&rig)), "{} is one of {seen:?}", blue_link(&rig));
}

#[tokio::test]
async fn generations_go_on_although_the_table_file_was_not_written() {
    let rig = Rig::new().await;
    rig.set_split("10%").await.expect("raised");
    let before = rig.table.load().generation;
    rig.saved().await;
    let remains = Remains { served: None, ..rig.end().await };
    let rig = remains.start(SHOP).await;
    assert!(rig.table.load().generation > before);
    assert_eq!(rig.green(), percent("10%"));
}

#[tokio::test]
async fn what_green_answers_while_no_writer_runs_is_the_rollouts() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    answer(&rig.handle.recorder, &rig.table, 7);
    let remains = rig.stop().await;
    answer(&remains.process.recorder, &remains.process.table, 3);
    let rig = remains.start(SHOP).await;
    let counted = |rig: &Rig| rig.rollout(&id).tally.green_requests;
    rig.until("all are counted", |rig| counted(rig) >= 10).await;
    assert_eq!(counted(&rig), 10, "none of them twice");
}
