//! Ending and starting again: nothing in flight is lost, and the first request is served as the
//! last one was.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::core::model::Weight;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::{Answers, Load, Origin, PATIENCE, Rate, Shop, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_asked_to_end_finishes_its_requests_first() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    let public = tidegate.public();
    a.answer_slow(false);
    let slow = tokio::spawn(get(public, "/slow"));
    until("the target has the request", async || a.requests() == 1).await;
    tidegate.ask_to_end();
    until("nobody new is accepted", async || TcpStream::connect(public).await.is_err()).await;
    assert!(!slow.is_finished());
    a.answer_slow(true);
    let answer = slow.await.expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(tidegate.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_serves_the_same_split_from_the_first_request() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    let mut tidegate = Tidegate::start(|ports| SHOP.config(ports, &a, &b)).await;
    for (weight, asleep) in [("100%", &a), ("0%", &b), ("100%", &a)] {
        tidegate.api().split("shop", weight).await;
        for killed in [false, true] {
            if killed {
                tidegate.kill().await;
            } else {
                tidegate.end().await;
            }
            let before = asleep.requests();
            let public = tidegate.public();
            let (answers, ()) = tokio::join!(first_answers(public), tidegate.restart());
            assert_eq!(answers.failed + answers.errors, 0, "{answers:?}");
            assert_eq!(asleep.requests(), before, "{weight}, killed: {killed}");
            let weights = tidegate.api().service("shop").await.weights;
            assert_eq!(weights.configured.green.to_string(), weight);
            assert_eq!(weights.in_force.green.to_string(), weight);
        }
    }
    assert_eq!(tidegate.api().split("shop", "0%").await.weights.in_force.green, Weight::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_ready_once_it_has_looked_at_its_targets() {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    b.answer_checks(false);
    let tidegate = Tidegate::spawn(|ports| SHOP.config(ports, &a, &b)).await;
    let api = tidegate.api().with_token(None);
    let live = api.ask("GET", "/livez", None).await.expect("an answer");
    assert_eq!((live.status, live.body.as_str()), (200, "ok\n"));
    let ready = api.ask("GET", "/readyz", None).await.expect("an answer");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("\"starting\""), "{}", ready.body);
    assert!(get(tidegate.public(), "/").await.starts_with("HTTP/1.1 200 "), "traffic flows");
    b.answer_checks(true);
    until("it is ready", async || {
        api.ask("GET", "/readyz", None).await.expect("an answer").status == 200
    })
    .await;
    let ready = api.ask("GET", "/readyz", None).await.expect("an answer");
    assert!(ready.body.contains("\"ready\"") && ready.body.contains("\"good\""), "{}", ready.body);
}

/// The answers to the very first requests after a port is opened.
async fn first_answers(address: SocketAddr) -> Answers {
    until("it listens", async || TcpStream::connect(address).await.is_ok()).await;
    let load = Load::start(address, "/", Rate { per_second: 200, connections: 4 });
    until("some were answered", async || {
        let answers = load.answers();
        answers.blue + answers.green + answers.failed >= 20
    })
    .await;
    load.stop().await.0
}

async fn get(address: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(PATIENCE + Duration::from_secs(5), exchange).await.expect("an answer in time")
}

const SHOP: Shop = Shop {
    service: "\
health_check: { path: /healthz, interval: 200ms, timeout: 30s, healthy_after: 1 }
tell_side: true
",
    file: "",
};
