//! What the tests of connections share: TLS and HTTP/2, on both sides of the proxy.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::core::model::{ListenerName, ListenerProtocol, ListenerSpec};

use super::testkit::{Io, PATIENCE, World, public};

/// A listener on a port of the system's choice.
pub(super) fn listener(name: ListenerName) -> ListenerSpec {
    ListenerSpec::plain(name, SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// A public listener that speaks HTTP/2 in the clear.
pub(super) fn h2c_listener() -> ListenerSpec {
    ListenerSpec { protocol: ListenerProtocol::H2c, ..listener(public()) }
}

/// Connects over TLS, asking for a name.
pub(super) async fn shake(
    address: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, shaken).await.expect("a handshake in time")
}

/// A GET of `shop.test`.
pub(super) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://shop.test{path}")).body(()).expect("valid")
}

/// A POST to `shop.test` with these fields.
pub(super) fn post(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://shop.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("valid")
}

/// A client's connection of HTTP/2.
pub(super) struct H2Client {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// A whole answer over HTTP/2.
#[derive(Debug)]
pub(super) struct H2Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) trailers: HeaderMap,
}

impl H2Answer {
    /// The value of a header field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// The value of a trailer field.
    pub(super) fn trailer(&self, name: &str) -> Option<&str> {
        text(&self.trailers, name)
    }
}

fn text<'f>(fields: &'f HeaderMap, name: &str) -> Option<&'f str> {
    fields.get(name).map(|value| value.to_str().expect("ASCII"))
}

impl H2Client {
    /// A client of a listener that speaks HTTP/2 in the clear.
    pub(super) async fn of(world: &World) -> Self {
        Self::over(TcpStream::connect(world.address()).await.expect("connected")).await
    }

    pub(super) async fn over(stream: impl Io + 'static) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let connection = tokio::spawn(async move {
            // How it ends is seen by the requests on it.
            let _ = connection.await;
        });
        Self { sender, connection }
    }

    /// Sends a request with its body in these parts, the last of which ends it.
    pub(super) async fn send(
        &self,
        request: Request<()>,
        parts: &[&'static str],
    ) -> Result<H2Answer, h2::Error> {
        timeout(PATIENCE, self.exchange(request, parts)).await.expect("an answer in time")
    }

    /// The answer to a request without a body.
    pub(super) async fn get(&self, path: &str) -> H2Answer {
        self.send(get(path), &[]).await.expect("an answer")
    }

    async fn exchange(
        &self,
        request: Request<()>,
        parts: &[&'static str],
    ) -> Result<H2Answer, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut body) = sender.send_request(request, parts.is_empty())?;
        for (n, part) in parts.iter().copied().enumerate() {
            let last = n + 1 == parts.len();
            match body.send_data(Bytes::from_static(part.as_bytes()), last) {
                // The answer may be there before the body: it says more than this error.
                Err(error) if error.is_reset() => break,
                sent => sent?,
            }
        }
        whole(answer).await
    }

    /// The interim answers to a request without a body, and the final one.
    pub(super) async fn hinted(
        &self,
        request: Request<()>,
    ) -> Result<(Vec<Response<()>>, H2Answer), h2::Error> {
        let exchange = async {
            let mut sender = self.sender.clone().ready().await?;
            let (mut answer, _) = sender.send_request(request, true)?;
            let mut hints = Vec::new();
            while let Some(hint) = poll_fn(|cx| answer.poll_informational(cx)).await {
                hints.push(hint?);
            }
            Ok::<_, h2::Error>((hints, whole(answer).await?))
        };
        timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&mut self) {
        let ended = timeout(PATIENCE, &mut self.connection).await;
        ended.expect("the connection ends in time").expect("no panic");
    }
}

async fn whole(answer: ResponseFuture) -> Result<H2Answer, h2::Error> {
    let (head, mut stream) = answer.await?.into_parts();
    let body = content_of(&mut stream).await?;
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(H2Answer { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

async fn content_of(stream: &mut RecvStream) -> Result<String, h2::Error> {
    let mut content = Vec::new();
    while let Some(part) = stream.data().await {
        let part = match part {
            Ok(part) => part,
            // Whoever has answered may want no more of the request (RFC 9113, section 8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => break,
            Err(error) => return Err(error),
        };
        stream.flow_control().release_capacity(part.len())?;
        content.extend_from_slice(&part);
    }
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// What an origin of HTTP/2 answers to everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says {
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: &'static str,
    /// Empty sends none.
    pub(super) trailers: &'static [(&'static str, &'static str)],
}

/// A request that an origin of HTTP/2 got.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    /// The value of a header field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

/// An origin of HTTP/2.
pub(super) struct H2Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl H2Origin {
    /// An origin in the clear, or over TLS.
    pub(super) async fn new(says: Says, tls: Option<Arc<ServerConfig>>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (tls, log) = (tls.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                serve(stream, says, log).await;
                            }
                        }
                        None => serve(stream, says, log).await,
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub(super) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("no test panics inside").clone()
    }
}

async fn serve(stream: impl Io, says: Says, log: Arc<Mutex<Vec<Asked>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, says, Arc::clone(&log)));
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    says: Says,
    log: Arc<Mutex<Vec<Asked>>>,
) {
    let (head, mut stream) = request.into_parts();
    let body = content_of(&mut stream).await.unwrap_or_default();
    let asked = Asked { uri: head.uri.to_string(), headers: head.headers, body };
    log.lock().expect("no test panics inside").push(asked);
    let mut header = Response::new(());
    *header.headers_mut() = fields(says.headers);
    let Ok(mut out) = respond.send_response(header, false) else { return };
    let last = says.trailers.is_empty();
    // A proxy that is gone is a matter of the test.
    let _ = out.send_data(Bytes::from_static(says.body.as_bytes()), last);
    if !last {
        let _ = out.send_trailers(fields(says.trailers));
    }
}

pub(super) fn fields(all: &'static [(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    all.iter().map(field).collect()
}

impl H2Client {
    /// Begins a request, whose body follows unless its header is all of it.
    pub(super) async fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = timeout(PATIENCE, self.sender.clone().ready()).await.expect("ready in time");
        ready.expect("it takes a request").send_request(request, is_whole).expect("sent")
    }
}

/// The next interim answer; `None` once the final one is there.
pub(super) async fn next_hint(answer: &mut ResponseFuture) -> Option<Response<()>> {
    let next = poll_fn(|cx| answer.poll_informational(cx));
    timeout(PATIENCE, next).await.expect("an answer in time").map(|hint| hint.expect("no reset"))
}

/// The whole of a final answer.
pub(super) async fn whole_of(answer: ResponseFuture) -> Result<H2Answer, h2::Error> {
    timeout(PATIENCE, whole(answer)).await.expect("an answer in time")
}
