//! WebSockets, over HTTP/1.1 with and without TLS.

use crate::certificate::Certificate;
use crate::program::{Server, client};
use crate::proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_as_good_as_without_a_proxy() {
    let target = Server::start("ws_server.py").await;
    let tidegate = proxy::between(target.address(), "", "").await;
    client("ws_client.py", &[&format!("ws://{}", tidegate.public())]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_over_tls_is_as_good_as_without_a_proxy() {
    let target = Server::start("ws_server.py").await;
    let certificate = Certificate::make().await;
    let tidegate = proxy::between(target.address(), &certificate.listener(), "").await;
    let url = format!("wss://localhost:{}", tidegate.public().port());
    client("ws_client.py", &[&url, certificate.path()]).await;
}
