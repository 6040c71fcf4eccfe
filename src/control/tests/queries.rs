//! Alarms on queries of a Prometheus server that is pretended.

use super::*;
use crate::core::rollout::{Cause, Hold};
use crate::promql::{Fake, Script, vector};

/// The configuration with a pager that asks a server, with more keys.
fn asking(server: &Fake, keys: &str) -> String {
    let pushed = "pager: { pushed: true, on_insufficient: ignore }";
    let query = "errors{group=\"{{ green }}\"}";
    let asked = format!(
        "pager: {{ prometheus: {{ query: '{query}', timeout: 500ms }}, above: 1, datapoints: 1 of 1, period: 1s{keys} }}"
    );
    let servers = format!("prometheus: {{ main: {{ url: '{}' }} }}\n", server.url());
    assert!(SHOP.contains(pushed));
    SHOP.replace(pushed, &asked) + &servers
}

fn says(rig: &Rig) -> (AlarmState, String) {
    let view = rig.handle.view();
    (view.alarms[0].state, view.alarms[0].reason.clone().unwrap_or_default())
}

async fn until_it_says(rig: &Rig, state: AlarmState, why: &str) {
    let so = |rig: &Rig| says(rig).0 == state && says(rig).1.contains(why);
    rig.until(&format!("it says {state}: {why}"), so).await;
}

/// A rollout at 10% whose pager has data.
async fn watched(rig: &Rig) -> RolloutId {
    let id = rig.shifting().await;
    until_it_says(rig, AlarmState::Ok, "the last answer is 0").await;
    id
}

#[tokio::test]
async fn a_query_that_goes_beyond_its_bound_takes_the_traffic_back() {
    let server = Fake::start(Script::Json(200, vector("0"))).await;
    let rig = Remains::none().start(&asking(&server, "")).await;
    let id = watched(&rig).await;
    assert!(server.last_head().contains("query=errors%7Bgroup%3D%22b%22%7D&timeout=500ms"));
    assert_eq!(rig.handle.view().alarms[0].source, "prometheus");
    server.play(Script::Json(200, vector("2")));
    rig.until_over(&id, StateName::RolledBack).await;
    assert_eq!(rig.rollout(&id).cause, Some(Cause::Alarm { alarm: name("pager") }));
    let next = rig.send(Command::StartRollout(Box::new(rig.start("quick")))).await;
    refused(next, "alarm_active");
    rig.saved().await;
    let entries = rig.ledger().await;
    let raised = entries
        .iter()
        .find(|entry| entry.kind == "alarm_changed" && entry.detail.contains("\"to\":\"ALARM\""));
    let reason = raised.and_then(|entry| entry.reason.clone()).unwrap_or_default();
    assert_eq!(reason, "the last answer is 2, above 1");
}

#[tokio::test]
async fn what_is_not_one_number_holds_and_is_told() {
    let server = Fake::start(Script::Json(200, vector("0"))).await;
    let rig = Remains::none().start(&asking(&server, "")).await;
    let id = watched(&rig).await;
    let two = r#"{"status":"success","data":{"resultType":"vector","result":[
        {"metric":{"job":"a"},"value":[1,"0"]},{"metric":{"job":"b"},"value":[1,"0"]}]}}"#;
    let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    for (answer, why) in [
        (vector("NaN"), "no number: NaN"),
        (empty.to_owned(), "no number: no series"),
        (two.to_owned(), "the query is mistaken: 2 series where one is wanted"),
        (matrix.to_owned(), "the query is mistaken: its result is a matrix"),
    ] {
        server.play(Script::Json(200, answer));
        until_it_says(&rig, AlarmState::InsufficientData, why).await;
        let hold = Hold::Alarm { alarm: name("pager"), state: AlarmState::InsufficientData };
        rig.until("it holds", |rig| rig.rollout(&id).holds.contains(&hold)).await;
        assert_eq!(rig.green(), percent("10%"), "{why}");
    }
    server.play(Script::Json(200, vector("1")));
    until_it_says(&rig, AlarmState::Ok, "the last answer is 1").await;
    rig.until("nothing holds", |rig| rig.rollout(&id).holds.is_empty()).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_or_takes_the_traffic_back_or_is_ignored() {
    let alarmed = |keys: &'static str| async move {
        let server = Fake::start(Script::Json(200, vector("0"))).await;
        let rig = Remains::none().start(&asking(&server, keys)).await;
        let id = watched(&rig).await;
        server.play(Script::Json(401, String::new()));
        (server, rig, id)
    };
    let (_server, rig, id) = alarmed(", unavailable_after: 1").await;
    until_it_says(&rig, AlarmState::InsufficientData, "unavailable: 1 failures in a row").await;
    rig.until("it holds", |rig| !rig.rollout(&id).holds.is_empty()).await;
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);

    let (_server, rig, id) = alarmed(", unavailable_after: 1, on_unavailable: rollback").await;
    rig.until_over(&id, StateName::RolledBack).await;
    assert!(says(&rig).1.contains("status 401 Unauthorized"), "{:?}", says(&rig));

    let (_server, rig, id) = alarmed(", unavailable_after: 1, on_unavailable: ignore").await;
    until_it_says(&rig, AlarmState::InsufficientData, "unavailable").await;
    assert!(rig.rollout(&id).holds.is_empty());
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);
}

#[tokio::test]
async fn a_server_that_a_rollout_asks_is_not_taken_away() {
    let server = Fake::start(Script::Json(200, vector("0"))).await;
    let config = asking(&server, "");
    let rig = Remains::none().start(&config).await;
    rig.shifting().await;
    let other = config.replace("prometheus: { main:", "prometheus: { other:");
    let refusal = refused(rig.reload(&other).await.map(Reply::Reloaded), "reload_refused");
    assert!(refusal.to_string().contains("Prometheus server main is in use"), "{refusal}");
}
