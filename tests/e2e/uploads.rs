//! Gates that are uploaded: taken or refused with the reason while traffic flows, there again after
//! a restart without being compiled, and nothing to rollouts that run already.

use std::path::{Path, PathBuf};

use serde_json::json;

use tidegate::core::model::Sha256;

use crate::kit::{Cli, Origin, Ran, Shop, Tidegate, Visitors, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploaded_gate_is_for_new_rollouts_and_survives_a_restart() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let cli = Cli::of(&tidegate);
    let visitors = Visitors::start(tidegate.public(), 2);
    let refused = cli.run("rollout start shop --revision v2").await.problem();
    assert_eq!(refused["code"], "gate_missing", "{refused}");
    assert_eq!(cli.run("gate list").await.ended(0)["state"], "no_component");
    let junk = file(&tidegate, "junk.wasm", b"#!/bin/sh");
    let refused = push(&cli, &junk).await.problem();
    assert_eq!(refused["code"], "gate_refused", "{refused}");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("not a WebAssembly file"), "{detail}");

    let old = good();
    let pushed = push(&cli, &file(&tidegate, "old.wasm", &old)).await;
    assert_eq!(pushed.ended(0)["sha256"], Sha256::of(&old).to_string());
    until("it is counted", async || compilations(&tidegate).await == 1).await;
    visitors.stop().await.require_nothing_lost();
    tidegate.end().await;
    tidegate.restart().await;
    assert_eq!(compilations(&tidegate).await, 0, "it was in the cache");

    let started = cli.run("rollout start shop --revision v2").await;
    let id = started.ended(0)["id"].as_str().expect("an id").to_owned();
    let new = [old, vec![0, 2, 1, b'x']].concat();
    let newer = file(&tidegate, "new.wasm", &new);
    let pushed = push(&cli, &newer).await;
    assert_eq!(pushed.ended(0)["sha256"], Sha256::of(&new).to_string());
    assert_eq!(kept(&cli).await, 2, "the rollout still asks the one before");
    let listed = cli.run("gate list").await;
    let listed = listed.ended(0);
    assert_eq!((&listed["state"], &listed["kept_versions"]), (&json!("ready"), &json!(2)));
    assert_eq!(listed["limits"]["changed"], json!(["deadline"]), "{listed}");
    let refused = cli.run("gate rm budget").await.problem();
    assert_eq!(refused["code"], "gate_in_use", "{refused}");
    cli.run(&format!("rollout abort {id}")).await.ended(0);
    let api = tidegate.api();
    until("it is over", async || api.rollout(&id).await.state.is_terminal()).await;
    push(&cli, &newer).await.ended(0);
    assert_eq!(kept(&cli).await, 1);
}

/// How many components of the gate are kept.
async fn kept(cli: &Cli) -> usize {
    let shown = cli.run("gate show budget").await;
    shown.ended(0)["versions"].as_array().expect("a list").len()
}

async fn push(cli: &Cli, component: &Path) -> Ran {
    cli.run(&format!("gate push budget {}", component.display())).await
}

async fn compilations(tidegate: &Tidegate) -> u64 {
    let metrics = tidegate.api().ask("GET", "/metrics", None).await.expect("an answer").body;
    let line = metrics.lines().find_map(|l| l.strip_prefix("tidegate_gate_compilations_total "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("not there: {metrics}"))
}

fn file(tidegate: &Tidegate, name: &str, bytes: &[u8]) -> PathBuf {
    let path = tidegate.home().path().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

fn good() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed")
}

const SHOP: Shop = Shop {
    service: "strategy: careful\ngates: [{ gate: budget, at: [before-step], params: { slo: 99.9 } }]",
    file: "strategies: { careful: { steps: [{ weight: 10%, bake: 10m }] } }\ngates: { budget: { uploaded: true, limits: { deadline: 2s } } }\n",
};
