//! Reloads of a configuration with a mistake, under load: each is refused, what is served stays,
//! and no request is lost. Nor is one by reloads of a good one.

use serde_json::json;
use tidegate::admin::json::{Problem, Reloaded};

use crate::kit::{Api, Turn, until};
use crate::rig::{Plan, Row, Sample, Scene, Target, Traffic, metric, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_of_bad_configurations_are_refused_and_cost_no_request() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "reload with bad configurations",
        "each refused, with the table as it was; 0 lost requests, also by reloads of a good one",
    );
    let (blue, green) = (Target::sound("blue").await, Target::sound("green").await);
    let scene = Scene {
        service: ", balance: least_of_two, timeouts: { read: 30s }".to_owned(),
        blue: vec![blue.address()],
        green: vec![green.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "30%").await;
    let good = scene.config(&tidegate.ports());
    let plan = Plan { per_second: sized(300, 2_000), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    until("the load is under way", async || traffic.begun() > 100).await;

    let (mut refused, mut changed, mut taken) = (0, 0, Vec::new());
    for _ in 0..sized(1, 5) {
        for (from, to) in MISTAKES {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from:?} is not in the configuration");
            let before = generation(&api).await;
            tidegate.home().configure(&bad);
            match reload(&api).await {
                Ok(_) => taken.push(format!("{from} -> {to}")),
                Err(problem) => refused += u64::from(problem.status == 422),
            }
            changed += u64::from(generation(&api).await != before);
        }
    }
    let weight = api.service("shop").await.weights.in_force.green_bp;
    let after_bad = counted(&api).await;
    tidegate.home().configure(&good);
    let reloads = sized(3, 20);
    for _ in 0..reloads {
        reload(&api).await.expect("the good configuration is taken");
    }
    let after_good = counted(&api).await;
    let samples = traffic.stop().await;

    let lost: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let asked = MISTAKES.len() as u64 * sized::<u64>(1, 5);
    row.measure("reloads", asked);
    row.measure("refused", refused);
    row.measure("taken", taken);
    row.measure("tables_changed", changed);
    row.measure("requests", samples.len());
    row.measure("lost", lost.len());
    row.require("each is refused with 422", refused == asked);
    row.require("the table is as it was", changed == 0 && weight == 3_000);
    let is_counted = after_bad == [0, asked] && after_good == [reloads, asked];
    row.require("the metrics tell those applied from those refused", is_counted);
    row.require("no request is lost", lost.is_empty());
    row.end();
}

async fn reload(api: &Api) -> Result<Reloaded, Problem> {
    api.change("POST", "/v1/reload", &json!({})).await
}

/// How many reloads the metrics say were applied, and how many refused.
async fn counted(api: &Api) -> [u64; 2] {
    let count = async |result: &str| metric(api, "tidegate_reloads_total", &[result]).await;
    [count("applied").await, count("refused").await]
}

/// What every swap of the routing table changes.
async fn generation(api: &Api) -> u64 {
    metric(api, "tidegate_generation", &[]).await
}

/// Twenty ways to get it wrong: a text of the good configuration, and what stands in its place.
const MISTAKES: [(&str, &str); 20] = [
    ("listeners:", "listener:"),
    ("name: public", "nam: public"),
    ("rules: [{ service: shop }]", "rules: []"),
    ("rules: [{ service: shop }]", "rules: [{ service: shoe }]"),
    ("rules: [{ service: shop }]", "rules: [{ redirect: http }]"),
    ("target_groups: [shop-a, shop-b]", "target_groups: [shop-a]"),
    ("target_groups: [shop-a, shop-b]", "target_groups: [shop-a, shop-a]"),
    ("target_groups: [shop-a, shop-b]", "target_groups: [shop-a, shop-c]"),
    ("  shop-b: {", "  shop-a: {"),
    ("targets: ['127.0.0.1:", "targets: ['127.0.0.1:9"),
    ("tell_side: true", "tell_side: 1"),
    ("tell_side: true", "tell_sides: true"),
    ("strategy: patient", "strategy: patent"),
    ("balance: least_of_two", "balance: least"),
    ("timeouts: { read: 30s }", "timeouts: { read: 30 }"),
    ("timeouts: { read: 30s }", "timeouts: { read: 0s }"),
    ("weight: 50%", "weight: 101%"),
    ("weight: 50%", "weight: 50"),
    ("store:", "store: ["),
    ("admin: {", "admin: { tokn: x,"),
];
