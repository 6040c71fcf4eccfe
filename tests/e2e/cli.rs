//! The command line against a real process: what a pipeline does, and what it can branch on.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::core::model::Weight;
use tokio::join;
use tokio::time::sleep;

use crate::kit::{Api, Cli, Load, Origin, Ports, Rate, Tidegate, until};

/// Every step wants to see requests.
const RATE: Rate = Rate { per_second: 100, connections: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_registers_targets_and_waits_for_a_rollout() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| config(ports, &a)).await;
    let (api, cli) = (tidegate.api(), Cli::of(&tidegate));

    let targets = format!("service targets shop {}", b.address());
    cli.run(&targets).await.ended(0);
    let registered = api.service("shop").await.green.targets;
    let registered: Vec<_> = registered.iter().map(|target| target.address.clone()).collect();
    assert_eq!(registered, [b.address().to_string()]);

    let load = Load::start(tidegate.public(), "/", RATE);
    let waited = cli.run("rollout start shop --revision v2 --wait --timeout 25s").await;
    assert_eq!(waited.ended(0)["state"], "succeeded", "{waited:?}");
    assert!(waited.shown.len() > 2, "it tells what goes on: {waited:?}");
    assert_eq!(api.service("shop").await.blue.target_group.to_string(), "shop-b");
    let (answers, _) = load.stop().await;
    assert_eq!((answers.failed, answers.errors), (0, 0), "{:?}", answers.failures);

    let running = cli.run("ledger verify").await;
    assert_eq!(running.ended(0)["whole"], true, "{running:?}");
    let entries = |verified: &Value| verified["entries"].as_u64().expect("a number");
    assert!(entries(running.ended(0)) > 5, "{running:?}");
    tidegate.end().await;
    let store = tidegate.home().path().join("tidegate.db");
    let stopped = cli.run(&format!("ledger verify --store {}", store.display())).await;
    assert_eq!(stopped.ended(0)["whole"], true, "{stopped:?}");
    assert!(entries(stopped.ended(0)) >= entries(running.ended(0)), "{stopped:?}");
    let unreachable = cli.run("status").await;
    unreachable.ended(4);
    assert!(unreachable.said.contains("tidegate serve"), "{unreachable:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_approves_and_aborts_and_whoever_waits_is_told() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config(ports, &a)).await;
    let (api, cli) = (tidegate.api(), Cli::of(&tidegate));
    let _load = Load::start(tidegate.public(), "/", RATE);
    let start = format!(
        "rollout start shop --revision v2 --target {} --strategy asking --wait --timeout 25s",
        b.address()
    );
    let told = async {
        let mut id = String::new();
        until("the rollout waits for an approval", async || {
            id = match api.service("shop").await.active_rollout {
                Some(active) => active.to_string(),
                None => return false,
            };
            api.rollout(&id).await.holds.iter().any(|hold| hold.kind == "approval")
        })
        .await;
        let second = cli.run("rollout start shop --revision v9").await.problem();
        assert_eq!(
            (&second["code"], &second["active_rollout"]),
            (&json!("rollout_active"), &json!(id))
        );
        let late = cli.run(&format!("rollout watch {id} --timeout 1s")).await;
        assert_eq!(late.ended(13)["id"], json!(id), "{late:?}");

        let approved = cli.run(&format!("rollout approve {id} --reason reviewed")).await;
        assert_eq!(approved.ended(0)["id"], json!(id), "{approved:?}");
        let half: Weight = "50%".parse().expect("a weight");
        until("green has its weight", async || {
            api.service("shop").await.weights.in_force.green == half
        })
        .await;
        let again = cli.run(&format!("rollout approve {id}")).await.problem();
        assert!(again["detail"].as_str().is_some_and(|why| why.contains("no approval")), "{again}");
        let aborted = cli.run(&format!("rollout abort {id} --reason enough")).await;
        assert_eq!(aborted.ended(0)["state"], "rolled_back", "{aborted:?}");
        assert_eq!(api.service("shop").await.weights.in_force.green, Weight::ZERO);
        id
    };
    let (waited, id) = join!(cli.run(&start), told);
    assert_eq!(waited.ended(10)["id"], json!(id), "{waited:?}");

    free(&api).await;
    cli.run(&format!("rollout watch {id}")).await.ended(10);
    let refused = cli.run(&format!("rollout abort {id}")).await.problem();
    assert!(refused["detail"].as_str().is_some_and(|why| !why.is_empty()), "{refused}");
    let ledger = api.ledger(Some(&id)).await;
    for reason in ["reviewed", "enough"] {
        let given = ledger.iter().any(|entry| entry.reason.as_deref() == Some(reason));
        assert!(given, "{reason:?} is not in {ledger:?}");
    }
}

/// Waits until the service has no active rollout.
async fn free(api: &Api) {
    until("the rollout's end is saved", async || {
        sleep(Duration::from_millis(20)).await;
        api.service("shop").await.active_rollout.is_none()
    })
    .await;
}

fn config(ports: &Ports, a: &Origin) -> String {
    let Ports { public, admin } = ports;
    let a = a.address();
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{a}'] }}
  shop-b: {{ targets: [] }}
services:
  shop:
    target_groups: [shop-a, shop-b]
    health_check: {{ path: /healthz, interval: 200ms, timeout: 5s, healthy_after: 1 }}
    strategy: quick
    tell_side: true
strategies:
  quick:
    steps:
      - {{ weight: 10%, bake: 200ms }}
      - {{ weight: 50%, bake: 600ms }}
  asking:
    steps:
      - {{ weight: 10%, bake: 100ms }}
      - {{ approval: {{ timeout: 1h }} }}
      - {{ weight: 50%, bake: 1h }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}
