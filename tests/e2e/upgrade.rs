//! Upgrades: a new process takes over without a request lost or a connection refused, and one that
//! fails leaves the old one as it was.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};

use serde_json::json;
use tidegate::admin::json::Rollout;
use tidegate::core::rollout::StateName;
use tokio::process::Command;

use crate::kit::{
    Api, Chats, FakePredecessor, FakeSuccessor, Home, Origin, Ports, Shop, Successor, Tidegate,
    Turn, Visitors, report, until, upgrade,
};

const UPGRADES: usize = 10;
const VISITORS_OF_EACH_KIND: usize = 8;
const WEBSOCKETS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_upgrades_under_load_cost_no_request_and_the_rollout_goes_on() {
    let _turn = Turn::wait().await;
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let http2 = Cell::new(None);
    let mut tidegate = started_with(|ports| {
        let address = Ports::free().public;
        http2.set(Some(address));
        with_http2(&SHOP.config(ports, &a, &b), address)
    })
    .await;
    let api = tidegate.api();
    let mut visitors = Visitors::start(tidegate.public(), VISITORS_OF_EACH_KIND);
    visitors.join_over_http2(http2.get().expect("chosen"), VISITORS_OF_EACH_KIND);
    let chats = Chats::start(tidegate.public(), WEBSOCKETS);
    until("the WebSockets are open", async || chats.opened() >= WEBSOCKETS).await;
    let service = api.service("shop").await;
    let rollout = api.roll_out(&service, "v2").await.expect("it starts").id.to_string();

    // Those before the last one drain while the next ones take over.
    let mut successors: Vec<Successor> = Vec::new();
    for number in 0..UPGRADES {
        let before = (visitors.answered(), visitors.answered_over_http2());
        successors.push(Successor::named_by(&upgrade(tidegate.home(), &[]).await));
        assert_eq!(api.ask("GET", "/livez", None).await.expect("an answer").status, 200);
        if number == 0 {
            let state = api.rollout(&rollout).await.state;
            assert!(!state.is_terminal(), "it goes on in the new process: {state}");
        }
        until("requests are answered", async || {
            visitors.answered() > before.0 + 100 && visitors.answered_over_http2() > before.1 + 20
        })
        .await;
    }
    until("the rollout is over", async || api.service("shop").await.active_rollout.is_none()).await;
    let ended = api.rollout(&rollout).await;
    assert_eq!(ended.state, StateName::Succeeded, "{ended:?}");
    let last = successors.pop().expect("there were upgrades");
    assert!(tidegate.ended().await.success(), "{}", tidegate.home().said());
    for old in &successors {
        until("the old process has drained", async || old.is_gone()).await;
    }

    let visits = visitors.stop().await;
    report(&format!("{} requests through {UPGRADES} upgrades", visits.answered));
    visits.require_nothing_lost();
    let chatted = chats.stop().await;
    assert!(chatted.failures.is_empty(), "{chatted:?}");
    assert!(chatted.echoed > 0 && chatted.farewells >= WEBSOCKETS, "{chatted:?}");
    assert!(b.requests() > 0, "green had traffic");

    last.ask_to_end();
    until("the last process has ended", async || last.is_gone()).await;
    let left = tidegate.home().files();
    assert!(!left.iter().any(|file| file.contains(".sock")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_binary_takes_over_where_it_is_named() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = started(&a, &b).await;
    let visitors = Visitors::start(tidegate.public(), 2);
    let next = tidegate.home().path().join("tidegate-next");
    // By another process: what this one has open for writing, a process that it starts meanwhile
    // would have too, and the system runs no file that somebody writes.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tidegate")).arg(&next).status().await;
    assert!(copied.expect("it runs").success());
    let path = next.to_str().expect("UTF-8");

    let upgraded = upgrade(tidegate.home(), &["--binary", path]).await;
    let successor = Successor::named_by(&upgraded);
    assert_eq!(successor.binary(), next.canonicalize().expect("it is there"));
    assert!(tidegate.ended().await.success(), "{}", tidegate.home().said());
    still_works(&tidegate, "20%").await;
    let answered = visitors.answered();
    until("it serves", async || visitors.answered() > answered + 20).await;
    visitors.stop().await.require_nothing_lost();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_fails_leaves_the_old_process_as_it_was() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = started(&a, &b).await;
    let visitors = Visitors::start(tidegate.public(), 2);
    let good = SHOP.config(&tidegate.ports(), &a, &b);

    let said = refused(tidegate.home(), &["--binary", "/bin/false"], 3).await;
    assert!(said.contains("ended with exit status: 1"), "{said}");
    still_works(&tidegate, "10%").await;

    tidegate.home().configure(&good.replace("tell_side", "tell_sides"));
    let said = refused(tidegate.home(), &[], 2).await;
    assert!(said.contains("unknown key"), "{said}");
    still_works(&tidegate, "20%").await;

    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let more = format!(
        "listeners:\n  - {{ name: more, address: '{address}', rules: [{{ service: shop }}] }}"
    );
    tidegate.home().configure(&good.replace("listeners:", &more));
    let said = refused(tidegate.home(), &[], 3).await;
    assert!(said.contains("listener more") && said.contains("is in use"), "{said}");
    still_works(&tidegate, "30%").await;

    // The one that fails last has had the store already.
    tidegate.home().configure(&good);
    let mut fake = FakeSuccessor::take(tidegate.home()).await;
    fake.pause().await;
    let answered = visitors.answered();
    until("traffic flows meanwhile", async || visitors.answered() > answered + 20).await;
    drop(fake);
    still_works(&tidegate, "40%").await;

    let next = Successor::named_by(&upgrade(tidegate.home(), &[]).await);
    assert!(tidegate.ended().await.success());
    still_works(&tidegate, "50%").await;
    visitors.stop().await.require_nothing_lost();
    drop(next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_upgrades_at_once_one_is_refused() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = started(&a, &b).await;
    let first = FakeSuccessor::take(tidegate.home()).await;
    let said = refused(tidegate.home(), &[], 3).await;
    assert!(said.contains("is being upgraded already"), "{said}");
    drop(first);
    still_works(&tidegate, "10%").await;
    let mut next = None;
    until("an upgrade succeeds", async || {
        let upgraded = upgrade(tidegate.home(), &[]).await;
        next = upgraded.status.success().then(|| Successor::named_by(&upgraded));
        next.is_some()
    })
    .await;
    assert!(tidegate.ended().await.success());
    still_works(&tidegate, "20%").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_over_where_nobody_serves() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let home = Home::with(&SHOP.config(&Ports::free(), &a, &b));
    let said = refused(&home, &[], 3).await;
    assert!(said.contains("tidegate serve"), "{said}");
    assert_eq!(home.files(), ["tidegate.yaml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_the_old_process_took_meanwhile_is_not_undone() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let good = SHOP.config(&Ports::free(), &a, &b);
    for (changed, expected) in [
        (good.replace("weight: 10%", "weight: 20%"), "has changed since it was read: ask"),
        (good.replace("tell_side", "tell_sides"), "unknown key"),
    ] {
        assert_ne!(changed, good);
        let home = Home::with(&good);
        // It has read the file, and has everything but the store.
        let old = FakePredecessor::paused(&home).await;
        home.configure(&changed);
        let (said, ended) = old.lets_go().await;
        let why = said["failed"]["why"].as_str().unwrap_or_default();
        assert!(why.contains(expected), "{said}");
        assert!(!ended.status.success(), "{ended:?}");
        assert!(!home.path().join("tidegate.db").exists(), "the store is the old process'");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_after_an_upgrade_what_it_was_before() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = started(&a, &b).await;
    let api = tidegate.api();
    let visitors = Visitors::start(tidegate.public(), 4);
    let id = api.roll_out(&api.service("shop").await, "v2").await.expect("it starts").id;
    until("green has some traffic", async || b.requests() > 20).await;
    // Stopped before it moves on, so that what is compared stands still.
    let reason = json!({ "reason": "an upgrade is due" });
    let pause = format!("/v1/rollouts/{id}/pause");
    api.change::<Rollout>("POST", &pause, &reason).await.expect("paused");
    visitors.stop().await.require_nothing_lost();
    until("each request is counted", async || {
        api.rollout(id.as_str()).await.green_requests == b.requests()
    })
    .await;
    let before = Standing::of(&api, id.as_str()).await;
    assert_eq!(before.state, StateName::Shifting, "{before:?}");
    assert!(before.counted[0] > 20 && before.weights[1] == 1_000, "{before:?}");

    let mut fake = FakeSuccessor::take(tidegate.home()).await;
    fake.pause().await;
    drop(fake);
    until("the old process has its store back", async || {
        Standing::of(&api, id.as_str()).await == before
    })
    .await;
    let _next = Successor::named_by(&upgrade(tidegate.home(), &[]).await);
    assert!(tidegate.ended().await.success());
    assert_eq!(Standing::of(&api, id.as_str()).await, before);
}

/// What an upgrade must not change.
#[derive(Debug, PartialEq)]
struct Standing {
    state: StateName,
    step: u32,
    /// In basis points: of the rollout, in force, configured.
    weights: [u16; 3],
    /// Given to green, failed there, rescued, leaked.
    counted: [u64; 4],
}

impl Standing {
    async fn of(api: &Api, rollout: &str) -> Self {
        let (now, service) = (api.rollout(rollout).await, api.service("shop").await.weights);
        Self {
            state: now.state,
            step: now.step,
            weights: [now.green_bp, service.in_force.green_bp, service.configured.green_bp],
            counted: [now.green_requests, now.green_failed, now.rescued, now.leaked],
        }
    }
}

/// A process that can be asked to give way, which is so a moment after it serves.
async fn started(a: &Origin, b: &Origin) -> Tidegate {
    started_with(|ports| SHOP.config(ports, a, b)).await
}

async fn started_with(config: impl Fn(&Ports) -> String) -> Tidegate {
    let tidegate = Tidegate::start(config).await;
    let door = tidegate.home().path().join("tidegate.upgrade.sock");
    until("it can be asked to give way", async || door.exists()).await;
    tidegate
}

/// Asks for an upgrade that is refused with this exit code; gives what is said about that.
async fn refused(home: &Home, more: &[&str], code: i32) -> String {
    let output = upgrade(home, more).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// Checks that whoever serves can still change a split.
async fn still_works(tidegate: &Tidegate, weight: &str) {
    let service = tidegate.api().split("shop", weight).await;
    assert_eq!(service.weights.in_force.green.to_string(), weight);
}

const SHOP: Shop = Shop {
    service: "\
health_check: { path: /healthz, interval: 200ms, timeout: 5s, healthy_after: 1, unhealthy_after: 5 }
strategy: slow
tell_side: true
",
    file: "\
strategies:
  slow:
    steps:
      - { weight: 10%, bake: 3s }
      - { weight: 50%, bake: 2s }
shutdown: { drain: 3s }
",
};

/// The same with a second listener, which speaks HTTP/2 in the clear.
fn with_http2(config: &str, address: SocketAddr) -> String {
    let more = format!(
        "listeners:\n  - {{ name: public-h2, address: '{address}', protocol: h2c, rules: \
         [{{ service: shop }}] }}"
    );
    config.replace("listeners:", &more)
}
