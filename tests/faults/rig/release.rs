//! Rollouts as the faults need them: one that bakes for long, and its end.

use serde_json::json;
use tidegate::admin::json::Rollout;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;

use crate::kit::{Api, until};

/// Starts a rollout of the service `shop`, and waits until its first step, the bake of an hour at
/// a weight, has begun; gives its id.
pub(crate) async fn baking_at(api: &Api, revision: &str, weight: &str) -> String {
    let service = api.service("shop").await;
    let rollout = api.roll_out(&service, revision).await.expect("it starts");
    let id = rollout.id.to_string();
    let wanted: Weight = weight.parse().expect("a weight");
    until("the rollout has its weight", async || {
        let in_force = api.service("shop").await.weights.in_force.green;
        in_force == wanted && api.rollout(&id).await.state == StateName::Shifting
    })
    .await;
    id
}

/// Tells a rollout to do something.
pub(crate) async fn tell(api: &Api, id: &str, verb: &str) {
    let path = format!("/v1/rollouts/{id}/{verb}");
    let told: Rollout = api.change("POST", &path, &json!({})).await.expect("it makes sense");
    assert_eq!(told.id.to_string(), id);
}

/// Waits until a rollout is over, which is to be in this way.
pub(crate) async fn ends_as(api: &Api, id: &str, state: StateName) {
    until("the rollout is over", async || api.service("shop").await.active_rollout.is_none()).await;
    let rollout = api.rollout(id).await;
    assert_eq!(rollout.state, state, "{rollout:?}");
}
