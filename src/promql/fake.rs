//! For tests: a server that answers every request as it is told to, wrongly, or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::core::model::CertificateFiles;
use crate::tls::ServerTls;
use crate::tls::testkit::listener_tls;

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// A status and a body.
    Json(u16, String),
    /// A 302 to elsewhere.
    Redirect(String),
    /// Just this, and the end.
    Raw(&'static str),
    /// A body without an end.
    Endless,
    /// Nothing, for long.
    Silence,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    heads: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
        Self::start_with(script, None).await
    }

    /// One that speaks TLS with these files.
    pub(crate) async fn start_tls(script: Script, files: &CertificateFiles) -> Self {
        let tls = ServerTls::load(&listener_tls(std::slice::from_ref(files))).expect("TLS");
        Self::start_with(script, Some(TlsAcceptor::from(tls.config()))).await
    }

    async fn start_with(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            heads: Mutex::default(),
            asked: AtomicUsize::new(0),
        });
        let served = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, tls) = (Arc::clone(&served), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &served).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &served).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, shared, accepting }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers otherwise from now on.
    pub(crate) fn play(&self, script: Script) {
        *self.shared.script.lock().expect("not poisoned") = script;
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// The head of the last request.
    pub(crate) fn last_head(&self) -> String {
        self.shared.heads.lock().expect("not poisoned").last().cloned().expect("one came")
    }

    /// Ends it; gives where it was.
    pub(crate) async fn gone(mut self) -> String {
        self.accepting.abort();
        // Aborted, it lets go of the listener.
        let _ = (&mut self.accepting).await;
        self.url()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An answer with one series.
pub(crate) fn vector(value: &str) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{value}"]}}]}}}}"#
    )
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Shared) {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    shared.heads.lock().expect("not poisoned").push(head);
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let script = shared.script.lock().expect("not poisoned").clone();
    let answer = match script {
        Script::Json(status, body) => format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Script::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        Script::Raw(text) => text.to_owned(),
        Script::Endless => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
            let mut sent = stream.write_all(head.as_bytes()).await;
            // Until nobody listens any more.
            while sent.is_ok() {
                sent = stream.write_all(chunk.as_bytes()).await;
            }
            return;
        }
        Script::Silence => {
            sleep(Duration::from_secs(30)).await;
            return;
        }
    };
    // Who has asked may have given up.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
