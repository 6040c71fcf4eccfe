//! More memory in use than the process may have: new work is refused, what is in flight goes on,
//! the operator is answered, and all is as before once there is memory.

use serde_json::json;
use tidegate::admin::json::Reloaded;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::kit::{Api, Ports, Tidegate, Turn, until};
use crate::rig::{
    Answer, Client, Row, Scene, Target, answer_with, get, metric, ms, raise_own_limit, read_request,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_at_its_memory_limit_refuses_new_work_and_finishes_the_old() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "memory pressure",
        "new requests get 503 and new connections are closed; requests in flight are answered; \
         admin answers within 1 s; served again within 1 s after the limit was raised",
    );
    let (release, released) = watch::channel(false);
    let blue = holding(released).await;
    let scene = Scene { blue: vec![blue.address()], ..Scene::default() };
    let limited = |ports: &Ports, limit: &str| {
        format!("{}overload: {{ memory_limit: {limit} }}\n", scene.config(ports))
    };
    raise_own_limit();
    // Less than it needs to do nothing.
    let tidegate = Tidegate::start(|ports| limited(ports, "1MiB")).await;
    let api = tidegate.api();
    let mut held = Vec::new();
    for _ in 0..ALWAYS_SERVED {
        let mut client = Client::open(tidegate.public()).await.expect("connected");
        client.send("GET /held HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.expect("sent");
        held.push(client);
    }
    until("a few are let in", async || blue.seen().count() == ALWAYS_SERVED).await;

    let refused = refused_of(&tidegate, REQUESTS).await;
    row.measure("refused_requests", refused);
    row.require("further requests are refused", refused == REQUESTS);
    let crowd = crowd(&tidegate).await;
    let closed = metric(&api, "tidegate_shed_total", &["\"connection\""]).await;
    row.measure("closed_connections", closed);
    row.require("further connections are closed", closed > 0);
    drop(crowd);
    let counted = metric(&api, "tidegate_shed_total", &["\"request\""]).await;
    row.require("refused requests are counted", counted >= refused as u64);
    let slowest_ms = ask_operator(&api).await;
    row.measure("slowest_admin_ms", slowest_ms);
    row.require("the admin API answers within a second", slowest_ms <= 1_000);
    row.measure("memory_bytes", metric(&api, "tidegate_memory_bytes", &[]).await);

    tidegate.home().configure(&limited(&tidegate.ports(), "1TiB"));
    let reloaded: Reloaded =
        api.change("POST", "/v1/reload", &json!({})).await.expect("a good configuration");
    row.measure("generation", reloaded.generation);
    let raised = Instant::now();
    until("requests are served again", async || {
        get(tidegate.public(), "/").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let recovered_ms = ms(raised.elapsed());
    row.measure("recovered_after_ms", recovered_ms);
    row.require("a second later all is as before", recovered_ms <= 1_000);
    release.send_replace(true);
    let mut finished = 0;
    for mut client in held {
        finished += usize::from(client.answer().await.is_ok_and(|answer| answer.status == 200));
    }
    row.measure("in_flight_finished", finished);
    row.require("what was in flight is answered", finished == ALWAYS_SERVED);
    row.end();
}

/// A target that answers `/held` once it is told to.
async fn holding(released: watch::Receiver<bool>) -> Target {
    Target::start(move |mut stream, seen| {
        let mut released = released.clone();
        async move {
            let mut buffer = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.note(&request);
                if request.path == "/held" && released.changed().await.is_err() {
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

/// Asks so often, each time on a connection of its own; gives how often it was refused as it should.
async fn refused_of(tidegate: &Tidegate, requests: usize) -> usize {
    let is_refusal = |answer: &Answer| {
        answer.status == 503
            && answer.field("retry-after").is_some()
            && answer.field("x-tidegate-error") == Some("overloaded")
    };
    let mut refused = 0;
    for _ in 0..requests {
        let answer = get(tidegate.public(), "/").await;
        refused += usize::from(answer.as_ref().is_ok_and(is_refusal));
    }
    refused
}

/// Opens more connections than are always let in, and waits until some are closed.
async fn crowd(tidegate: &Tidegate) -> Vec<Client> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(Client::open(tidegate.public()).await.expect("the system takes them"));
    }
    let api = tidegate.api();
    until("connections are closed", async || {
        metric(&api, "tidegate_shed_total", &["\"connection\""]).await > 0
    })
    .await;
    crowd
}

/// The longest that an operator waited, in milliseconds.
async fn ask_operator(api: &Api) -> u64 {
    let mut slowest_ms = 0;
    for path in ["/livez", "/readyz", "/v1/services/shop"] {
        let began = Instant::now();
        let reply = api.ask("GET", path, None).await.expect("an answer");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        slowest_ms = slowest_ms.max(ms(began.elapsed()));
    }
    slowest_ms
}

/// How many requests are served whatever the memory says.
const ALWAYS_SERVED: usize = 64;
const REQUESTS: usize = 20;
/// More connections than are let in whatever the memory says.
const CROWD: usize = 300;
