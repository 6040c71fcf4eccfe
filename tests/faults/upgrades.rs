//! Hot upgrades under load: one process after another takes over, some of them broken, and neither a
//! request nor a WebSocket is lost, no POST runs twice, and the split stays what it was.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;

use crate::kit::{Chats, Ports, Successor, Tidegate, Turn, Visitors, until, upgrade};
use crate::rig::{Plan, Row, Sample, Scene, Target, Traffic, raise_own_limit, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_and_double_nothing_and_broken_ones_change_nothing() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "hot upgrades under load",
        "0 failed requests over HTTP/1.1 and HTTP/2, 0 doubled POST, WebSockets end with 1001 \
         alone; the split as before; a binary that does not start changes nothing",
    );
    let (blue, green) = (Target::chatting("blue").await, Target::chatting("green").await);
    let scene =
        Scene { blue: vec![blue.address()], green: vec![green.address()], ..Scene::default() };
    let http2 = Cell::new(None);
    let mut tidegate = Tidegate::start(|ports| {
        let address = Ports::free().public;
        http2.set(Some(address));
        config(&scene, ports, address)
    })
    .await;
    let door = tidegate.home().path().join("tidegate.upgrade.sock");
    until("it can be asked to give way", async || door.exists()).await;
    tidegate.api().split("shop", "30%").await;
    let plan = Plan { per_second: sized(200, 500), connections: 16, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    let mut visitors = Visitors::start(tidegate.public(), 1);
    visitors.join_over_http2(http2.get().expect("chosen"), 4);
    let chats = Chats::start(tidegate.public(), CHATS);
    until("the WebSockets are open", async || chats.opened() >= CHATS).await;

    let mut successors: Vec<Successor> = Vec::new();
    let (mut broken, mut taken, mut moved) = (0, 0, 0);
    for number in 0..sized(2, 50) {
        if number % 5 == 0 {
            broken += 1;
            let ended = upgrade(tidegate.home(), &["--binary", "/bin/false"]).await;
            taken += u32::from(ended.status.success());
        }
        successors.push(Successor::named_by(&upgrade(tidegate.home(), &[]).await));
        let weight = tidegate.api().service("shop").await.weights.in_force.green_bp;
        moved += u32::from(weight != 3_000);
        let begun = traffic.begun();
        until("requests are answered", async || traffic.begun() > begun + 100).await;
    }
    row.measure("upgrades", successors.len());
    row.measure("broken_ones", broken);
    let last = successors.pop().expect("there were upgrades");
    row.require("the first process ends well", tidegate.ended().await.success());
    for old in &successors {
        until("the old process has drained", async || old.is_gone()).await;
    }
    let samples = traffic.stop().await;
    let chatted = chats.stop().await;
    let seen = [blue.seen().requests(), green.seen().requests()].concat();
    judge(&mut row, &samples, &seen);
    row.measure("messages_of_websockets", chatted.echoed);
    row.measure("websockets_closed_with_1001", chatted.farewells);
    row.measure("websockets_ended_otherwise", chatted.failures.len());
    row.require("WebSockets end with 1001 alone", chatted.failures.is_empty());
    row.require("each of the first ones was told", chatted.farewells >= CHATS);
    row.require("a binary that does not start takes nothing over", taken == 0);
    row.require("the split is as before", moved == 0);
    visitors.stop().await.require_nothing_lost();
    drop(last);
    row.end();
}

fn judge(row: &mut Row, samples: &[Sample], seen: &[String]) {
    let failed: Vec<&str> = samples.iter().filter_map(Sample::failure).collect();
    let mut posts: HashMap<&str, u32> = HashMap::new();
    for post in seen.iter().filter(|line| line.starts_with("POST ")) {
        *posts.entry(post).or_default() += 1;
    }
    let doubled = posts.values().filter(|times| **times > 1).count();
    row.measure("requests", samples.len());
    row.measure("failed", failed.len());
    if let Some(why) = failed.first() {
        row.measure("failure", *why);
    }
    row.measure("posts_at_targets", posts.len());
    row.measure("posts_doubled", doubled);
    row.require("no request fails", failed.is_empty());
    row.require("no POST runs twice", doubled == 0 && !posts.is_empty());
}

/// The scene with a second listener, which speaks HTTP/2 in the clear, and a short drain.
fn config(scene: &Scene, ports: &Ports, http2: SocketAddr) -> String {
    let more = format!(
        "listeners:\n  - {{ name: public-h2, address: '{http2}', protocol: h2c, rules: \
         [{{ service: shop }}] }}"
    );
    let config = scene.config(ports).replace("listeners:", &more);
    format!("{config}shutdown: {{ drain: 3s }}\n")
}

const CHATS: u64 = 4;
