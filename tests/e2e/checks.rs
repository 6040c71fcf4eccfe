//! Health checks of targets that speak TLS: believed or not, and the operator sees why.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tidegate::admin::json::{Reloaded, ServiceTarget};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::kit::{Cli, Ports, Tidegate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_with_another_authoritys_certificate_is_unhealthy_and_the_operator_sees_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = Authority::make("ours", folder.path());
    let other = Authority::make("another", folder.path());
    let target = serve(ours.certifies("127.0.0.1")).await;
    let with = |ports: &Ports, authority: &Authority| config(ports, target, &authority.file);
    let tidegate = Tidegate::start(|ports| with(ports, &other)).await;
    let found = target_of(&tidegate).await;
    assert_eq!(found.health, "unhealthy");
    let why = found.last_failure.expect("a reason");
    assert!(why.starts_with("TLS: invalid peer certificate: "), "{why}");
    let shown = Cli::of(&tidegate).run("service show shop").await;
    let shown = shown.ended(0).to_string();
    assert!(shown.contains("TLS: invalid peer certificate: "), "{shown}");

    tidegate.home().configure(&with(&tidegate.ports(), &ours));
    let reloaded: Reloaded =
        tidegate.api().change("POST", "/v1/reload", &json!({})).await.expect("reloaded");
    assert_eq!(reloaded.ignored, [""; 0]);
    until("it is healthy", async || target_of(&tidegate).await.health == "healthy").await;
}

/// The only target, as the admin API tells of it.
async fn target_of(tidegate: &Tidegate) -> ServiceTarget {
    let mut blue = tidegate.api().service("shop").await.blue;
    assert_eq!(blue.targets.len(), 1);
    blue.targets.remove(0)
}

/// An authority, whose certificate is in a file.
struct Authority {
    file: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn make(name: &str, folder: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("signed");
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem()).expect("written");
        let file = file.to_string_lossy().into_owned();
        Self { file, issuer: Issuer::new(params, key) }
    }

    /// What a server shakes hands with, whose certificate is for this name.
    fn certifies(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("they belong together"))
    }
}

/// A target that answers everything over TLS, one request on a connection.
async fn serve(tls: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn config(ports: &Ports, target: SocketAddr, ca: &str) -> String {
    let Ports { public, admin } = ports;
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{target}'], tls: {{ ca: '{ca}' }} }}
  shop-b: {{ targets: [] }}
services:
  shop:
    target_groups: [shop-a, shop-b]
    health_check: {{ path: /healthz, interval: 200ms, timeout: 5s, healthy_after: 1 }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}
