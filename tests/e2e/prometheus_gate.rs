//! The shipped `prometheus-query` against the real Prometheus of Debian's package `prometheus`: it
//! holds a rollout, lets it go on when the number is good again, and takes the next one back.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use tidegate::admin::json::Rollout;
use tidegate::core::model::Sha256;
use tidegate::core::rollout::StateName;

use crate::daemon::{Daemon, free_port};
use crate::exporter::Exporter;
use crate::kit::{Api, Load, Origin, Ports, Rate, Shop, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_holds_a_rollout_lets_it_go_on_and_takes_the_next_one_back() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let targets = [a.address(), b.address()];
    let exporter = Exporter::start("shop").await;
    exporter.lose(3);
    let address = free_port();
    let prometheus = Daemon::prometheus(address, &scraping(&exporter)).await;
    scraped(&prometheus, "3").await;
    let tidegate = Tidegate::start(|ports| config(ports, targets, address)).await;
    let api = tidegate.api();
    let load = Load::start(tidegate.public(), "/", Rate { per_second: 100, connections: 4 });

    let first = started(&api, "quick", "v2").await;
    until("it is held by what the query gives", async || {
        let rollout = api.rollout(&first).await;
        let holds: Vec<_> = rollout.holds.iter().map(|hold| hold.text.as_str()).collect();
        rollout.weight.to_string() == "50%"
            && holds.contains(&"gate prometheus-query: the query gives 3, above 1")
    })
    .await;
    exporter.lose(0);
    until("it goes on to its end", async || {
        api.rollout(&first).await.state == StateName::Succeeded
    })
    .await;
    until("its end is saved", async || api.service("shop").await.active_rollout.is_none()).await;
    for kind in ["hold", "pass"] {
        assert!(answers(&api, &first, kind).await > 0, "the ledger has no {kind} of the gate");
    }

    let second = started(&api, "slow", "v3").await;
    until("the gate passes while green has half", async || {
        let weight = api.rollout(&second).await.weight.to_string();
        weight == "50%" && answers(&api, &second, "pass").await > 0
    })
    .await;
    assert_eq!(api.rollout(&second).await.state, StateName::Shifting);
    exporter.lose(7);
    until("the traffic is taken back", async || {
        api.rollout(&second).await.state == StateName::RolledBack
    })
    .await;
    let rollout = api.rollout(&second).await;
    assert_eq!(rollout.weight.to_string(), "0%");
    let cause = rollout.cause.unwrap_or_default();
    assert_eq!(cause, "gate prometheus-query at during-step: the query gives 7, above 5");
    let (load, _) = load.stop().await;
    assert_eq!((load.failed, load.errors), (0, 0), "{:?}", load.failures);
    prometheus.kill().await;
}

/// Starts a rollout onto the targets that green has already; gives its id.
async fn started(api: &Api, strategy: &str, revision: &str) -> String {
    let body = json!({ "revision": revision, "strategy": strategy });
    let started = api.change::<Rollout>("POST", "/v1/services/shop/rollouts", &body).await;
    started.expect("started").id.to_string()
}

/// How many answers of this kind the ledger has about a rollout.
async fn answers(api: &Api, rollout: &str, kind: &str) -> usize {
    let told = api.ledger(Some(rollout)).await;
    let told = told.iter().filter(|entry| entry.kind == "gate_answered");
    told.filter(|entry| entry.detail.contains(&format!("\"{kind}\""))).count()
}

/// Waits until Prometheus has this number.
async fn scraped(prometheus: &Daemon, number: &str) {
    until("the number is scraped", async || {
        let answer = prometheus.ask("GET", "/api/v1/query?query=carts_lost", None).await;
        answer.is_some_and(|(_, answer)| answer.contains(&format!("\"{number}\"]")))
    })
    .await;
}

fn scraping(exporter: &Exporter) -> String {
    let exporter = exporter.address();
    format!(
        "\
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: carts
    static_configs: [{{ targets: ['{exporter}'] }}]
"
    )
}

fn config(ports: &Ports, targets: [SocketAddr; 2], prometheus: SocketAddr) -> String {
    let component =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist/prometheus-query.wasm");
    let digest = Sha256::of(&std::fs::read(&component).expect("committed"));
    let component = component.display();
    let service = format!(
        "\
strategy: quick
analysis: off
tell_side: true
gates:
  - gate: prometheus-query
    at: [during-step]
    every: 1s
    params:
      url: http://{prometheus}
      query: max(carts_lost{{group=\"$service\"}})
      hold_above: 1
      fail_above: 5
"
    );
    let file = format!(
        "\
strategies:
  quick: {{ steps: [{{ weight: 50%, bake: 1s }}] }}
  slow: {{ steps: [{{ weight: 50%, bake: 1h }}] }}
gates:
  prometheus-query:
    component: {component}
    sha256: {digest}
    grants:
      http: [{{ host: '{prometheus}', methods: [GET], addresses: [127.0.0.0/8] }}]
"
    );
    Shop::config_with(ports, targets, &service, &file)
}
