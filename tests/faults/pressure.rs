//! Twice the load that the memory of the process is good for: what is too much is refused, the
//! memory stays within its limit, and the system has no reason to kill the process.
//!
//! A request costs memory by its body, which is kept for a second attempt while its target is slow.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidegate::admin::json::Reloaded;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::kit::{Ports, Tidegate, Turn, until};
use crate::rig::{
    Client, Group, LEEWAY_KIB, Memory, Row, Scene, Target, answer_with, get, is_full, metric, ms,
    raise_own_limit, read_request, sized,
};

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Served,
    /// By a 503 or by the end of its connection.
    Refused,
    Other(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_under_twice_its_load_keeps_within_its_memory() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "memory pressure by load",
        "at twice the load that fits: what is too much gets 503 or is closed, memory at most 16 MiB \
         above its limit and then given back, all in flight answered, admin within 1 s (reduced: \
         3 s); in the full form the process has 256 MiB and is not killed",
    );
    raise_own_limit();
    let (release, released) = watch::channel(false);
    let blue = holding(released).await;
    let scene = Scene {
        listener: ", limits: { connections_per_client: 20000 }".to_owned(),
        service: ", retries: { methods: [PUT] }".to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let limited = |ports: &Ports, limit: &str| {
        format!("{}overload: {{ memory_limit: {limit} }}\n", scene.config(ports))
    };
    let mut tidegate = Tidegate::start(|ports| limited(ports, "off")).await;
    let (api, public) = (tidegate.api(), tidegate.public());
    let memory = Memory::watch(tidegate.id());
    let limit_kib = sized(memory.before_kib() + 48 * 1_024, FULL_KIB / 10 * 9);
    tidegate.home().configure(&limited(&tidegate.ports(), &format!("{limit_kib}KiB")));
    let _: Reloaded =
        api.change("POST", "/v1/reload", &json!({})).await.expect("a good configuration");
    let group = is_full().then(|| {
        // What it has already is charged elsewhere.
        Group::enclose(tidegate.id(), (FULL_KIB - memory.before_kib()) * 1_024)
    });

    let mut clients = JoinSet::new();
    let mut pace = interval(Duration::from_millis(20));
    let requests = sized(800, 3_000);
    for number in 0..requests {
        if number % 10 == 0 {
            pace.tick().await;
        }
        clients.spawn(put(public, number));
    }
    until("some are refused", async || metric(&api, "tidegate_shed_total", &[]).await > 0).await;
    let asked = Instant::now();
    api.service("shop").await;
    let admin_ms = ms(asked.elapsed());
    let refused = metric(&api, "tidegate_shed_total", &[]).await;
    let held = blue.seen().count();
    release.send_replace(true);
    let told = clients.join_all().await;
    let most_kib = memory.before_kib() + memory.grown_kib();

    row.measure("requests", requests);
    row.measure("counted_as_refused_before_the_release", refused);
    judge(&mut row, &told, held);
    row.measure("limit_kib", limit_kib);
    row.measure("most_kib", most_kib);
    // It would else go on refusing what it has room for.
    let over = Instant::now();
    until("what the burst has used is given back", async || {
        Memory::watch(tidegate.id()).before_kib() < limit_kib / 8 * 7
    })
    .await;
    row.measure("given_back_after_ms", ms(over.elapsed()));
    let again = get(public, "/").await;
    row.measure("admin_ms", admin_ms);
    row.require("memory keeps within its limit", most_kib <= limit_kib + LEEWAY_KIB);
    row.require("the admin API answers soon", admin_ms <= sized(3_000, 1_000));
    row.require("it serves", again.is_ok_and(|answer| answer.status == 200));
    judge_group(&mut row, group.as_ref());
    tidegate.kill().await;
    drop(group);
    row.end();
}

fn judge(row: &mut Row, told: &[Told], held: usize) {
    let count = |what: &Told| told.iter().filter(|told| *told == what).count();
    let other = told.iter().find(|told| matches!(told, Told::Other(_)));
    row.measure("served", count(&Told::Served));
    row.measure("refused", count(&Told::Refused));
    row.measure("held_at_the_target", held);
    if let Some(other) = other {
        row.measure("another_answer", format!("{other:?}"));
    }
    row.require("the rest is refused", count(&Told::Refused) > 0 && other.is_none());
    row.require("what was in flight is answered", count(&Told::Served) >= held);
}

/// Looks whether the system had to kill it; `None` in the reduced form.
fn judge_group(row: &mut Row, group: Option<&Result<Group, String>>) {
    match group {
        Some(Ok(group)) => {
            row.measure("killed", group.killed());
            row.require("it is not killed", group.killed() == 0);
        }
        // The bar on its memory says the same.
        Some(Err(why)) => row.measure("without_a_group", why.as_str()),
        None => {}
    }
}

/// Asks with a body that is kept for a second attempt.
async fn put(address: SocketAddr, number: usize) -> Told {
    let Ok(mut client) = Client::open(address).await else { return Told::Refused };
    let head =
        format!("PUT /{number} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {BODY}\r\n\r\n");
    // One that is refused may be so before it has said everything.
    let _ = client.send([head.into_bytes(), vec![b'x'; BODY]].concat()).await;
    match client.answer().await {
        Ok(answer) if answer.status == 200 => Told::Served,
        Ok(answer) if answer.field("x-tidegate-error") == Some("overloaded") => Told::Refused,
        Ok(answer) => Told::Other(answer.head),
        Err(why) if why == "no answer in time" => Told::Other(why),
        Err(_) => Told::Refused,
    }
}

/// A target that answers a PUT once it is told to.
async fn holding(released: watch::Receiver<bool>) -> Target {
    Target::start(move |mut stream, seen| {
        let mut released = released.clone();
        async move {
            let mut buffer = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.note(&request);
                let holds = request.method == "PUT";
                if holds && released.wait_for(|released| *released).await.is_err() {
                    return;
                }
                if !answer_with(&mut stream, "blue", "ok").await {
                    return;
                }
            }
        }
    })
    .await
}

/// As much as is kept for a second attempt.
const BODY: usize = 64 * 1_024;
/// What the process has in the full form.
const FULL_KIB: u64 = 256 * 1_024;
