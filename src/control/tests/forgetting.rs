//! What gates keep, after they or their services are declared no more.

use super::recovering::until_kept;
use super::*;
use crate::core::rollout::GateState as _;

impl Rig {
    /// Has a gate keep something for a service.
    fn keep(&self, service: &str, gate: &str) {
        let kept = self.gates.state.set_value(&name(service), &name(gate), "polls", "1");
        assert_eq!(kept, Ok(()));
    }

    /// Whether a gate keeps something for a service.
    fn keeps(&self, service: &str, gate: &str) -> bool {
        !self.gates.state.keys(&name(service), &name(gate)).is_empty()
    }
}

#[tokio::test]
async fn what_a_gate_keeps_goes_with_the_gate_or_the_service_at_a_reload_and_at_a_start() {
    let rig = Remains::none().start(&gated()).await;
    for (service, gate) in [("shop", "probe"), ("shop", "other"), ("cart", "probe")] {
        rig.keep(service, gate);
    }
    until_kept(&rig, |records| records.len() == 3).await;
    rig.reload(&gated()).await.expect("reloaded");
    assert!(!rig.keeps("shop", "other") && !rig.keeps("cart", "probe"));
    until_kept(&rig, |records| records.len() == 1).await;
    assert!(rig.keeps("shop", "probe"));

    let rig = rig.restart(&gated()).await;
    assert!(rig.keeps("shop", "probe"));
    let rig = rig.restart(SHOP).await;
    assert!(!rig.keeps("shop", "probe"));
    until_kept(&rig, <[String]>::is_empty).await;
}

#[tokio::test]
async fn what_a_gate_keeps_for_a_rollout_that_runs_stays_until_that_is_over() {
    let rig = Remains::none().start(&gated()).await;
    let id = rig.shifting().await;
    rig.keep("shop", "probe");
    until_kept(&rig, |records| records.len() == 1).await;
    let rig = rig.restart(SHOP).await;
    assert!(rig.keeps("shop", "probe"), "the gate may be put back, and the rollout goes on then");
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until_over(&id, StateName::RolledBack).await;
    rig.saved().await;
    rig.reload(SHOP).await.expect("reloaded");
    assert!(!rig.keeps("shop", "probe"));
    until_kept(&rig, <[String]>::is_empty).await;
}
