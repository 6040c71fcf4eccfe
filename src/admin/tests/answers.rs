//! What is told of the state, and of refusals.

use std::sync::Arc;

use serde_json::json;

use super::harness::{Api, rollout, rollout_id};
use crate::admin::json::{LedgerEntry, Page, Rollout, Service};
use crate::control::Refusal;
use crate::core::ledger::{Chain, Draft};
use crate::core::model::{RolloutId, Sha256, WallTime};
use crate::store::{Store as _, Transaction};

#[tokio::test]
async fn a_service_is_told_with_one_spelling_of_everything() {
    let api = Api::start().await;
    let answer = api.send("GET", "/v1/services/shop", "").await;
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"7\"")));
    let shop = answer.json();
    assert_eq!(
        shop["weights"],
        json!({
            "configured": { "green": "10.25%", "green_bp": 1_025 },
            "in_force": { "green": "10%", "green_bp": 1_000 },
            "observed": { "green": "12.5%", "green_bp": 1_250, "green_requests": 1, "requests": 8 },
        })
    );
    assert_eq!(shop["active_rollout"], "d-ABCDEFGHI");
    assert_eq!(shop["blue"]["target_group"], "shop-a");
    assert_eq!(shop["blue"]["targets"][0]["health"], "healthy");
    let list: Page<Service> =
        serde_json::from_str(&api.send("GET", "/v1/services", "").await.body).expect("a page");
    assert_eq!((list.items.len(), list.next), (1, None));
    assert_eq!(api.send("GET", "/v1/services/x", "").await.problem(404), "no_such_service");
}

#[tokio::test]
async fn a_rollout_is_told_with_holds_bake_and_history() {
    let api = Api::start().await;
    let entry = |n: u64, rollout: Option<RolloutId>| Draft {
        at: WallTime::from_ms(n),
        service: None,
        rollout,
        actor: "admin".to_owned(),
        origin: "api 127.0.0.1".to_owned(),
        reason: None,
        kind: format!("k{n}"),
        detail: "{}".to_owned(),
    };
    let entries = (0..6).map(|n| entry(n, (n % 2 == 0).then(rollout_id))).collect();
    let transaction = Transaction { entries, ..Transaction::default() };
    api.store.commit(transaction).await.expect("committed");

    let path = "/v1/rollouts/d-ABCDEFGHI";
    let found = api.send("GET", path, "").await.json();
    assert_eq!(found["state"], "shifting");
    assert_eq!(found["stage"], "AllowTraffic");
    assert_eq!((&found["weight"], &found["green_bp"]), (&json!("10%"), &json!(1_000)));
    assert_eq!(found["holds"], json!([{"kind": "samples", "text": "312 more green requests"}]));
    assert_eq!(
        found["bake"],
        json!({"length": "2m", "length_ms": 120_000, "watched": "30s", "watched_ms": 30_000, "scored": 188})
    );
    assert_eq!(found["created"], "2026-01-31T12:00:00Z");
    let kinds: Vec<&str> = found["history"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["k0", "k2", "k4"]);
    let short = api.send("GET", "/v1/rollouts/d-ABCDEFGHI?history=false", "").await.json();
    assert!(short.get("history").is_none());
    let unknown = api.send("GET", "/v1/rollouts/d-ZZZZZZZZZ", "").await;
    assert_eq!(unknown.problem(404), "no_such_rollout");

    let mut chain = Chain::new();
    let mut next = Some("0".to_owned());
    while let Some(cursor) = next {
        let path = format!("/v1/ledger?order=oldest&limit=4&cursor={cursor}");
        let answer = api.send("GET", &path, "").await;
        let page: Page<LedgerEntry> = serde_json::from_str(&answer.body).expect("a page");
        page.items.into_iter().for_each(|e| chain.append(&e.into()).expect("whole"));
        next = page.next;
    }
    assert_eq!(chain.head().seq, 6);
}

