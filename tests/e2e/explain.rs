//! What the access log says about a request, `explain` says about its key.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use tidegate::admin::json::Explanation;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;

use crate::kit::{Api, Origin, Shop, Tidegate, until};

const KEYS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_and_explain_agree_during_a_rollout_and_after_it() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let api = tidegate.api();
    let shop = api.service("shop").await;
    let rollout = api.roll_out(&shop, "v2").await.expect("it starts");
    let half = Weight::from_bp(5_000).expect("in range");
    until("green has half", async || api.service("shop").await.weights.in_force.green == half)
        .await;

    for number in 0..KEYS {
        ask(tidegate.public(), number).await;
    }
    let lines = logged(&tidegate, "access.log", KEYS).await;
    let mut sides = BTreeSet::new();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["path"], format!("/{number}"));
        let found = explain(&api, number, "").await;
        assert_eq!(line["position"], found.position, "{line} {found:?}");
        assert_eq!(line["side"], found.side.as_str(), "{line} {found:?}");
        assert_eq!(line["weight_bp"], found.weight.green_bp, "{line} {found:?}");
        assert_eq!((&line["why"], &line["answered_by"]), (&"cohort".into(), &line["side"]));
        assert_eq!(found.rollout.as_ref(), Some(&rollout.id), "{found:?}");
        assert!(found.sentence.contains(&format!("position {}", found.position)), "{found:?}");
        sides.insert(found.side);
    }
    assert_eq!(sides.len(), 2, "forty keys on one side");

    let reason = serde_json::json!({ "reason": "enough" });
    let abort = format!("/v1/rollouts/{}/abort", rollout.id);
    let _: Value = api.change("POST", &abort, &reason).await.expect("aborted");
    let id = rollout.id.to_string();
    until("it is rolled back", async || api.rollout(&id).await.state == StateName::RolledBack)
        .await;
    for (number, line) in lines.iter().enumerate() {
        let found = explain(&api, number, &format!("&rollout={id}")).await;
        assert_eq!(line["position"], found.position, "{line} {found:?}");
        let step = found.steps.first().expect("a step");
        assert_eq!(step.green_bp, 5_000);
        assert_eq!(line["side"], step.side.as_str(), "{line} {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_and_a_reload_open_a_rotated_access_log_anew() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let log = tidegate.home().path().join("access.log");
    for round in 0..2 {
        ask(tidegate.public(), 0).await;
        logged(&tidegate, "access.log", 1).await;
        let old = format!("access.log.{round}");
        std::fs::rename(&log, tidegate.home().path().join(&old)).expect("renamed");
        if round == 0 {
            tidegate.signal(Signal::USR1);
        } else {
            let nothing = serde_json::json!({});
            let _: Value =
                tidegate.api().change("POST", "/v1/reload", &nothing).await.expect("reloaded");
        }
        until("there is a new file", async || log.exists()).await;
        assert_eq!(logged(&tidegate, &old, 1).await.len(), 1);
    }
    ask(tidegate.public(), 1).await;
    assert_eq!(logged(&tidegate, "access.log", 1).await[0]["path"], "/1");
}

/// One request of a user, on a connection of its own.
async fn ask(address: SocketAddr, user: usize) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!("GET /{user} HTTP/1.1\r\nhost: shop.test\r\nx-user-id: user {user}\r\n");
    let request = format!("{head}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

async fn explain(api: &Api, user: usize, more: &str) -> Explanation {
    api.read(&format!("/v1/services/shop/explain?key=user%20{user}{more}")).await
}

/// Waits for the lines of a log, ordered by user.
async fn logged(tidegate: &Tidegate, file: &str, count: usize) -> Vec<Value> {
    let path = tidegate.home().path().join(file);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    until("all requests are logged", async || {
        read().ends_with('\n') && read().lines().count() >= count
    })
    .await;
    let lines = read();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let mut lines: Vec<Value> = lines.collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines.sort_by_key(|line| {
        let path = line["path"].as_str().unwrap_or_default().trim_start_matches('/');
        path.parse::<usize>().expect("a user's number")
    });
    lines
}

const SHOP: Shop = Shop {
    service: "\
stickiness: { header: x-user-id }
strategy: half
",
    file: "\
strategies:
  half: { steps: [{ weight: 50%, bake: 1h }] }
access_log: { path: access.log }
",
};
