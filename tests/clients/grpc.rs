//! gRPC from end to end: HTTP/2 to the proxy, and on to a target that speaks it in clear text.

use crate::certificate::Certificate;
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
