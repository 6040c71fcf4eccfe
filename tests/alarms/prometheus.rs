//! A query in PromQL over what Prometheus scraped from this very process.

use std::net::SocketAddr;

use serde_json::{Value, json};

use tidegate::admin::json::{Alarm, Page, Rollout};
use tidegate::core::model::AlarmState;
use tidegate::core::rollout::StateName;

use crate::daemon::{Daemon, free_port};
use crate::exporter::Exporter;
use crate::kit::{Api, Load, Origin, Ports, Rate, Shop, Tidegate, until};

/// How many carts green has lost. As long as Tidegate has not told of a request to green there is no
/// number.
const QUERY: &str = r#"
        max(carts_lost{group="{{ green }}"})
          and sum(tidegate_requests_total{service="{{ service }}",target_group="{{ green }}"}) > 0"#;

fn config(ports: &Ports, targets: [SocketAddr; 2], prometheus: SocketAddr) -> String {
    let service = "strategy: careful\nmin_green: 1\nalarms: [shop-errors]";
    let file = format!(
        "\
strategies:
  careful: {{ steps: [{{ weight: 50%, bake: 1s }}, {{ weight: 60%, bake: 1h }}] }}
prometheus:
  main: {{ url: 'http://{prometheus}' }}
alarms:
  shop-errors:
    prometheus:
      timeout: 2s
      query: |{QUERY}
    above: 2
    datapoints: 2 of 3
    period: 1s
    unavailable_after: 2
"
    );
    Shop::config_with(ports, targets, service, &file)
}

/// Scrapes the metrics as the documentation says: with a token from a file.
fn scraping(tidegate: &Tidegate, exporter: &Exporter) -> String {
    let token = tidegate.home().path().join("admin.token");
    let (admin, exporter) = (tidegate.ports().admin, exporter.address());
    format!(
        "\
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: tidegate
    authorization: {{ credentials_file: '{}' }}
    static_configs: [{{ targets: ['{admin}'] }}]
  - job_name: carts
    static_configs: [{{ targets: ['{exporter}'] }}]
",
        token.display()
    )
}

async fn alarm(api: &Api) -> Alarm {
    let page: Page<Alarm> = api.read("/v1/alarms").await;
    page.items.into_iter().next().expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_held_without_prometheus_and_taken_back_by_what_it_says() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let targets = [blue.address(), green.address()];
    let (address, exporter) = (free_port(), Exporter::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config(ports, targets, address)).await;
    let api = tidegate.api();
    let load = Load::start(tidegate.public(), "/", Rate { per_second: 100, connections: 4 });

    let start = json!({ "revision": "v2" });
    let rollout: Rollout =
        api.change("POST", "/v1/services/shop/rollouts", &start).await.expect("started");
    let id = rollout.id.to_string();
    until("it is held, because nobody answers", async || {
        let rollout = api.rollout(&id).await;
        rollout.weight.to_string() == "50%" && rollout.holds.iter().any(|h| h.kind == "alarm")
    })
    .await;
    until("it is told why", async || {
        let alarm = alarm(&api).await;
        let reason = alarm.reason.unwrap_or_default();
        alarm.state == AlarmState::InsufficientData && reason.starts_with("unavailable: ")
    })
    .await;

    let prometheus = Daemon::prometheus(address, &scraping(&tidegate, &exporter)).await;
    until("the alarm has data", async || alarm(&api).await.state == AlarmState::Ok).await;
    until("it goes on", async || api.rollout(&id).await.weight.to_string() == "60%").await;
    let found = alarm(&api).await;
    assert_eq!(found.source, "prometheus");
    assert_eq!(found.reason.as_deref(), Some("the last answer is 0"));

    exporter.lose(7);
    until("the traffic is taken back", async || {
        api.rollout(&id).await.state == StateName::RolledBack
    })
    .await;
    let cause = api.rollout(&id).await.cause.unwrap_or_default();
    assert_eq!(cause, "alarm shop-errors is in ALARM");

    let is_free = async || api.service("shop").await.active_rollout.is_none();
    until("its end is saved", is_free).await;
    let refused = api.change::<Rollout>("POST", "/v1/services/shop/rollouts", &start).await;
    assert_eq!(refused.expect_err("the alarm is raised").code, "alarm_active");
    let bold = json!({
        "revision": "v2", "ignore_alarms": ["shop-errors"], "reason": "it is mended",
    });
    let bold: Rollout =
        api.change("POST", "/v1/services/shop/rollouts", &bold).await.expect("started");
    let ledger: Page<Value> = api.read("/v1/ledger?limit=1000").await;
    let entry = ledger.items.iter().find(|entry| entry["kind"] == "alarms_overridden");
    let entry = entry.expect("the override is in the ledger");
    assert_eq!((&entry["rollout"], &entry["reason"]), (&json!(bold.id), &json!("it is mended")));
    load.stop().await;
    prometheus.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_says_of_a_bad_query_is_told() {
    let (blue, green) = (Origin::start("blue").await, Origin::start("green").await);
    let targets = [blue.address(), green.address()];
    let (address, exporter) = (free_port(), Exporter::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config(ports, targets, address)).await;
    let prometheus = Daemon::prometheus(address, &scraping(&tidegate, &exporter)).await;
    let api = tidegate.api();
    for (query, expected) in [
        ("sum(up", "the query is mistaken: bad_data: "),
        ("up == 7", "no number: no series"),
        ("vector(0) / 0", "no number: NaN"),
        ("up[1m]", "the query is mistaken: "),
        (
            "label_replace(vector(1), 'a', 'b', '', '') or vector(2)",
            "the query is mistaken: 2 series",
        ),
        ("scalar(vector(0.125))", "the last answer is 0.125"),
    ] {
        let ports = tidegate.ports();
        let changed =
            config(&ports, targets, address).replace(QUERY, &format!("\n        {query}"));
        assert!(changed.contains(query));
        tidegate.home().configure(&changed);
        let reply = api.ask("POST", "/v1/reload", None).await.expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.body);
        until(&format!("{query:?} is answered: {expected}"), async || {
            let reason = alarm(&api).await.reason.unwrap_or_default();
            reason.starts_with(expected)
        })
        .await;
    }
    prometheus.kill().await;
}
