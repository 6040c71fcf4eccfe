//! What the writer is asked, and what is refused before it is asked.

use std::sync::Arc;

use super::harness::{Api, rollout, rollout_id, service};
use crate::admin::Role;
use crate::admin::body::BODY_LIMIT;
use crate::control::{Command, GroupRef, HookReport, IdempotencyKey, Refusal, Reply, RoleChange};
use crate::core::model::AlarmState;
use crate::core::rollout::Verb;

async fn refused(api: &Api, path: &str, body: &str) -> (u16, serde_json::Value) {
    let answer = api.send("PUT", path, body).await;
    answer.problem(answer.status);
    (answer.status, answer.json())
}

const SPLIT: &str = "/v1/services/shop/split";

#[tokio::test]
async fn a_split_reaches_the_writer_with_who_and_why() {
    let api = Api::start().await;
    let reply = Reply::Service { service: Box::new(service()), persisted: false };
    api.writer_answers(Ok(reply));
    let body = r#"{"green": "10.25%", "reason": "try it"}"#;
    let answer = api.send_with("PUT", SPLIT, &[("if-match", "\"7\"")], body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["persisted"], false);
    assert_eq!(answer.header("etag"), Some("\"7\""));

    let request = api.last_request();
    assert!(matches!(request.command, Command::SetSplit { green, .. } if green.bp() == 1_025));
    assert_eq!(request.actor.name, "admin");
    assert_eq!(request.actor.origin, "api 127.0.0.1");
    assert_eq!(request.reason.as_deref(), Some("try it"));
    assert_eq!(request.if_match, Some(7));
}

