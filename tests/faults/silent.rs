//! A target that accepts connections and never answers: each client is told in time, and nothing is
//! left of it, neither a connection nor a request in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::{Turn, until};
use crate::rig::{Row, Scene, Target, get, raise_own_limit, read_request, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_target_that_never_answers_are_told_and_its_connections_given_up() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "a target that accepts and never answers",
        "504 within the timeout + 0.5 s; its connections closed, and none in flight, within 1 s",
    );
    let open = Arc::new(AtomicUsize::new(0));
    let silent = silent(&open).await;
    let scene = Scene {
        service: format!(", timeouts: {{ read: {}ms }}", READ.as_millis()),
        blue: vec![silent.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let asked = sized(50, 500);
    let mut clients = JoinSet::new();
    for _ in 0..asked {
        let address = tidegate.public();
        clients.spawn(async move {
            let began = Instant::now();
            let answer = get(address, "/").await;
            (answer, began.elapsed())
        });
    }
    let (mut told, mut slowest, mut other) = (0, Duration::ZERO, None);
    while let Some(ended) = clients.join_next().await {
        let (answer, took) = ended.expect("no panic");
        slowest = slowest.max(took);
        match answer {
            Ok(answer)
                if answer.status == 504
                    && answer.field("x-tidegate-error") == Some("target_timeout") =>
            {
                told += 1;
            }
            answer => other = Some(format!("{answer:?}")),
        }
    }
    let all_told = Instant::now();
    until("its connections are given up", async || open.load(Ordering::SeqCst) == 0).await;
    until("nothing is in flight", async || {
        let blue = tidegate.api().service("shop").await.blue;
        blue.targets.iter().all(|target| target.in_flight == 0)
    })
    .await;
    let freed = all_told.elapsed();

    row.measure("asked", asked);
    row.measure("told_with_504", told);
    row.measure("slowest_ms", u64::try_from(slowest.as_millis()).expect("a short time"));
    row.measure("freed_after_ms", u64::try_from(freed.as_millis()).expect("a short time"));
    row.measure("requests_at_target", silent.seen().count());
    if let Some(other) = other {
        row.measure("another_answer", other);
    }
    row.require("all are told", told == asked);
    row.require("in time", slowest <= READ + Duration::from_millis(500));
    row.require("each was tried once", silent.seen().count() == asked);
    row.require("nothing is left after a second", freed <= Duration::from_secs(1));
    row.end();
}

/// The target; it tells how many connections to it are open.
async fn silent(open: &Arc<AtomicUsize>) -> Target {
    let counting = Arc::clone(open);
    Target::start(move |mut stream, seen| {
        let open = Arc::clone(&counting);
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            let mut buffer = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.note(&request);
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await
}

/// The timeout of the target.
const READ: Duration = Duration::from_millis(1_500);
