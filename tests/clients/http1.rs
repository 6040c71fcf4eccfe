//! Clients over HTTP/1.1.

use crate::curl::Curl;
use crate::kit::Origin;
use crate::load::every_answer_comes;
use crate::program::Server;
use crate::proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_does_everything_over_http_1_1() {
    let target = Server::start("http_server.py").await;
    let tidegate = proxy::between(target.address(), "", "").await;
    let curl = Curl::new(format!("http://{}", tidegate.public()), &["--http1.1"], "1.1");
    curl.does_everything(target.address()).await;
    curl.waits_to_be_told_to_go_on(target.address()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_that_offers_http_2_in_clear_text_is_answered_in_http_1_1() {
    let target = Server::start("http_server.py").await;
    let tidegate = proxy::between(target.address(), "", "").await;
    let curl = Curl::new(format!("http://{}", tidegate.public()), &["--http2"], "1.1");
    curl.does_everything(target.address()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_has_every_answer_over_http_1_1() {
    let target = Origin::start("shop-a").await;
    let tidegate = proxy::between(target.address(), "", "").await;
    every_answer_comes(&format!("http://{}/", tidegate.public()), &["--h1"]).await;
    assert_eq!(target.requests(), 10_000);
}
