//! What bad input gets: an error that names the place and what would be right, and nothing changed.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;
use tidegate::admin::json::{Page, Problem, Reloaded, Rollout, Service};
use tidegate::core::model::Weight;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{Api, Home, Origin, Ports, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_the_configuration_is_named_and_nothing_starts() {
    let good = config(&Ports::free(), "'127.0.0.1:9'", "");
    let check = async |from: &str, to: &str, expected: &[&str]| {
        assert!(good.contains(from), "{from} is not in the configuration");
        let home = Home::with(&good.replace(from, to));
        std::fs::write(home.path().join("notes.wasm"), "no component").expect("written");
        std::fs::write(home.path().join("core.wasm"), b"\0asm\x01\0\0\0").expect("written");
        let before = home.files();
        let said = home.refused().await;
        for part in expected {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        assert_eq!(home.files(), before, "{said}");
    };
    let zeros = "0".repeat(64);
    let gate = |file: &str| format!("gates:\n  own: {{ component: {file}, sha256: '{zeros}' }}");
    check(
        "tell_side:",
        "tell_sides:",
        &["tidegate.yaml:10: services.shop.tell_sides: unknown key", "did you mean `tell_side`?"],
    )
    .await;
    check(
        "weight: 10%",
        "weight: 101%",
        &["tidegate.yaml:14: strategies.patient.steps[0].weight: weight 10100 is above 10000"],
    )
    .await;
    check(
        "weight: 10%",
        "weight: 10",
        &["strategies.patient.steps[0].weight: \"10\" has no unit: a weight is written in percent"],
    )
    .await;
    check(
        "['127.0.0.1:9']",
        "[]",
        &[
            "services.shop.target_groups: both target groups are empty",
            "give the first one targets",
        ],
    )
    .await;
    check(
        "service: shop",
        "service: shoe",
        &[
            "tidegate.yaml:2: listeners[0].rules[0].service: unknown service \"shoe\"",
            "did you mean \"shop\"?",
        ],
    )
    .await;
    check(
        "strategy: patient",
        "strategy: patent",
        &["services.shop.strategy: unknown strategy \"patent\"; did you mean \"patient\"?"],
    )
    .await;
    check(
        "gates: {}",
        &gate("nowhere.wasm"),
        &["gates.own.component: ", "nowhere.wasm cannot be read"],
    )
    .await;
    check("gates: {}", &gate("notes.wasm"), &["notes.wasm is not a WebAssembly component"]).await;
    check("gates: {}", &gate("core.wasm"), &["core.wasm is a core module, not a component"]).await;
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/dist/error-budget.wasm");
    check("gates: {}", &gate(component), &["gates.own.sha256: the component hashes to "]).await;
    check(&good, "", &["tidegate.yaml: is empty"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_given_twice_is_named_with_every_other_mistake() {
    let good = config(&Ports::free(), "'127.0.0.1:9'", "");
    let home = Home::with(&good.replace("  shop-b:", "  shop-a:"));
    let said = home.refused().await;
    for part in [
        "tidegate.yaml:5: target_groups.shop-a: this key is written twice, first in line 4",
        "keep one of them",
        "services.shop.target_groups[1]: unknown target group \"shop-b\"",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(home.files(), ["tidegate.yaml"], "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gate_parameters_that_do_not_match_their_schema_are_named() {
    let good = config(&Ports::free(), "'127.0.0.1:9'", "");
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/dist/error-budget.wasm");
    let sums = include_str!("../../plugins/dist/SHA256SUMS");
    let sum = sums.lines().find(|line| line.ends_with("/error-budget.wasm")).expect("its sum");
    let sha256 = sum.split(' ').next().expect("a digest");
    let declared = format!("gates:\n  own: {{ component: {component}, sha256: {sha256} }}");
    let asked = "tell_side: true\n    gates: [{ gate: own, at: [before-step], params: { slo: 101, burn: 2 } }]";
    let home = Home::with(&good.replace("gates: {}", &declared).replace("tell_side: true", asked));
    let said = home.refused().await;
    let check = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .arg(home.path().join("tidegate.yaml"))
        .output()
        .expect("run");
    let checked = String::from_utf8_lossy(&check.stderr).into_owned();
    for part in ["services.shop.gates[0].params: ", "slo", "101", "burn"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
        assert!(checked.contains(part), "{part:?} is not in {checked}");
    }
    assert_eq!(check.status.code(), Some(2), "{checked}");
    assert!(!home.files().contains(&"tidegate.db".to_owned()), "{:?}", home.files());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_is_named_and_nothing_starts() {
    let ports = Ports::free();
    let home = Home::with(&config(&ports, "'127.0.0.1:9'", ""));
    for (address, expected, at) in [
        (ports.public, "listeners[0].address: listener public", "2: listeners[0].address"),
        (ports.admin, "`admin.address`", "16: admin.address"),
    ] {
        let taken = TcpListener::bind(address).expect("free");
        let said = home.refused().await;
        for part in [expected, &address.to_string(), "is in use", "another address"] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        let (code, checked) = check(&home);
        let told = format!("tidegate.yaml:{at}: {address} is in use; stop what listens there");
        assert!(checked.contains(&told), "{told:?} is not in {checked}");
        assert_eq!(code, Some(2), "{checked}");
        assert_eq!(home.files(), ["tidegate.yaml"], "{said}");
        drop(taken);
    }
    let (code, checked) = check(&home);
    assert_eq!(code, Some(0), "{checked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_a_running_process_is_checked_without_a_mistake() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config_of(ports, &a, &b)).await;
    let Ports { public, admin } = tidegate.ports();
    let holder = format!("process {})", tidegate.id().as_raw_nonzero());
    // It can be asked a moment after it serves.
    let door = tidegate.home().path().join("tidegate.upgrade.sock");
    until("it can be asked", async || door.exists()).await;
    let (code, said) = check(tidegate.home());
    assert_eq!(code, Some(0), "{said}");
    for (at, address) in [("listeners[0].address", public), ("admin.address", admin)] {
        let told = format!("{at}: {address} is in use by the Tidegate that serves");
        assert!(said.contains(&told) && said.contains(&holder), "{told:?} is not in {said}");
    }
    let foreign = TcpListener::bind("127.0.0.1:0").expect("bound");
    let foreign = (foreign.local_addr().expect("bound"), foreign);
    let moved = config_of(&Ports { public: foreign.0, admin }, &a, &b);
    tidegate.home().configure(&moved);
    let (code, said) = check(tidegate.home());
    let told = format!("tidegate.yaml:2: listeners[0].address: {} is in use; stop", foreign.0);
    assert!(said.contains(&told), "{told:?} is not in {said}");
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(get(&tidegate).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_to_an_address_in_use_names_the_key_and_changes_nothing() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config_of(ports, &a, &b)).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound");
    let Ports { public, admin } = tidegate.ports();
    for (ports, key) in [
        (Ports { public: address, admin }, "listeners[0].address changes only"),
        (Ports { public, admin: address }, "admin.address changes only"),
    ] {
        tidegate.home().configure(&config_of(&ports, &a, &b));
        let api = tidegate.api();
        let before = State::of(&api).await;
        let refused: Result<Reloaded, Problem> = api.change("POST", "/v1/reload", &json!({})).await;
        let problem = refused.map(|reloaded| reloaded.generation).expect_err("refused");
        assert_eq!(problem.code, "reload_refused");
        assert!(problem.detail.contains(key), "{key:?} is not in {problem:?}");
        assert_eq!(State::of(&api).await, before);
    }
    assert_eq!(get(&tidegate).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_another_process_has_is_named_and_left_alone() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let first = Tidegate::start(|ports| config_of(ports, &a, &b)).await;
    first.api().split("shop", "25%").await;
    let before = State::of(&first.api()).await;
    let store = first.home().path().join("tidegate.db");
    let other = config_of(&Ports::free(), &a, &b);
    let second = Home::with(&other.replace("tidegate.db", &store.to_string_lossy()));
    let said = second.refused().await;
    for part in ["tidegate.db is held by another process", "store.path"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(second.files(), ["tidegate.yaml"], "{said}");
    assert_eq!(State::of(&first.api()).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_flows_from_the_table_file_when_the_store_cannot_be_read() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| config_of(ports, &a, &b)).await;
    tidegate.api().split("shop", "25%").await;
    tidegate.end().await;
    let store = tidegate.home().path().join("tidegate.db");
    let sound = std::fs::read(&store).expect("a store");
    let recorded = sound.windows(9).position(|bytes| bytes == b"split_set").expect("recorded");
    let mut newer = sound.clone();
    // Where a database holds its `user_version`, the store's schema.
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    // The first bytes say what the file is; the others are a word in the ledger.
    let [no_database, changed] = [0..100, recorded..recorded + 9].map(|place| {
        let mut broken = sound.clone();
        broken[place].iter_mut().for_each(|byte| *byte ^= 1);
        broken
    });
    let why = [("has schema 99", newer), ("", no_database), ("", changed)];
    for (why, broken) in why {
        std::fs::write(&store, &broken).expect("written");

        tidegate.restart().await;
        let api = tidegate.api();
        let path = "/v1/services/shop/split";
        let refused: Result<Service, Problem> =
            api.change("PUT", path, &json!({ "green": "50%" })).await;
        let problem = refused.expect_err("nothing can be saved");
        assert_eq!((problem.status, problem.code.as_str()), (503, "store_unreadable"));
        assert!(problem.fix.is_some(), "{problem:?}");
        let service = api.service("shop").await;
        assert_eq!(service.weights.in_force.green.to_string(), "25%");
        assert_eq!(get(&tidegate).await, 200);
        tidegate.end().await;
        assert_eq!(std::fs::read(&store).expect("a store"), broken, "it was left untouched");
        assert!(tidegate.home().said().contains(why), "{why:?} is not said");
    }

    std::fs::remove_file(store.with_extension("table")).expect("it was there");
    let broken = std::fs::read(&store).expect("a store");
    let said = tidegate.home().refused().await;
    for part in ["tidegate.db", "no table file to serve from", "restore the database"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(std::fs::read(&store).expect("a store"), broken, "it was left untouched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_the_api_that_makes_no_sense_is_refused_and_changes_nothing() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config_of(ports, &a, &b)).await;
    let api = tidegate.api();
    let before = State::of(&api).await;
    let check = async |api: &Api, request: (&str, &str, &str), expected: (u16, &str, &str)| {
        let (method, path, body) = request;
        let (status, code, part) = expected;
        let body = Some(body).filter(|body| !body.is_empty());
        let reply = api.ask(method, path, body).await.expect("an answer");
        let problem: Problem = reply.read();
        assert_eq!((reply.status, problem.code.as_str()), (status, code), "{problem:?}");
        assert_eq!(problem.status, status);
        let said = format!("{} {:?} {:?}", problem.detail, problem.fix, problem.at);
        assert!(said.contains(part), "{part:?} is not in {problem:?}");
        let after = State::of(&tidegate.api()).await;
        assert_eq!(after, before, "{method} {path}");
    };
    let split = |body| ("PUT", "/v1/services/shop/split", body);
    let start = |body| ("POST", "/v1/services/shop/rollouts", body);
    let long = format!("{{\"green\":\"10%\",\"reason\":\"{}\"}}", "x".repeat(300 * 1024));
    let above = "weight 10100 is above 10000";
    check(&api, split("{\"green\":\"10%\""), (400, "malformed_json", "body, line 1 column")).await;
    check(&api, split("{\"green\":\"101%\"}"), (400, "bad_body", above)).await;
    check(&api, split("{\"green\":10}"), (400, "bad_body", "a weight is written in percent")).await;
    check(&api, split("{\"green\":\"1%\",\"blue\":\"9%\"}"), (400, "bad_body", "`blue`")).await;
    check(&api, split(&long), (413, "body_too_large", "262144 bytes")).await;
    let unknown = ("PUT", "/v1/services/shoe/split", "{\"green\":\"10%\"}");
    check(&api, unknown, (404, "no_such_service", "shoe")).await;
    let strategy = "{\"revision\":\"v2\",\"strategy\":\"hasty\"}";
    check(&api, start(strategy), (422, "no_such_strategy", "hasty")).await;
    let alarm = "{\"revision\":\"v2\",\"ignore_alarms\":[\"none\"]}";
    check(&api, start(alarm), (422, "no_such_alarm", "none")).await;
    let nowhere = "{\"revision\":\"v2\",\"targets\":[\"nowhere\"]}";
    check(&api, start(nowhere), (400, "bad_body", "`host:port`")).await;
    let twice = "{\"revision\":\"v2\",\"targets\":[\"127.0.0.1:9\",\"127.0.0.1:9\"]}";
    check(&api, start(twice), (400, "bad_targets", "127.0.0.1:9 is listed twice")).await;
    check(&api, start("{}"), (400, "bad_body", "`revision`")).await;
    let abort = ("POST", "/v1/rollouts/d-AAAAAAAAA/abort", "{}");
    check(&api, abort, (404, "no_such_rollout", "d-AAAAAAAAA")).await;
    let push = ("PUT", "/v1/alarms/none/state", "{\"state\":\"ALARM\"}");
    check(&api, push, (404, "no_such_alarm", "none")).await;
    check(&api, ("GET", "/v1/nothing", ""), (404, "no_such_route", "/v1/openapi.json")).await;
    let swap = ("POST", "/v1/services/shop/swap", "{}");
    check(&api, swap, (409, "split_not_full", "set it to 100% first")).await;
    for token in [None, Some("tg_wrong")] {
        let stranger = api.with_token(token);
        let allowed = split("{\"green\":\"10%\"}");
        check(&stranger, allowed, (401, "unauthenticated", "Authorization: Bearer")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_rollout_and_a_split_by_hand_are_refused_with_the_id_of_the_first() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let tidegate = Tidegate::start(|ports| config_of(ports, &a, &b)).await;
    let api = tidegate.api();
    let first = api.roll_out(&api.service("shop").await, "v2").await.expect("it starts");
    let tenth: Weight = "10%".parse().expect("a weight");
    until("green has its weight", async || {
        api.service("shop").await.weights.in_force.green == tenth
    })
    .await;
    let second = api.roll_out(&api.service("shop").await, "v3").await.map(|rollout| rollout.id);
    let path = "/v1/services/shop/split";
    let split: Result<Service, Problem> = api.change("PUT", path, &json!({ "green": "0%" })).await;
    for problem in [second.expect_err("refused"), split.map(|s| s.name).expect_err("refused")] {
        assert_eq!((problem.status, problem.code.as_str()), (409, "rollout_active"));
        assert_eq!(problem.active_rollout, Some(first.id.clone()));
        assert!(problem.fix.is_some_and(|fix| fix.contains(first.id.as_str())));
    }
    let service = api.service("shop").await;
    assert_eq!(service.active_rollout, Some(first.id.clone()));
    assert_eq!(service.green.revision.map(|revision| revision.to_string()), Some("v2".to_owned()));
    assert_eq!(service.weights.in_force.green, tenth);
    let rollouts: Page<Rollout> = api.read("/v1/rollouts").await;
    assert_eq!(rollouts.items.len(), 1);
}

/// Checks the file in a folder; gives the exit code, and what was said.
fn check(home: &Home) -> (Option<i32>, String) {
    let check = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .arg(home.path().join("tidegate.yaml"))
        .env("NO_COLOR", "1")
        .output()
        .expect("run");
    (check.status.code(), String::from_utf8_lossy(&check.stderr).into_owned())
}

/// What a refused request must leave as it was.
#[derive(Debug, PartialEq)]
struct State {
    service: Service,
    rollouts: usize,
    recorded: usize,
}

impl State {
    async fn of(api: &Api) -> Self {
        let rollouts: Page<Rollout> = api.read("/v1/rollouts").await;
        Self {
            service: api.service("shop").await,
            rollouts: rollouts.items.len(),
            recorded: api.ledger(None).await.len(),
        }
    }
}

/// The status of one request to the listener.
async fn get(tidegate: &Tidegate) -> u16 {
    let mut stream = TcpStream::connect(tidegate.ports().public).await.expect("connected");
    let request = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn config_of(ports: &Ports, a: &Origin, b: &Origin) -> String {
    config(ports, &format!("'{}'", a.address()), &format!("'{}'", b.address()))
}

/// The configuration; `a` and `b` are lists of targets.
fn config(ports: &Ports, a: &str, b: &str) -> String {
    let Ports { public, admin } = ports;
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: [{a}] }}
  shop-b: {{ targets: [{b}] }}
services:
  shop:
    target_groups: [shop-a, shop-b]
    health_check: {{ path: /healthz, interval: 200ms, timeout: 5s, healthy_after: 1 }}
    tell_side: true
    strategy: patient
strategies:
  patient:
    steps: [{{ weight: 10%, bake: 1h }}]
gates: {{}}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}
