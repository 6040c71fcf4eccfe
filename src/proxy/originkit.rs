//! Origins of the tests, which follow a script and keep what they were sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::testkit::message;

/// One act of an origin.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Send(String),
    Wait(Duration),
    Close,
}

/// A 200 with this body.
pub(super) fn ok(body: &str) -> Vec<Act> {
    vec![Act::Send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))]
}

/// An origin: every request it got, and how many connections.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// An origin whose acts depend on the request (header and body) and its number from 0.
    pub(super) async fn new(
        script: impl Fn(&str, usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::accepting(None, script).await
    }

    /// The same over TLS.
    pub(super) async fn over_tls(
        tls: Arc<ServerConfig>,
        script: impl Fn(&str, usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::accepting(Some(TlsAcceptor::from(tls)), script).await
    }

    async fn accepting(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&str, usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, log, count) = (Arc::new(script), Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, script, log) = (tls.clone(), Arc::clone(&script), Arc::clone(&log));
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, script, log).await;
                            }
                        }
                        None => serve(stream, script, log).await,
                    }
                });
            }
        });
        Self { address, seen, connections }
    }

    pub(super) async fn saying(body: &'static str) -> Self {
        Self::new(move |_, _| ok(body)).await
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no test panics inside").clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Arc<impl Fn(&str, usize) -> Vec<Act>>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = message(&mut stream, &mut buffer).await {
        let acts = {
            let mut log = log.lock().expect("no test panics inside");
            log.push(request.clone());
            script(&request, log.len() - 1)
        };
        for act in acts {
            match act {
                Act::Send(text) => {
                    // TLS keeps what is not flushed.
                    stream.write_all(text.as_bytes()).await.unwrap_or(());
                    stream.flush().await.unwrap_or(());
                }
                Act::Wait(time) => sleep(time).await,
                Act::Close => return,
            }
        }
    }
}