#[tokio::test]
async fn a_rollout_is_told_without_its_history_while_the_store_blocks() {
    let api = Api::start().await;
    api.store.block();
    let answer = api.send("GET", "/v1/rollouts/d-ABCDEFGHI", "").await;
    let found = answer.json();
    assert_eq!((answer.status, &found["state"]), (200, &json!("shifting")));
    assert!(found.get("history").is_none(), "{found}");
    api.store.release();
    let found = api.send("GET", "/v1/rollouts/d-ABCDEFGHI", "").await.json();
    assert_eq!(found["history"], json!([]));
}

#[tokio::test]
async fn rollouts_are_listed_newest_first_page_by_page() {
    let api = Api::start().await;
    api.change_view(|view| {
        view.rollouts.clear();
        for n in 0..5 {
            let id = RolloutId::from_draw(n);
            view.rollouts.insert(id.clone(), Arc::new(rollout(id, 100 + n)));
        }
    });
    let mut created = Vec::new();
    let mut path = "/v1/rollouts?limit=2&service=shop&state=shifting".to_owned();
    loop {
        let answer = api.send("GET", &path, "").await;
        let page: Page<Rollout> = serde_json::from_str(&answer.body).expect("a page");
        created.extend(page.items.iter().map(|rollout| rollout.created.0.ms()));
        let Some(next) = page.next else { break };
        path = format!("/v1/rollouts?limit=2&cursor={next}");
    }
    assert_eq!(created, [104, 103, 102, 101, 100]);
    let none = api.send("GET", "/v1/rollouts?state=failed", "").await.json();
    assert_eq!(none, json!({ "items": [] }));
}

#[tokio::test]
async fn alarms_gates_and_metrics_are_told() {
    let api = Api::start().await;
    let alarms = api.send("GET", "/v1/alarms", "").await.json();
    let alarm = json!({
        "name": "errors", "service": "shop", "state": "INSUFFICIENT_DATA", "pushed": true,
        "source": "pushed",
    });
    assert_eq!(alarms["items"], json!([alarm]));
    let gates = api.send("GET", "/v1/gates", "").await.json();
    let gate = &gates["items"][0];
    assert_eq!((&gate["name"], &gate["state"]), (&json!("budget"), &json!("not_loaded")));
    assert_eq!(gate["sha256"], Sha256::of(b"gate").to_string());
    assert_eq!(
        (&gate["limits"]["deadline"], &gate["limits"]["changed"]),
        (&json!("50ms"), &json!([]))
    );
    let metrics = api.send("GET", "/metrics", "").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert!(metrics.body.contains("tidegate_"));
}

#[tokio::test]
async fn the_writers_refusals_are_told_with_their_status() {
    let api = Api::start().await;
    let service = "shop".parse().expect("valid");
    let active = Refusal::RolloutActive { service, active: rollout_id() };
    api.writer_answers(Err(active));
    let answer = api.send("POST", "/v1/services/shop/rollouts", r#"{"revision":"v2"}"#).await;
    assert_eq!(answer.problem(409), "rollout_active");
    assert_eq!(answer.json()["active_rollout"], "d-ABCDEFGHI");
    api.writer_answers(Err(Refusal::VersionMismatch { expected: 6, found: 7 }));
    let old = [("if-match", "\"6\"")];
    let answer = api.send_with("PUT", "/v1/services/shop/split", &old, r#"{"green":"1%"}"#).await;
    assert_eq!(answer.problem(412), "version_mismatch");
    api.writer_answers(Err(Refusal::StoreUnreadable("newer".to_owned())));
    let answer = api.send("POST", "/v1/services/shop/swap", "").await;
    assert_eq!(answer.problem(503), "store_unreadable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(api.send("POST", "/v1/reload", "").await.problem(422), "reload_refused");
}

#[tokio::test]
async fn a_rollout_whose_gates_were_not_asked_has_no_record_of_calls() {
    let api = Api::start().await;
    let path = format!("/v1/rollouts/{}/gate-calls", rollout_id());
    assert_eq!(api.send("GET", &path, "").await.problem(404), "no_gate_calls");
    let unknown = api.send("GET", "/v1/rollouts/d-ZZZZZZZZZ/gate-calls", "").await;
    assert_eq!(unknown.problem(404), "no_such_rollout");
}
