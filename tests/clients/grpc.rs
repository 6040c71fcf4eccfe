//! gRPC from end to end: HTTP/2 to the proxy, and on to a target that speaks it in clear text or
//! over TLS.

use crate::authority::Authority;
use crate::certificate::Certificate;
use crate::kit::until;
use crate::metrics::metric;
use crate::program::{Server, client};
use crate::proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_passes_in_clear_text() {
    let target = Server::start("grpc_server.py").await;
    let tidegate = proxy::between(target.address(), "protocol: h2c,", "protocol: h2c,").await;
    client("grpc_client.py", &[&tidegate.public().to_string()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_passes_over_tls() {
    let target = Server::start("grpc_server.py").await;
    let certificate = Certificate::make().await;
    let tidegate =
        proxy::between(target.address(), &certificate.listener(), "protocol: h2c,").await;
    client("grpc_client.py", &[&tidegate.public().to_string(), certificate.path()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_passes_to_a_target_over_tls() {
    let authority = Authority::new();
    let target = Server::start_with("grpc_server.py", &authority.signed()).await;
    let certificate = Certificate::make().await;
    let (listener, group) = (certificate.listener(), authority.trusted());
    let tidegate = proxy::between(target.address(), &listener, &group).await;
    client("grpc_client.py", &[&tidegate.public().to_string(), certificate.path()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_another_authority_vouches_for_is_called_by_nobody() {
    let target = Server::start_with("grpc_server.py", &Authority::new().signed()).await;
    let other = Authority::new();
    let tidegate = proxy::between(target.address(), "protocol: h2c,", &other.trusted()).await;
    client("grpc_client.py", &[&tidegate.public().to_string(), "", "no_target"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_in_trailers_or_in_trailers_alone_counts_as_the_failure_that_it_is() {
    let target = Server::start("grpc_server.py").await;
    let tidegate = proxy::between(target.address(), "protocol: h2c,", "protocol: h2c,").await;
    let address = tidegate.public().to_string();
    client("grpc_client.py", &[&address, "", "faults_of_the_target"]).await;
    let api = tidegate.api();
    let count = async |class: &str| metric(&api, "tidegate_requests_total", &[class]).await;
    // A call is counted when it is over, which its client may know first.
    until("all calls are counted", async || count("").await == 10).await;
    assert_eq!(count("class=\"5xx\"").await, 5);
    assert_eq!(count("class=\"2xx\"").await, 5);
}
