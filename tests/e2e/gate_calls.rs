//! What gates were told in a rollout is kept: they say the same again, a changed record is found,
//! and another component is tried on it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;

use crate::kit::{Api, Cli, Load, Origin, Rate, Shop, Tidegate, until};

const RATE: Rate = Rate { per_second: 500, connections: 16 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_say_again_what_they_said_and_another_says_something_else() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let (api, cli) = (tidegate.api(), Cli::of(&tidegate));
    let budget = shipped("error-budget");
    cli.run(&format!("gate push budget {}", budget.display())).await.ended(0);
    let load = Load::start(tidegate.public(), "/", RATE);
    b.fail(10_000);
    let id = failed_by_its_gate(&api).await;
    load.stop().await;

    let replayed = cli.run(&format!("replay {id}")).await;
    let gates = &replayed.ended(0)["gates"];
    let calls = number(&gates["calls"]);
    assert!(calls >= 2, "{gates}");
    assert_eq!(number(&gates["reproduced"]), calls, "{gates}");
    for nothing in ["differences", "not_as_recorded", "missing"] {
        assert_eq!(gates[nothing], Value::Array(Vec::new()), "{gates}");
    }
    let ledger = api.ledger(Some(&id)).await;
    let answers = ledger.iter().filter(|entry| entry.kind == "gate_answered");
    let sealed: Vec<Value> =
        answers.map(|entry| serde_json::from_str(&entry.detail).expect("JSON")).collect();
    assert!(sealed.iter().all(|detail| detail["call"].as_str().is_some_and(|c| c.len() == 64)));

    let test = async |component: &Path, gate: &str| {
        let file = component.display();
        cli.run(&format!("gate test {file} --rollout {id}{gate}")).await
    };
    let same = test(budget.as_path(), " --gate budget").await;
    let same = same.ended(0);
    assert_eq!((number(&same["calls"]), number(&same["same"])), (calls, calls), "{same}");
    let traffic = shipped("minimum-traffic");
    let other = test(traffic.as_path(), " --gate budget").await;
    let other = other.ended(3);
    assert!(number(&other["differs"]) >= 1, "{other}");
    let told = other["told"].as_array().expect("a list");
    let failed = told.iter().find(|told| told["then"]["answer"] == "fail");
    let failed = failed.unwrap_or_else(|| panic!("{other}"));
    assert_eq!(failed["outcome"], "differs", "{failed}");
    assert!(test(traffic.as_path(), "").await.said.contains("one of budget"));

    let file = tidegate.home().path().join("tidegate.evidence").join(format!("{id}.gates"));
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let record = std::fs::read_to_string(&file).expect("readable");
    let hold = r#""answer":{"hold":{"reason":"x","retry_after":null}}"#;
    let changed = record.replacen(r#""answer":"pass""#, hold, 1);
    assert_ne!(changed, record);
    std::fs::write(&file, changed).expect("written");
    let replayed = cli.run(&format!("replay {id}")).await;
    let gates = &replayed.ended(3)["gates"];
    assert_eq!(gates["differences"].as_array().map(Vec::len), Some(1), "{gates}");
    assert_eq!(gates["not_as_recorded"].as_array().map(Vec::len), Some(1), "{gates}");
}

/// Rolls out, and waits until the gate has taken it back.
async fn failed_by_its_gate(api: &Api) -> String {
    let shop = api.service("shop").await;
    let id = api.roll_out(&shop, "v2").await.expect("it starts").id.to_string();
    let tenth = Weight::from_bp(1_000).expect("in range");
    until("green has a tenth, or had it", async || {
        api.service("shop").await.weights.in_force.green == tenth
            || api.rollout(&id).await.state == StateName::RolledBack
    })
    .await;
    until("it is rolled back", async || api.rollout(&id).await.state == StateName::RolledBack)
        .await;
    id
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn shipped(gate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/dist/{gate}.wasm"))
}

const SHOP: Shop = Shop {
    service: "\
rescue: false
outlier_ejection: off
analysis: off
strategy: tenth
drain_timeout: 1s
gates: [{ gate: budget, at: [before-step, during-step], every: 1s }]
",
    file: "\
strategies:
  tenth: { steps: [{ weight: 10%, bake: 1h }] }
gates:
  budget: { uploaded: true, limits: { deadline: 2s } }
",
};
