//! Hot upgrades under load: one process after another takes over, some of them broken, and neither a
//! request nor a WebSocket is lost, no POST runs twice, and the split stays what it was.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::kit::{Chats, Home, Ports, Successor, Tidegate, Turn, Visitors, until, upgrade};
use crate::rig::{Plan, Row, Sample, Scene, Target, Traffic, raise_own_limit, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_and_double_nothing_and_broken_ones_change_nothing() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "hot upgrades under load",
        "0 failed requests over HTTP/1.1 and HTTP/2, 0 doubled POST, WebSockets end with 1001 \
         alone; the split as before; what cannot start, or read its file, changes nothing",
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
    let broken = Broken::beside(tidegate.home()).await;
    let (mut failed, mut astray, mut moved, mut strangers) = (0, Vec::new(), 0, 0);
    let mut serving = i64::from(tidegate.id().as_raw_pid());
    for number in 0..sized(2, 50) {
        if number % 5 == 0 {
            failed += Broken::KINDS;
            astray.extend(broken.try_each(tidegate.home()).await);
        }
        let upgraded = upgrade(tidegate.home(), &[]).await;
        successors.push(Successor::named_by(&upgraded));
        strangers += u32::from(!follows(&mut serving, &upgraded));
        let weight = tidegate.api().service("shop").await.weights.in_force.green_bp;
        moved += u32::from(weight != 3_000);
        let begun = traffic.begun();
        until("requests are answered", async || traffic.begun() > begun + 100).await;
    }
    row.measure("upgrades", successors.len());
    row.measure("broken_ones", failed);
    row.measure("broken_ones_astray", astray.join("; "));
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
    row.require("each broken one is refused as it should be", astray.is_empty());
    row.require("no broken one takes anything over", strangers == 0);
    row.require("the split is as before", moved == 0);
    visitors.stop().await.require_nothing_lost();
    drop(last);
    row.end();
}

/// Upgrades that cannot succeed.
struct Broken {
    /// The configuration that is served.
    good: String,
    /// A program that serves another one, which cannot be read.
    blind: PathBuf,
}

impl Broken {
    /// How many there are.
    const KINDS: usize = 2 + MISTAKES.len();

    /// Makes what they need.
    async fn beside(home: &Home) -> Self {
        let path = |name: &str| home.path().join(name);
        let good = std::fs::read_to_string(path("tidegate.yaml")).expect("it is served");
        let blind = path("blind");
        // By another process: what this one has open for writing, a process that it starts meanwhile
        // would have too, and the system runs no file that somebody writes.
        let written = Command::new("sh")
            .args(["-c", WRITE_PROGRAM, "sh", env!("CARGO_BIN_EXE_tidegate")])
            .args([&path("nowhere.yaml"), &blind])
            .status()
            .await;
        assert!(written.expect("it runs").success());
        Self { good, blind }
    }

    /// Tries all of them; gives what was not as it should be.
    async fn try_each(&self, home: &Home) -> Vec<String> {
        let mut astray = Vec::new();
        let mut check = |what: &str, ended: &Output, code: i32, expected: &str| {
            let said = String::from_utf8_lossy(&ended.stderr);
            if ended.status.code() != Some(code) || !said.contains(expected) {
                astray.push(format!("{what}: {}: {said}", ended.status));
            }
        };
        let ended = upgrade(home, &["--binary", "/bin/false"]).await;
        check("a binary that does not start", &ended, 3, "ended with exit status: 1");
        let blind = self.blind.to_str().expect("UTF-8");
        let ended = upgrade(home, &["--binary", blind]).await;
        check("a process that cannot read its file", &ended, 3, "ended with exit status: 2");
        for (from, to, said) in MISTAKES {
            let bad = self.good.replacen(from, to, 1);
            assert_ne!(bad, self.good, "{from:?} is not in the configuration");
            home.configure(&bad);
            let ended = upgrade(home, &[]).await;
            check(to, &ended, 2, said);
        }
        home.configure(&self.good);
        astray
    }
}

/// Whether it was the process that served which gave way in an upgrade that succeeded; the other one
/// serves from now on.
fn follows(serving: &mut i64, upgraded: &Output) -> bool {
    let said: Value = serde_json::from_slice(&upgraded.stdout).expect("an object");
    let [old, new] = ["old_pid", "new_pid"].map(|key| said[key].as_i64().expect("an id"));
    std::mem::replace(serving, new) == old
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
/// Mistakes in the configuration: a text of the good one, what stands in its place, and what is said
/// of it.
const MISTAKES: [(&str, &str, &str); 2] = [
    ("tell_side", "tell_sides", "services.shop.tell_sides: unknown key"),
    ("services:", "services: [", "tidegate.yaml:"),
];
/// Writes a program that serves a file in the place of the one that it is told: of the binary, the
/// file, and the program.
const WRITE_PROGRAM: &str = "printf '#!/bin/sh\\nexec \"%s\" serve --takeover --config \"%s\"\\n' \
                             \"$1\" \"$2\" > \"$3\" && chmod +x \"$3\"";
