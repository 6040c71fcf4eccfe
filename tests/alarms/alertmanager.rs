//! Alerts that Alertmanager sends to the webhook.

use serde_json::{Value, json};

use tidegate::admin::json::{Alarm, Page, Rollout, Timestamp};
use tidegate::clock::Clock;
use tidegate::core::model::{AlarmState, Sha256};
use tidegate::core::rollout::StateName;

use crate::daemon::{Daemon, free_port};
use crate::kit::{Api, Load, Origin, Rate, Shop, Tidegate, until};

/// What Alertmanager shows: the token of a notifier, which may do nothing else.
const TOKEN: &str = "tg_0123456789abcdef0123456789abcdef";

const SHOP: Shop = Shop {
    service: "strategy: careful\nmin_green: 1\nalarms: [checkout]",
    file: "\
strategies:
  careful: { steps: [{ weight: 10%, bake: 1h }] }
alarms:
  checkout:
    alertmanager: { heartbeat: { alertname: Watchdog } }
    stale_after: 1h
",
};

fn sending_to(tidegate: &Tidegate) -> String {
    let admin = tidegate.ports().admin;
    format!(
        "\
route:
  receiver: tidegate
  group_by: [alertname]
  group_wait: 100ms
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: tidegate
    webhook_configs:
      - url: http://{admin}/v1/alarm-hooks/alertmanager
        send_resolved: true
        max_alerts: 100
        http_config: {{ authorization: {{ credentials: {TOKEN} }} }}
"
    )
}

/// Adds a notifier's token; it counts from the next start on.
async fn add_notifier(tidegate: &mut Tidegate) {
    let file = tidegate.home().path().join("tidegate.tokens");
    let text = std::fs::read_to_string(&file).expect("the first start made it");
    let mut tokens: Vec<Value> = serde_json::from_str(&text).expect("a list");
    tokens.push(json!({
        "name": "alertmanager", "role": "notifier",
        "sha256": Sha256::of(TOKEN.as_bytes()).to_string(), "created": "2026-01-31T12:00:00Z",
    }));
    tidegate.end().await;
    // Its mode stays: only its owner may read it.
    std::fs::write(&file, serde_json::to_string(&tokens).expect("a list")).expect("written");
    tidegate.restart().await;
}

async fn alert(alertmanager: &Daemon, labels: Value, is_over: bool) {
    let mut alert = json!({ "labels": labels, "annotations": { "summary": "carts are lost" } });
    if is_over {
        alert["endsAt"] = json!(Timestamp(Clock::start().wall()));
    }
    let body = json!([alert]).to_string();
    let answer = alertmanager.ask("POST", "/api/v2/alerts", Some(&body)).await;
    let (status, answer) = answer.expect("an answer");
    assert_eq!(status, 200, "{answer}");
}

async fn checkout(api: &Api) -> Alarm {
    let page: Page<Alarm> = api.read("/v1/alarms").await;
    page.items.into_iter().next().expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_fires_takes_the_traffic_back_and_ends_when_it_is_resolved() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let mut tidegate = Tidegate::start(|ports| SHOP.config(ports, &blue, &green)).await;
    add_notifier(&mut tidegate).await;
    let api = tidegate.api();
    let alertmanager = Daemon::alertmanager(free_port(), &sending_to(&tidegate)).await;
    assert_eq!(checkout(&api).await.state, AlarmState::InsufficientData);
    alert(&alertmanager, json!({ "alertname": "Watchdog" }), false).await;
    until("all is well", async || checkout(&api).await.state == AlarmState::Ok).await;

    let load = Load::start(tidegate.public(), "/", Rate { per_second: 50, connections: 2 });
    let start = json!({ "revision": "v2" });
    let rollout: Rollout =
        api.change("POST", "/v1/services/shop/rollouts", &start).await.expect("started");
    let id = rollout.id.to_string();
    until("green has 10%", async || api.rollout(&id).await.weight.to_string() == "10%").await;
    let labels = json!({ "alertname": "CartsLost", "tidegate_alarm": "checkout" });
    alert(&alertmanager, labels.clone(), false).await;
    until("the traffic is taken back", async || {
        api.rollout(&id).await.state == StateName::RolledBack
    })
    .await;
    let alarm = checkout(&api).await;
    assert_eq!((alarm.state, alarm.source.as_str()), (AlarmState::Alarm, "alertmanager"));
    assert_eq!(alarm.reason.as_deref(), Some("firing: CartsLost: carts are lost"));
    let is_free = async || api.service("shop").await.active_rollout.is_none();
    until("its end is saved", is_free).await;
    let refused = api.change::<Rollout>("POST", "/v1/services/shop/rollouts", &start).await;
    assert_eq!(refused.expect_err("the alarm is raised").code, "alarm_active");

    alert(&alertmanager, labels, true).await;
    until("it is resolved", async || checkout(&api).await.state == AlarmState::Ok).await;
    let ledger: Page<Value> = api.read("/v1/ledger?limit=1000").await;
    let pushed = ledger.items.iter().filter(|entry| entry["kind"] == "alarm_pushed");
    assert!(pushed.clone().count() >= 3, "OK, ALARM and OK are in the ledger");
    assert!(pushed.clone().all(|entry| entry["actor"] == "alertmanager"));
    load.stop().await;
    alertmanager.kill().await;
}
