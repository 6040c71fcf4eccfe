//! What runs through the proxy does not notice that an upgrade failed, and neither does it miss
//! what comes afterwards.

use std::time::Duration;

use serde_json::json;
use tidegate::admin::json::Rollout;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;
use tokio::time::{Instant, sleep};

use crate::kit::{Chat, FakeSuccessor, Origin, Said, Shop, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_from_before_an_upgrade_that_failed_is_told_to_leave_at_a_rollback() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let api = tidegate.api();
    let shop = api.service("shop").await;
    let id = api.roll_out(&shop, "v2").await.expect("it starts").id.to_string();
    let half = Weight::from_bp(5_000).expect("in range");
    until("green has half", async || api.service("shop").await.weights.in_force.green == half)
        .await;
    let mut on_blue = Chat::open_at("shop-a", tidegate.public()).await;
    let mut on_green = Chat::open_at("shop-b", tidegate.public()).await;

    let mut fake = FakeSuccessor::take(tidegate.home()).await;
    fake.pause().await;
    assert!(
        on_green.say().await == Ok(Said::Echoed),
        "nothing stops it while the store is another's"
    );
    drop(fake);
    assert_eq!(api.service("shop").await.weights.in_force.green, half, "it is decided again");
    // The proxy looks at the table ten times a second: only what it has seen can mislead it.
    let revived = Instant::now();
    while revived.elapsed() < SEVERAL_LOOKS {
        assert!(on_green.say().await == Ok(Said::Echoed), "there is no reason to leave yet");
        sleep(Duration::from_millis(20)).await;
    }

    let abort = format!("/v1/rollouts/{id}/abort");
    let aborted: Rollout = api.change("POST", &abort, &json!({})).await.expect("aborted");
    assert_eq!(aborted.id.to_string(), id);
    assert_eq!(on_green.hear().await, Ok(Said::GoneAway), "it is told to leave");
    assert!(on_blue.say().await == Ok(Said::Echoed), "the other side goes on");
    until("it is rolled back", async || api.rollout(&id).await.state == StateName::RolledBack)
        .await;
}

const SHOP: Shop = Shop {
    service: "\
strategy: half
min_green: 0
drain_timeout: 1s
",
    file: "\
strategies:
  half: { steps: [{ weight: 50%, bake: 1h }] }
",
};

const SEVERAL_LOOKS: Duration = Duration::from_millis(500);
