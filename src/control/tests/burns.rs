//! Burn rates: what they hold, what they take back, and what they only tell.

use super::*;
use crate::core::model::Side;
use crate::core::rollout::{Cause, Hold};
use crate::telemetry::{Outcome, OutcomeKind};

pub(super) fn with_objective() -> String {
    let config = SHOP.replacen("strategy: quick", "strategy: quick, slo: 99.9%", 1);
    config.replacen("final_bake: { for: 600ms }", "final_bake: { for: 1h }", 1)
}

impl Rig {
    /// Requests that a side answered, and that it did not.
    pub(super) fn answered(&self, side: Side, good: u64, bad: u64) {
        let table = self.table.load();
        let route = &table.services[&name("shop")];
        let meter = match side {
            Side::Blue => route.blue.meter,
            Side::Green => route.green.meter,
        };
        for (status, count) in [(200, good), (500, bad)] {
            let kind = OutcomeKind::Status(status);
            let outcome = Outcome { kind, latency_us: 1, rescued: false };
            (0..count).for_each(|_| self.handle.recorder.record(meter, outcome));
        }
    }

    fn degraded(&self, id: &RolloutId, words: &str) -> bool {
        let holds = self.rollout(id).holds.clone();
        let is_it =
            |hold: &Hold| matches!(hold, Hold::Degraded { reason } if reason.contains(words));
        holds.iter().any(is_it)
    }

    /// The exposed burn rate of a side over an hour; 0 where nothing is known.
    fn burn(&self, side: Side) -> f64 {
        let gauges = self.handle.gauges.load();
        let of_side =
            |gauge: &&crate::telemetry::BurnRateGauge| gauge.side == side && gauge.window == "1h";
        gauges.burn_rates.iter().find(of_side).map_or(0.0, |gauge| gauge.rate)
    }

    fn says(&self, id: &RolloutId, side: Side) -> String {
        let analysis = self.rollout(id).analysis.clone().expect("it is compared");
        let burn = analysis.burns.into_iter().find(|burn| burn.side == side);
        burn.expect("there is an objective").says
    }
}

#[tokio::test]
async fn a_green_whose_burn_rate_pages_holds_until_a_person_overlooks_it() {
    let rig = Remains::none().start(&with_objective()).await;
    let id = rig.shifting().await;
    rig.answered(Side::Blue, 1_000, 0);
    rig.until("the weight is held", |rig| {
        rig.answered(Side::Green, 1, 1);
        rig.degraded(&id, "not shown to be worse")
    })
    .await;
    assert!(rig.degraded(&id, "used up at a rate that pages"));
    rig.until("it is shown", |rig| rig.says(&id, Side::Green) == "page").await;
    assert_eq!(rig.says(&id, Side::Blue), "within");
    assert!(rig.rollout(&id).analysis.as_ref().is_some_and(|a| a.breaks_objective(Side::Green)));
    assert!(rig.burn(Side::Green) > 14.4 && rig.burn(Side::Blue) == 0.0);
    assert_eq!((rig.green(), rig.rollout(&id).state), (percent("10%"), StateName::Shifting));
    rig.saved().await;
    assert!(rig.story(&id).await.contains(&"burn_changed".to_owned()));
    let resume = Verb::Resume { override_regression: true };
    rig.tell(&id, resume).await.expect("there is something to override");
    rig.until("nothing holds it", |rig| !rig.degraded(&id, "")).await;
    assert_eq!(rig.says(&id, Side::Green), "page", "it is overlooked and not over");
}

#[tokio::test]
async fn with_all_the_traffic_a_burn_rate_that_pages_takes_it_back() {
    let rig = Remains::none().start(&with_objective()).await;
    let id = rig.started("baked").await;
    rig.until("green has everything", |rig| rig.green() == Weight::FULL).await;
    rig.until("it is taken back", |rig| {
        rig.answered(Side::Green, 1, 1);
        rig.green() == Weight::ZERO
    })
    .await;
    rig.until_over(&id, StateName::RolledBack).await;
    let cause = rig.rollout(&id).cause.clone();
    let told = |reason: &str| reason.contains("nobody to compare it with");
    assert!(matches!(&cause, Some(Cause::Slo { reason }) if told(reason)), "{cause:?}");
}

#[tokio::test]
async fn blue_is_watched_before_the_rollout_and_what_both_do_is_shared() {
    let rig = Remains::none().start(&with_objective()).await;
    rig.until("blue is watched", |rig| {
        rig.answered(Side::Blue, 10, 1);
        rig.burn(Side::Blue) > 14.4
    })
    .await;
    // Its past stays where the process does.
    let rig = rig.revive(&with_objective()).await;
    let id = rig.shifting().await;
    rig.until("blue holds it", |rig| rig.degraded(&id, "blue fails")).await;
    rig.until("both do", |rig| {
        rig.answered(Side::Green, 10, 1);
        rig.degraded(&id, "shared degradation")
    })
    .await;
    assert_eq!((rig.green(), rig.rollout(&id).state), (percent("10%"), StateName::Shifting));
}

#[tokio::test]
async fn a_ticket_is_told_and_holds_nothing() {
    let rig = Remains::none().start(&with_objective()).await;
    let id = rig.shifting().await;
    rig.until("it is a ticket", |rig| {
        // Five times what is permitted.
        rig.answered(Side::Green, 199, 1);
        rig.says(&id, Side::Green) == "ticket"
    })
    .await;
    assert!(rig.rollout(&id).holds.iter().all(|hold| !matches!(hold, Hold::Degraded { .. })));
    rig.saved().await;
    let told = rig.story(&id).await.iter().filter(|kind| *kind == "burn_changed").count();
    assert_eq!(told, 1);
}
