//! An upload while a rollout runs: that one goes on with the component that it was created with, the
//! next one has the new component, also where the process starts again in between.

use std::path::PathBuf;

use serde_json::Value;

use tidegate::core::model::Sha256;
use tidegate::core::rollout::StateName;

use crate::guest::{guest, says};
use crate::kit::{Api, Cli, Load, Origin, Rate, Shop, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_changes_no_verdict_of_a_rollout_that_runs() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let (cli, api) = (Cli::of(&tidegate), tidegate.api());
    let load = Load::start(tidegate.public(), "/", Rate { per_second: 200, connections: 4 });
    // The new one fails, and its reason is `hello`.
    let (old, new) = (guest("(i32.const 1024)"), guest(&says(0, 8, 16, 5)));
    push(&cli, &tidegate, &old).await;
    let id = started(&cli, "v2").await;
    until("it asks for an approval", async || is_asking(&api, &id).await).await;

    push(&cli, &tidegate, &new).await;
    let before = answers(&api, &id).await.len();
    load.expect_death();
    tidegate.end().await;
    tidegate.restart().await;
    load.expect_life();
    until("it asks for an approval again", async || is_asking(&api, &id).await).await;
    cli.run(&format!("rollout approve {id}")).await.ended(0);
    until("it is over", async || api.rollout(&id).await.state.is_terminal()).await;
    let ended = api.rollout(&id).await;
    assert_eq!((ended.state, ended.cause), (StateName::Succeeded, None));
    until("its end is saved", async || api.service("shop").await.active_rollout.is_none()).await;
    let answers = answers(&api, &id).await;
    assert!(answers.len() > before, "the gate was asked after the upload: {answers:?}");
    assert!(answers.iter().all(|answer| answer == "pass"), "{answers:?}");

    let next = started(&cli, "v3").await;
    until("the next one is over", async || api.rollout(&next).await.state.is_terminal()).await;
    let ended = api.rollout(&next).await;
    let cause = ended.cause.unwrap_or_default();
    assert_eq!(
        (ended.state, cause.as_str()),
        (StateName::Failed, "gate own at before-step: hello")
    );
    let (load, _) = load.stop().await;
    assert_eq!((load.failed, load.errors), (0, 0), "{:?}", load.failures);
}

/// Starts a rollout onto the targets that green has already; gives its id.
async fn started(cli: &Cli, revision: &str) -> String {
    let started = cli.run(&format!("rollout start shop --revision {revision}")).await;
    started.ended(0)["id"].as_str().expect("an id").to_owned()
}

async fn is_asking(api: &Api, rollout: &str) -> bool {
    api.rollout(rollout).await.holds.iter().any(|hold| hold.kind == "approval")
}

/// Uploads a component, and sees that it is the one for rollouts to come.
async fn push(cli: &Cli, tidegate: &Tidegate, component: &[u8]) {
    let file: PathBuf = tidegate.home().path().join("own.wasm");
    std::fs::write(&file, component).expect("written");
    let pushed = cli.run(&format!("gate push own {}", file.display())).await;
    assert_eq!(pushed.ended(0)["sha256"], Sha256::of(component).to_string());
}

/// What the gate has answered to a rollout, by the ledger.
async fn answers(api: &Api, rollout: &str) -> Vec<Value> {
    let entries = api.ledger(Some(rollout)).await.into_iter();
    let answered = entries.filter(|entry| entry.kind == "gate_answered");
    answered
        .map(|entry| {
            let detail: Value = serde_json::from_str(&entry.detail).expect("an object");
            detail["answer"].clone()
        })
        .collect()
}

const SHOP: Shop = Shop {
    service: "\
strategy: asking
analysis: off
tell_side: true
gates: [{ gate: own, at: [before-step, during-step], every: 1s }]",
    file: "\
strategies:
  asking:
    steps:
      - { weight: 10%, bake: 100ms }
      - { approval: { timeout: 1h } }
      - { weight: 50%, bake: 100ms }
gates: { own: { uploaded: true, limits: { deadline: 2s } } }
",
};
