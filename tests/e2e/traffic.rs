//! Releasing software costs no request and no connection.

use std::time::Duration;

use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;
use tokio::time::sleep;

use crate::kit::{Api, Dice, Load, Origin, Rate, Shop, Tidegate, Turn, report, until};

/// The load, some more than what must be reached.
const RATE: Rate = Rate { per_second: 1_200, connections: 32 };
/// What must be reached.
const LEAST_PER_SECOND: f64 = 1_000.0;
/// More at once than the load ever has, so that it never needs one more connection.
const WARMING: Rate = Rate { per_second: 2_000, connections: 48 };

const WEIGHT_CHANGES: usize = 200;
const ROLLOUTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weight_changes_and_rollouts_under_load_cost_no_request_and_no_connection() {
    let _turn = Turn::wait().await;
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let api = tidegate.api();
    for (group, weight) in [(&a, "0%"), (&b, "100%")] {
        warm_up(&tidegate, &api, group, weight).await;
    }
    let connections = (a.connections(), b.connections());
    let given_up = tidegate.given_up_connections();

    let load = Load::start(tidegate.public(), "/", RATE);
    change_weights(&api).await;
    for number in 0..ROLLOUTS {
        roll_out(&api, number).await;
    }
    let (answers, rate) = load.stop().await;

    report(&format!("{rate:.0} requests a second, {answers:?}"));
    assert_eq!((answers.failed, answers.errors), (0, 0), "{:?}", answers.failures);
    assert!(answers.blue > 0 && answers.green > 0, "{answers:?}");
    let opened = a.connections() - connections.0 + b.connections() - connections.1;
    // A pooled connection is lost when a request takes it in the moment in which its watcher lets
    // go of it: Pingora says so each time, and nothing else may open a connection.
    let given_up = tidegate.given_up_connections() - given_up;
    report(&format!("{opened} new upstream connections, {given_up} pooled ones given up"));
    assert_eq!(opened.saturating_sub(given_up), 0, "new upstream connections: {answers:?}");
    assert!(rate >= LEAST_PER_SECOND, "only {rate:.0} requests a second");
}

/// Has a group answer slowly, until it has as many connections as it can ever need.
async fn warm_up(tidegate: &Tidegate, api: &Api, group: &Origin, weight: &str) {
    api.split("shop", weight).await;
    group.delay(Duration::from_millis(200));
    let load = Load::start(tidegate.public(), "/", WARMING);
    let wanted = u64::from(WARMING.connections);
    until("the group is warm", async || group.connections() >= wanted).await;
    group.delay(Duration::ZERO);
    let (answers, _) = load.stop().await;
    assert_eq!((answers.failed, answers.errors), (0, 0), "{:?}", answers.failures);
}

async fn change_weights(api: &Api) {
    let mut dice = Dice::seeded();
    for _ in 0..WEIGHT_CHANGES {
        // Every tenth is an end of the scale; the others are anywhere, and come again.
        let bp = match dice.of(0..20) {
            0 => 0,
            1 => 10_000,
            _ => dice.of(1..100) * 101,
        };
        let weight = u16::try_from(bp).ok().and_then(|bp| Weight::from_bp(bp).ok());
        let weight = weight.expect("within the scale");
        let service = api.split("shop", &weight.to_string()).await;
        assert_eq!(service.weights.configured.green, weight);
        assert_eq!(service.weights.in_force.green, weight);
    }
    api.split("shop", "0%").await;
}

/// One rollout from its start to its success; the roles have changed hands afterwards.
async fn roll_out(api: &Api, number: usize) {
    let before = api.service("shop").await;
    let rollout = api.roll_out(&before, &format!("v{number}")).await.expect("it starts");
    let id = rollout.id.to_string();
    until("the rollout is over", async || {
        sleep(Duration::from_millis(20)).await;
        api.service("shop").await.active_rollout.is_none()
    })
    .await;
    let rollout = api.rollout(&id).await;
    assert_eq!(rollout.state, StateName::Succeeded, "{rollout:?}");
    let after = api.service("shop").await;
    assert_eq!(after.blue.target_group, before.green.target_group);
    assert_eq!(after.weights.in_force.green, Weight::ZERO);
}

const SHOP: Shop = Shop {
    service: "\
health_check: { path: /healthz, interval: 1s, timeout: 5s, healthy_after: 1, unhealthy_after: 5 }
strategy: quick
tell_side: true
",
    file: "\
strategies:
  quick:
    steps:
      - { weight: 10%, bake: 200ms }
      - { weight: 50%, bake: 100ms }
",
};
