//! Clients over HTTP/2, in clear text and over TLS, with targets that speak HTTP/1.1.

use crate::certificate::Certificate;
use crate::curl::Curl;
use crate::kit::Origin;
use crate::load::every_answer_comes;
use crate::program::{Server, run};
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

/// Whoever keeps no table has to be told so in the first header after it said so, an interim one too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nghttp_without_a_table_of_fields_reads_interim_answers() {
    let target = Server::start("http_server.py").await;
    let tidegate = proxy::between(target.address(), "protocol: h2c,", "").await;
    let page = |number: u32| format!("http://{}/hints/{number}", tidegate.public());
    let arguments =
        ["--verbose".to_owned(), "--header-table-size=0".to_owned(), page(1), page(2), page(3)];
    let told = run("nghttp", &arguments).await;
    let statuses: Vec<&str> =
        told.lines().filter_map(|line| Some(line.split_once(":status: ")?.1)).collect();
    let count = |status: &str| statuses.iter().filter(|said| **said == status).count();
    assert_eq!((count("103"), count("200"), statuses.len()), (3, 3, 6), "{told}");
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
