//! What took a rollout back is run again from its evidence, to the same decisions at the same times:
//! over the admin API, from the file, after a restart, and by another policy.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tidegate::admin::json::Rollout;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;

use crate::kit::{Api, Cli, Load, Origin, Rate, Shop, Tidegate, until};

const RATE: Rate = Rate { per_second: 200, connections: 16 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_reproduced_exactly() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let (api, cli) = (tidegate.api(), Cli::of(&tidegate));
    let load = Load::start(tidegate.public(), "/", RATE);
    until("blue has had traffic", async || a.requests() > 100).await;
    b.fail(10_000);
    let id = started(&api, "v1").await;
    let record = taken_back(&api, &id).await;
    load.stop().await;

    let replayed = cli.run(&format!("replay {id}")).await;
    let replayed = replayed.ended(0);
    require_reproduced(replayed, &record);
    assert_eq!(replayed["as_recorded"], true, "{replayed}");
    assert_eq!(replayed["restarts"], 0, "{replayed}");

    // Whoever takes 50 times the risk knows no later.
    let home = tidegate.home().path();
    let config = std::fs::read_to_string(home.join("tidegate.yaml")).expect("readable");
    let hasty = config.replace("    rescue", "    analysis: { alpha: 5% }\n    rescue");
    assert_ne!(hasty, config);
    let other = home.join("other.yaml");
    std::fs::write(&other, hasty).expect("written");
    let with = cli.run(&format!("replay {id} --with {}", other.display())).await;
    let with = &with.ended(0)["with"];
    let at = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}: {with}"));
    assert!(at(&with["takes_back_after_ms"]) <= at(&last(replayed)["after_ms"]), "{with}");
    let needed = |decided: &Value| decided["evidence_needed"].as_f64().expect("a number");
    assert!(needed(&with["decisions"][0]) < needed(last(replayed)), "{with}");

    let file = home.join("tidegate.evidence").join(format!("{id}.log"));
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let offline = cli.run(&format!("replay --file {}", file.display())).await;
    require_reproduced(offline.ended(0), &record);
    assert_eq!(offline.ended(0)["decisions"], replayed["decisions"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_goes_on_after_a_restart_and_says_so() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let (api, cli) = (tidegate.api(), Cli::of(&tidegate));
    let load = Load::start(tidegate.public(), "/", RATE);
    let id = started(&api, "v1").await;
    until("green has had traffic", async || b.requests() > 50).await;
    load.stop().await;
    tidegate.end().await;
    tidegate.restart().await;

    b.fail(10_000);
    let load = Load::start(tidegate.public(), "/", RATE);
    let record = taken_back(&api, &id).await;
    load.stop().await;
    let replayed = cli.run(&format!("replay {id}")).await;
    let replayed = replayed.ended(0);
    require_reproduced(replayed, &record);
    assert_eq!(replayed["restarts"], 1, "{replayed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_no_evidence_of_is_told() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let cli = Cli::of(&tidegate);
    let unknown = cli.run("replay d-ABCDEFGHI").await;
    assert_eq!(unknown.problem()["code"], "no_such_rollout");
    cli.run("replay").await.ended(2);
    cli.run("replay --file no-such-file").await.ended(2);
}

/// Starts a rollout, and waits until green has its tenth.
async fn started(api: &Api, revision: &str) -> String {
    let shop = api.service("shop").await;
    let id = api.roll_out(&shop, revision).await.expect("it starts").id.to_string();
    let tenth = Weight::from_bp(1_000).expect("in range");
    until("green has a tenth, or had it", async || {
        api.service("shop").await.weights.in_force.green == tenth
            || api.rollout(&id).await.state == StateName::RolledBack
    })
    .await;
    id
}

async fn taken_back(api: &Api, id: &str) -> Rollout {
    until("it is rolled back", async || api.rollout(id).await.state == StateName::RolledBack).await;
    api.rollout(id).await
}

/// Fails the test unless the decisions are those of the process, the last of them the rollback that
/// the rollout has in its record.
fn require_reproduced(replayed: &Value, record: &Rollout) {
    assert_eq!(replayed["reproduced"], true, "{replayed}");
    assert_eq!(replayed["approximate"], false, "{replayed}");
    assert!(replayed["evaluations"].as_u64().is_some_and(|count| count > 0), "{replayed}");
    let last = last(replayed);
    assert_eq!(last["decision"], "roll back: green is worse than blue", "{replayed}");
    assert_eq!((&last["takes_back"], &last["weight"]), (&true.into(), &"10%".into()));
    let analysis = record.analysis.as_ref().expect("it was compared");
    assert_eq!(analysis.comparison, "fail", "{record:?}");
    assert_eq!(last["cohort"].as_u64(), analysis.cohort, "{replayed} {record:?}");
    let evidence = last["evidence"].as_f64().expect("a number");
    assert!((evidence / analysis.evidence - 1.0).abs() < 1e-9, "{replayed} {record:?}");
}

fn last(replayed: &Value) -> &Value {
    replayed["decisions"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null)
}

const SHOP: Shop = Shop {
    service: "\
rescue: false
outlier_ejection: off
strategy: tenth
drain_timeout: 1s
",
    file: "\
strategies:
  tenth: { steps: [{ weight: 10%, bake: 1h }] }
",
};
