//! A target that speaks HTTP/2 in clear text and nothing else.
//!
//! `GET /bytes/N` answers with N bytes, `GET /hints/N` says before that what a page will need,
//! `HEAD` of both is the header alone, and `PUT` and `POST` are answered with the number of bytes
//! that came, and whether each of them was in its place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The target; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct StreamTarget {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl StreamTarget {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, Arc::clone(&counting)));
            }
        });
        Self { address, requests, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has had.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for StreamTarget {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The byte at a place in a body that is sent.
pub(crate) fn byte_at(place: usize) -> u8 {
    u8::try_from(place % PERIOD).expect("below the period")
}

async fn serve(stream: TcpStream, requests: Arc<AtomicU64>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, reply))) = connection.accept().await {
        requests.fetch_add(1, Ordering::SeqCst);
        // It ends with its connection.
        tokio::spawn(async move {
            // Whoever is gone needs no answer.
            let _ = answer(request, reply).await;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut reply: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    if [Method::PUT, Method::POST].contains(&head.method) {
        let said = receive(body).await?;
        return send(&mut reply, said.into(), false);
    }
    let path = head.uri.path();
    let size = path.rsplit('/').next().and_then(|size| size.parse().ok()).unwrap_or(0);
    if path.starts_with("/hints/") {
        let hints = Response::builder().status(103).header("link", "</page.css>; rel=preload");
        reply.send_informational(hints.body(()).expect("valid"))?;
    }
    send(&mut reply, vec![b'x'; size].into(), head.method == Method::HEAD)
}

/// What there is to say about a body.
async fn receive(mut body: RecvStream) -> Result<String, h2::Error> {
    let (mut length, mut is_whole) = (0, true);
    while let Some(part) = body.data().await {
        let part = part?;
        is_whole &= part.iter().enumerate().all(|(at, byte)| *byte == byte_at(length + at));
        length += part.len();
        body.flow_control().release_capacity(part.len())?;
    }
    Ok(format!("{length} {}\n", if is_whole { "in order" } else { "in disorder" }))
}

fn send(
    reply: &mut SendResponse<Bytes>,
    body: Bytes,
    is_header_alone: bool,
) -> Result<(), h2::Error> {
    let head = Response::builder().header("content-length", body.len());
    let head = head.body(()).expect("valid");
    let mut content = reply.send_response(head, is_header_alone)?;
    if is_header_alone { Ok(()) } else { content.send_data(body, true) }
}

/// Prime, so that what is left out or sent twice is noticed.
const PERIOD: usize = 251;
