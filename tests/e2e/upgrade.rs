//! Upgrades: a new process takes over without a request lost or a connection refused, and one that
//! fails leaves the old one as it was.

use std::net::TcpListener;

use tidegate::core::rollout::StateName;

use crate::kit::{
    FakeSuccessor, Home, Origin, Ports, Shop, Successor, Tidegate, Turn, Visitors, report, until,
    upgrade,
};

const UPGRADES: usize = 10;
const VISITORS_OF_EACH_KIND: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_upgrades_under_load_cost_no_request_and_the_rollout_goes_on() {
    let _turn = Turn::wait().await;
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = started(&a, &b).await;
    let api = tidegate.api();
    let visitors = Visitors::start(tidegate.public(), VISITORS_OF_EACH_KIND);
    let service = api.service("shop").await;
    let rollout = api.roll_out(&service, "v2").await.expect("it starts").id.to_string();

    let mut serving: Option<Successor> = None;
    for number in 0..UPGRADES {
        let before = visitors.answered();
        let upgraded = upgrade(tidegate.home(), &[]).await;
        let next = Successor::named_by(&upgraded);
        match serving.replace(next) {
            Some(old) => until("the old process has drained", async || old.is_gone()).await,
            None => assert!(tidegate.ended().await.success(), "{}", tidegate.home().said()),
        }
        assert_eq!(api.ask("GET", "/livez", None).await.expect("an answer").status, 200);
        if number == 0 {
            let state = api.rollout(&rollout).await.state;
            assert!(!state.is_terminal(), "it goes on in the new process: {state}");
        }
        until("requests are answered", async || visitors.answered() > before + 100).await;
    }
    until("the rollout is over", async || api.service("shop").await.active_rollout.is_none()).await;
    let ended = api.rollout(&rollout).await;
    assert_eq!(ended.state, StateName::Succeeded, "{ended:?}");

    let (answered, failures) = visitors.stop().await;
    report(&format!("{answered} requests through {UPGRADES} upgrades"));
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}", failures.len());
    assert!(b.requests() > 0, "green had traffic");

    let last = serving.expect("there were upgrades");
    last.ask_to_end();
    until("the last process has ended", async || last.is_gone()).await;
    let left = tidegate.home().files();
    assert!(!left.iter().any(|file| file.contains(".sock")), "{left:?}");
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
    let (answered, failures) = visitors.stop().await;
    assert!(failures.is_empty(), "{} of {answered}: {failures:?}", failures.len());
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

/// A process that can be asked to give way, which is so a moment after it serves.
async fn started(a: &Origin, b: &Origin) -> Tidegate {
    let tidegate = Tidegate::start(|ports| SHOP.config(ports, a, b)).await;
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
shutdown: { drain: 10s }
",
};
