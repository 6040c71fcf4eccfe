//! Targets that come and go while traffic flows: registered over the API, or written into the file
//! that lists them. Those that came get requests, those that went get none, and none is lost.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tidegate::admin::json::GroupTargets;

use crate::kit::{Api, Origin, Shop, Tidegate, Visitors, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_registered_over_the_api_get_the_traffic_until_the_file_has_the_group_again() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let c = Origin::start("shop-c").await;
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let api = tidegate.api();
    let visitors = Visitors::start(tidegate.public(), 2);
    until("the first target has traffic", async || a.requests() > 20).await;
    assert_eq!(c.requests(), 0, "nobody has named it yet");

    register(&api, &[&a, &c]).await;
    until("the registered target has traffic", async || c.requests() > 20).await;
    register(&api, &[&c]).await;
    has_left(&a, &c).await;

    let reset = api.ask("POST", "/v1/target-groups/shop-a/reset", Some("{}")).await;
    assert_eq!(reset.expect("an answer").status, 200);
    has_left(&c, &a).await;
    assert_eq!(b.requests(), 0, "the other group had no weight");
    visitors.stop().await.require_nothing_lost();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_a_changed_file_get_the_traffic() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let c = Origin::start("shop-c").await;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("targets");
    write(&file, &[&a]);
    let tidegate = Tidegate::start(|ports| {
        let config = SHOP.config(ports, &a, &b);
        let from = format!("shop-a: {{ targets: ['{}'] }}", a.address());
        let to = format!("shop-a: {{ targets_file: '{}' }}", file.display());
        let changed = config.replace(&from, &to);
        assert_ne!(changed, config);
        changed
    })
    .await;
    let visitors = Visitors::start(tidegate.public(), 2);
    until("the first target has traffic", async || a.requests() > 20).await;
    assert_eq!(c.requests(), 0, "nobody has named it yet");

    write(&file, &[&a, &c]);
    until("the new target has traffic", async || c.requests() > 20).await;
    write(&file, &[&c]);
    has_left(&a, &c).await;
    visitors.stop().await.require_nothing_lost();
}

/// Registers the targets of the group that is blue.
async fn register(api: &Api, targets: &[&Origin]) {
    let addresses: Vec<String> = targets.iter().map(|t| t.address().to_string()).collect();
    let path = "/v1/target-groups/shop-a/targets";
    let body = json!({ "targets": addresses });
    let now: GroupTargets = api.change("PUT", path, &body).await.expect("registered");
    let now: Vec<String> = now.targets.iter().map(|t| t.address.to_string()).collect();
    assert_eq!(now, addresses);
}

/// Writes the file as operators are told to: a new one in its place.
fn write(file: &Path, targets: &[&Origin]) {
    let lines: String = targets.iter().map(|target| format!("{}\n", target.address())).collect();
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, lines).expect("written");
    std::fs::rename(&unfinished, file).expect("renamed");
}

/// Waits until one target gets no requests any more while the other does.
async fn has_left(gone: &Origin, gets: &Origin) {
    until("the other target has all of the traffic", async || {
        let (before, from) = (gone.requests(), gets.requests());
        until("requests are answered", async || gets.requests() > from + 50).await;
        gone.requests() == before
    })
    .await;
}

const SHOP: Shop = Shop {
    service: "\
health_check: { path: /healthz, interval: 200ms, timeout: 5s, healthy_after: 1, unhealthy_after: 5 }
tell_side: true
",
    file: "",
};
