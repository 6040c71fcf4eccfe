//! Clients over HTTP/2, in clear text and over TLS, with targets that speak HTTP/1.1.

use crate::certificate::Certificate;
use crate::curl::Curl;
use crate::kit::Origin;
use crate::load::every_answer_comes;
use crate::program::Server;
use crate::proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_that_knows_does_everything_over_http_2_in_clear_text() {
    let target = Server::start("http_server.py").await;
    let tidegate = proxy::between(target.address(), "protocol: h2c,", "").await;
    let url = format!("http://{}", tidegate.public());
    Curl::new(url, &["--http2-prior-knowledge"], "2").does_everything(target.address()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_does_everything_over_tls_in_both_versions() {
    let target = Server::start("http_server.py").await;
    let certificate = Certificate::make().await;
    let tidegate = proxy::between(target.address(), &certificate.listener(), "").await;
    let port = tidegate.public().port();
    let known = format!("localhost:{port}:127.0.0.1");
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let flags = [flag, "--cacert", certificate.path(), "--resolve", &known];
        let curl = Curl::new(format!("https://localhost:{port}"), &flags, version);
        curl.does_everything(target.address()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_has_every_answer_over_http_2_in_clear_text() {
    let target = Origin::start("shop-a").await;
    let tidegate = proxy::between(target.address(), "protocol: h2c,", "").await;
    let url = format!("http://{}/", tidegate.public());
    every_answer_comes(&url, &["--max-concurrent-streams=20"]).await;
    assert_eq!(target.requests(), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_has_every_answer_over_http_2_and_tls() {
    let target = Origin::start("shop-a").await;
    let certificate = Certificate::make().await;
    let tidegate = proxy::between(target.address(), &certificate.listener(), "").await;
    let port = tidegate.public().port();
    let known = format!("--connect-to=127.0.0.1:{port}");
    let flags = ["--max-concurrent-streams=20", &known];
    every_answer_comes(&format!("https://localhost:{port}/"), &flags).await;
    assert_eq!(target.requests(), 10_000);
}
