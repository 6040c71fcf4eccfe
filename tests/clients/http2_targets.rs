//! Clients of a target that speaks HTTP/2 in clear text, over either version.

use crate::curl::Curl;
use crate::load::every_answer_comes;
use crate::proxy;
use crate::streams::StreamTarget;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_over_http_1_1_is_served_by_a_target_of_http_2() {
    let target = StreamTarget::start().await;
    let tidegate = proxy::between(target.address(), "", "protocol: h2c,").await;
    let url = format!("http://{}", tidegate.public());
    Curl::new(url, &["--http1.1"], "1.1").does_the_usual().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_over_http_2_is_served_by_a_target_of_http_2() {
    let target = StreamTarget::start().await;
    let tidegate = proxy::between(target.address(), "protocol: h2c,", "protocol: h2c,").await;
    let url = format!("http://{}", tidegate.public());
    Curl::new(url, &["--http2-prior-knowledge"], "2").does_the_usual().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_has_every_answer_of_a_target_of_http_2() {
    for (listener, flag) in [("", "--h1"), ("protocol: h2c,", "--max-concurrent-streams=20")] {
        let target = StreamTarget::start().await;
        let tidegate = proxy::between(target.address(), listener, "protocol: h2c,").await;
        every_answer_comes(&format!("http://{}/bytes/2", tidegate.public()), &[flag]).await;
        assert_eq!(target.requests(), 10_000, "{flag}");
    }
}
