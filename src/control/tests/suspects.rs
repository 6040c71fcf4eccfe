//! One bad target of green: it is ejected, and its green goes on; a bad green does not.

use super::comparing::{BAD, OK};
use super::*;
use crate::core::analysis::comparison::Settled;
use crate::core::analysis::verdict::Word;
use crate::core::model::{Side, TargetHealth};
use crate::core::rollout::{Cause, Hold};
use crate::core::routing::LiveTarget;

/// Green has so many targets; `keys` are the service's.
pub(super) fn with_targets(ports: &[u16], keys: &str) -> String {
    let targets: Vec<String> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    let shop = SHOP.replacen("'127.0.0.1:9002'", &targets.join(", "), 1);
    shop.replacen("min_green: 0", &format!("min_green: 0, {keys}"), 1)
}

pub(super) const THREE: [u16; 3] = [9_002, 9_004, 9_005];
/// As usual, and named so that a test can take its place.
pub(super) const USUAL: &str = "outlier_ejection: { base: 1h, max: 1h }";

impl Rig {
    pub(super) fn of_green(&self, place: usize) -> Arc<LiveTarget> {
        let table = self.table.load();
        let targets = &table.services[&name("shop")].green.targets;
        Arc::clone(targets.iter().find(|target| target.place() == place).expect("it is there"))
    }

    /// Green fails on the given places in turn, and blue answers well, until something is so.
    pub(super) async fn fail_on(
        &self,
        places: &[usize],
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) {
        for turn in 0..400 {
            if condition(self) {
                return;
            }
            let endpoint = Some(places[turn % places.len()]);
            self.counted(Side::Green, "10%", Settled { endpoint, ..BAD });
            for _ in 0..9 {
                self.counted(Side::Blue, "10%", OK);
            }
            // Longer than the least time between two evaluations.
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        panic!("not in time: {what}\n{:#?}", self.handle.view());
    }
}

#[tokio::test]
async fn a_target_that_carries_all_the_evidence_is_ejected_and_nothing_is_rolled_back() {
    let rig = Remains::none().start(&with_targets(&THREE, USUAL)).await;
    let id = rig.shifting().await;
    let bad = rig.of_green(1);
    rig.fail_on(&[1], "the bad one is ejected", |_| bad.is_ejected()).await;
    assert!(!rig.of_green(0).is_ejected() && !rig.of_green(2).is_ejected());
    // What it had in flight fails as well, and is no reason for more.
    for _ in 0..5 {
        rig.feed(Side::Green, "10%", Settled { endpoint: Some(1), ..BAD }).await;
    }
    rig.until("others see it", |rig| rig.analysis(&id).ejected.len() == 1).await;
    assert_eq!((rig.rollout(&id).state, rig.green()), (StateName::Shifting, percent("10%")));
    let analysis = rig.analysis(&id);
    assert!(analysis.evidence >= analysis.needed && analysis.one_target, "{analysis:?}");
    assert_ne!(analysis.verdict, Word::Fail);
    assert!(analysis.ejected[0].starts_with(&bad.address().to_string()), "{analysis:?}");
    rig.saved().await;
    let told = |story: Vec<String>| story.iter().filter(|kind| *kind == "target_ejected").count();
    assert_eq!(told(rig.story(&id).await), 1);
    // After a restart it is known, and what was known before ejects nobody again.
    rig.tell(&id, Verb::Pause).await.expect("paused");
    let rig = rig.restart(&with_targets(&THREE, USUAL)).await;
    rig.feed(Side::Blue, "10%", OK).await;
    rig.until("it is known", |rig| rig.analysis(&id).ejected == analysis.ejected).await;
    rig.until("it was evaluated", |rig| rig.analysis(&id).one_target).await;
    assert!((0..3).all(|place| !rig.of_green(place).is_ejected()));
    assert_eq!(told(rig.story(&id).await), 1);
}

#[tokio::test]
async fn a_green_that_fails_on_every_target_is_taken_back_all_the_same() {
    let rig = Remains::none().start(&with_targets(&THREE, USUAL)).await;
    let id = rig.shifting().await;
    rig.fail_on(&[0, 1, 2], "it is taken back", |rig| rig.green() == Weight::ZERO).await;
    rig.until_over(&id, StateName::RolledBack).await;
    let cause = rig.rollout(&id).cause.clone();
    assert!(matches!(cause, Some(Cause::Evidence { .. })), "{cause:?}");
}

#[tokio::test]
async fn fewer_targets_than_leave_one_out_asks_for_eject_nobody() {
    let rig = Remains::none().start(&with_targets(&THREE[..2], USUAL)).await;
    let id = rig.shifting().await;
    rig.fail_on(&[1], "it is taken back", |rig| rig.green() == Weight::ZERO).await;
    rig.until_over(&id, StateName::RolledBack).await;
    assert!(rig.analysis(&id).ejected.is_empty());
}

#[tokio::test]
async fn a_suspect_that_may_not_be_ejected_stays_in_and_holds_the_weight() {
    let two = "analysis: { leave_one_out: 2 }";
    let last = format!("{USUAL}, {two}");
    let off = format!("outlier_ejection: off, {two}");
    for (keys, is_last) in [(last, true), (off, false)] {
        let rig = Remains::none().start(&with_targets(&THREE[..2], &keys)).await;
        let id = rig.shifting().await;
        let (bad, other) = (rig.of_green(0), rig.of_green(1));
        if is_last {
            other.set_health(TargetHealth::Unhealthy);
        }
        let held = |rig: &Rig| {
            rig.rollout(&id).holds.iter().any(|hold| {
                matches!(hold, Hold::Degraded { reason } if reason.contains("is not ejected"))
            })
        };
        rig.fail_on(&[0], "the weight is held", held).await;
        assert!(!bad.is_ejected() && rig.analysis(&id).ejected.is_empty());
        assert_eq!(rig.green(), percent("10%"));
        let resume = Verb::Resume { override_regression: true };
        rig.tell(&id, resume).await.expect("there is something to override");
        rig.until("nothing holds it", |rig| !held(rig)).await;
    }
}