#[tokio::test]
async fn a_body_that_is_not_what_is_wanted_is_refused_with_the_place() {
    let api = Api::start().await;
    let (status, problem) = refused(&api, SPLIT, "{\n \"green\": \"10%\",,}").await;
    assert_eq!((status, &problem["code"]), (400, &"malformed_json".into()));
    assert_eq!(problem["at"], "body, line 2 column 17");

    let (status, problem) = refused(&api, SPLIT, r#"{"green": 10}"#).await;
    assert_eq!((status, &problem["code"]), (400, &"bad_body".into()));
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("a weight is written in percent, for example \"10%\""), "{detail}");
    assert!(!detail.contains("line"), "{detail}");

    let (status, problem) = refused(&api, SPLIT, r#"{"green": "10%", "gren": 1}"#).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().expect("text").contains("unknown field `gren`"));

    for body in ["", "{}", "[]", r#"{"green":"101%"}"#, r#"{"green":"1%","reason":"\u001b"}"#] {
        assert_eq!(refused(&api, SPLIT, body).await.0, 400, "{body}");
    }
    let (_, problem) =
        refused(&api, "/v1/services/shop/green/targets", r#"{"targets":["sh op:80"]}"#).await;
    assert!(
        problem["detail"].as_str().expect("text").contains("a host name is made of"),
        "{problem}"
    );
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn only_json_of_bounded_length_is_read() {
    let api = Api::start().await;
    let form = [("content-type", "text/plain")];
    let bearer = format!("Bearer {}", api.token);
    let headers = [("authorization", bearer.as_str()), form[0]];
    let answer = api.raw("PUT", SPLIT, &headers, r#"{"green":"1%"}"#).await;
    assert_eq!(answer.problem(415), "not_json");

    let fits = format!(r#"{{"green":"1%"}}{}"#, " ".repeat(BODY_LIMIT - 14));
    api.writer_answers(Err(Refusal::StoreSlow));
    assert_eq!(api.send("PUT", SPLIT, &fits).await.problem(503), "store_slow");
    let answer = api.send("PUT", SPLIT, &format!("{fits} ")).await;
    assert_eq!(answer.problem(413), "body_too_large");
    assert_eq!(api.requests(), 1);
}

#[tokio::test]
async fn bad_names_queries_and_headers_are_refused() {
    let api = Api::start().await;
    for (path, code) in [
        ("/v1/services/a%20b", "bad_path"),
        ("/v1/services/%ff", "bad_path"),
        ("/v1/rollouts/d-short", "bad_path"),
        ("/v1/services?limit=0", "bad_query"),
        ("/v1/services?limit=1001", "bad_query"),
        ("/v1/services?limt=1", "bad_query"),
        ("/v1/ledger?cursor=x", "bad_query"),
        ("/v1/ledger?order=random", "bad_query"),
        ("/v1/rollouts?state=done", "bad_query"),
    ] {
        assert_eq!(api.send("GET", path, "").await.problem(400), code, "{path}");
    }
    let body = r#"{"green":"1%"}"#;
    for bad in ["7", "\"x\"", "W/\"7\"", "\"7\", \"8\""] {
        let answer = api.send_with("PUT", SPLIT, &[("if-match", bad)], body).await;
        assert_eq!(answer.problem(400), "bad_if_match", "{bad}");
    }
    let twice = [("if-match", "\"1\""), ("if-match", "\"2\"")];
    assert_eq!(api.send_with("PUT", SPLIT, &twice, body).await.problem(400), "bad_if_match");
    let long = "k".repeat(256);
    for bad in ["", "a b", "ü", long.as_str()] {
        let key = [("idempotency-key", bad)];
        let path = "/v1/services/shop/rollouts";
        let answer = api.send_with("POST", path, &key, r#"{"revision":"v2"}"#).await;
        assert_eq!(answer.problem(400), "bad_idempotency_key", "{bad}");
    }
    assert_eq!(api.requests(), 0);
    api.send_with("PUT", SPLIT, &[("if-match", "*")], body).await;
    assert_eq!(api.last_request().if_match, None);
}

/// Starts a rollout with the key `k`, and gives what the writer was given for it.
async fn key_of(api: &Api, service: &str, body: &str) -> IdempotencyKey {
    let path = format!("/v1/services/{service}/rollouts");
    api.send_with("POST", &path, &[("idempotency-key", "k")], body).await;
    let Command::StartRollout(start) = api.last_request().command else {
        panic!("a rollout was to be started")
    };
    start.idempotency.expect("there was a key")
}

#[tokio::test]
async fn a_key_belongs_to_token_and_service_and_to_what_the_body_means() {
    let api = Api::start().await;
    let first = key_of(&api, "shop", r#"{"revision":"v2","strategy":"careful"}"#).await;
    let again = key_of(&api, "shop", r#" {"strategy": "careful", "revision": "v2"}"#).await;
    assert_eq!(first, again);
    let changed = key_of(&api, "shop", r#"{"revision":"v3","strategy":"careful"}"#).await;
    assert_eq!(first.scope, changed.scope);
    assert_ne!(first.body, changed.body);
    let elsewhere = key_of(&api, "blog", r#"{"revision":"v2","strategy":"careful"}"#).await;
    assert_ne!(first.scope, elsewhere.scope);
    let other = Api::start().await;
    let theirs = key_of(&other, "shop", r#"{"revision":"v2","strategy":"careful"}"#).await;
    assert_ne!(first.scope, theirs.scope);
    assert_eq!(first.body, theirs.body);
}

#[tokio::test]
async fn a_rollout_is_started_with_everything_that_was_said() {
    let api = Api::start().await;
    let started = Arc::new(rollout(rollout_id(), 5));
    api.writer_answers(Ok(Reply::Started { rollout: started }));
    let body = r#"{"revision":"v2","targets":["127.0.0.1:9002"],"strategy":"careful",
        "description":"build 7","ignore_alarms":["errors"],"reason":"friday"}"#;
    let answer = api.send("POST", "/v1/services/shop/rollouts", body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/v1/rollouts/d-ABCDEFGHI"));
    assert_eq!(answer.json()["id"], "d-ABCDEFGHI");

    let request = api.last_request();
    assert_eq!(request.reason.as_deref(), Some("friday"));
    let Command::StartRollout(start) = request.command else { panic!("a start was wanted") };
    assert_eq!(start.revision.as_str(), "v2");
    assert_eq!(start.targets.map(|targets| targets.len()), Some(1));
    assert_eq!(start.strategy.map(String::from), Some("careful".to_owned()));
    assert_eq!(start.description, "build 7");
    assert_eq!(start.ignore_alarms.len(), 1);
    assert_eq!(start.idempotency, None);
    assert!(start.draws.iter().any(|draw| *draw != start.draws[0]), "{:?}", start.draws);
}

#[tokio::test]
async fn every_verb_reaches_the_writer() {
    let api = Api::start().await;
    let resume = |override_regression| Verb::Resume { override_regression };
    for (word, body, expected) in [
        ("approve", "", Verb::Approve),
        ("reject", r#"{"reason":"no"}"#, Verb::Reject),
        ("pause", "{}", Verb::Pause),
        ("resume", "", resume(false)),
        ("resume", r#"{"override":true,"reason":"known"}"#, resume(true)),
        ("promote", "", Verb::Promote { force: false }),
        ("promote", r#"{"force":true,"reason":"now"}"#, Verb::Promote { force: true }),
        ("stop", "", Verb::Stop),
        ("abort", "", Verb::Abort),
    ] {
        let view = Arc::new(rollout(rollout_id(), 5));
        api.writer_answers(Ok(Reply::Rollout { rollout: view, persisted: word != "abort" }));
        let answer = api.send("POST", &format!("/v1/rollouts/d-ABCDEFGHI/{word}"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["persisted"], word != "abort");
        let command = api.last_request().command;
        assert!(
            matches!(&command, Command::Rollout { id, verb } if *id == rollout_id() && *verb == expected),
            "{command:?}"
        );
    }
    let asked = api.requests();
    let answer = api.send("POST", "/v1/rollouts/d-ABCDEFGHI/abort", r#"{"force":true}"#).await;
    assert_eq!(answer.problem(400), "bad_body");
    assert_eq!(api.requests(), asked);
}

#[tokio::test]
async fn roles_targets_and_alarms_reach_the_writer() {
    let api = Api::start().await;
    for (path, change) in [("swap", RoleChange::Swap), ("revert", RoleChange::Revert)] {
        api.send("POST", &format!("/v1/services/shop/{path}"), "").await;
        let command = api.last_request().command;
        assert!(matches!(command, Command::Roles { change: found, .. } if found == change));
    }
    let group = || "shop-b".parse().expect("valid");
    let named = GroupRef::Named(group());
    let green = GroupRef::GreenOf("shop".parse().expect("valid"));
    for (path, expected) in
        [("/v1/target-groups/shop-b/targets", named), ("/v1/services/shop/green/targets", green)]
    {
        api.writer_answers(Ok(Reply::Targets { group: group(), targets: vec![] }));
        let answer = api.send("PUT", path, r#"{"targets":[],"revision":"v2"}"#).await;
        assert_eq!((answer.status, &answer.json()["target_group"]), (200, &"shop-b".into()));
        let Command::SetTargets { group, revision, .. } = api.last_request().command else {
            panic!("targets were to be set")
        };
        assert_eq!((group, revision.is_some()), (expected, true));
    }
    api.writer_answers(Ok(Reply::Targets { group: group(), targets: vec![] }));
    assert_eq!(api.send("POST", "/v1/target-groups/shop-b/reset", "").await.status, 200);
    api.writer_answers(Ok(Reply::AlarmPushed));
    let answer = api.send("PUT", "/v1/alarms/errors/state", r#"{"state":"ALARM"}"#).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &"ALARM".into()));
    assert_eq!(api.send("PUT", "/v1/alarms/e/state", r#"{"state":"alarm"}"#).await.status, 400);
}

#[tokio::test]
async fn a_notification_of_alertmanager_reaches_the_writer_whole() {
    let api = Api::start_as(Role::Notifier).await;
    let path = "/v1/alarm-hooks/alertmanager";
    let notice = r#"{"version":"4","status":"firing","truncatedAlerts":2,"alerts":[
        {"status":"firing","labels":{"tidegate_alarm":"errors"},"fingerprint":"f1"},
        {"status":"resolved","labels":{"a":"b"},"fingerprint":"f2"}]}"#;
    let heard = vec![("errors".parse().expect("valid"), AlarmState::Alarm)];
    let report = HookReport { heard, unknown: vec!["{a=\"b\"}".to_owned()] };
    api.writer_answers(Ok(Reply::AlertsHeard(report)));
    let answer = api.send("POST", path, notice).await;
    let expected = serde_json::json!({
        "heard": [{ "name": "errors", "state": "ALARM" }],
        "unknown": ["{a=\"b\"}"], "truncated": 2,
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    let request = api.last_request();
    assert_eq!(request.actor.name, "notifier");
    let Command::HearAlerts { alerts } = request.command else { panic!("alerts were told") };
    let told: Vec<_> = alerts.iter().map(|a| (a.is_firing, a.fingerprint.as_str())).collect();
    assert_eq!(told, [(true, "f1"), (false, "f2")]);

    let other = api.send("POST", path, r#"{"version":"3","alerts":[]}"#).await;
    assert_eq!(other.problem(400), "bad_body");
    assert_eq!(api.send("POST", path, "{").await.problem(400), "malformed_json");
    let long = format!(r#"{{"version":"4","alerts":[],"x":"{}"}}"#, "x".repeat(300 * 1_024));
    assert_eq!(api.send("POST", path, &long).await.problem(413), "body_too_large");
    assert_eq!(api.send("GET", "/v1/alarms", "").await.problem(403), "forbidden");
    assert_eq!(api.requests(), 1);
}
