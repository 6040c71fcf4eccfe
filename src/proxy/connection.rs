//! What is known of a client's connection, from its first byte to its last.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderValue};
use pingora_core::protocols::Digest;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_http::ResponseHeader;
use tokio::sync::watch;

use super::open_streams::OpenStreams;

/// A client's connection, as far as every request on it is concerned.
#[derive(Debug)]
pub(super) struct Connection {
    client: SocketAddr,
    secure: bool,
    /// The subject of the client's certificate; `None` if it showed none.
    subject: Option<HeaderValue>,
    requests: AtomicU64,
    goodbye: watch::Sender<bool>,
    /// Trailers that were read, with the number of their request, until that is over.
    trailers: Mutex<Vec<(u64, HeaderMap)>>,
    /// Those of HTTP/2; not set where HTTP/1.1 is spoken.
    streams: OnceLock<Arc<OpenStreams>>,
}

impl Connection {
    pub(super) fn new(client: SocketAddr, secure: bool, subject: Option<HeaderValue>) -> Self {
        let (requests, goodbye) = (AtomicU64::new(0), watch::Sender::new(false));
        let (trailers, streams) = (Mutex::default(), OnceLock::new());
        Self { client, secure, subject, requests, goodbye, trailers, streams }
    }

    /// HTTP/2 is spoken on it, in these streams.
    pub(super) fn has_streams(&self, streams: Arc<OpenStreams>) {
        // It is told once, before its first byte is read.
        let _ = self.streams.set(streams);
    }

    /// Its streams of HTTP/2; `None` where HTTP/1.1 is spoken.
    pub(super) fn streams(&self) -> Option<&Arc<OpenStreams>> {
        self.streams.get()
    }

    /// The connection of a session; `None` only in a session that no listener of ours accepted.
    pub(super) fn of(digest: Option<&Digest>) -> Option<&Arc<Self>> {
        Self::behind(digest?.proxy_digest.as_ref()?)
    }

    /// The connection that a digest was made of; `None` if it was made by somebody else.
    pub(super) fn behind(digest: &ProxyDigest) -> Option<&Arc<Self>> {
        digest.user_data.as_ref()?.downcast_ref()
    }

    /// What carries this to the requests of the connection.
    pub(super) fn digest(self: &Arc<Self>) -> Arc<ProxyDigest> {
        // The type is made for what a proxy answered to CONNECT; here nobody reads the response.
        let response = ResponseHeader::build_no_case(200, None).expect("200 is a status");
        let user_data = Some(Box::new(Arc::clone(self)) as Box<_>);
        Arc::new(ProxyDigest::new(Box::new(response), user_data))
    }

    /// From where it comes: the PROXY header's word, else the socket's.
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    /// Whether it is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The subject of the client's certificate; `None` if it showed none.
    pub(super) fn subject(&self) -> Option<&HeaderValue> {
        self.subject.as_ref()
    }

    /// Counts a request whose header was read.
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the header of a first request was read.
    pub(super) fn has_been_used(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// The trailers of a request of HTTP/1.1 were read, by its number on the connection. Bytes of later
    /// requests may be read with those of the one under way; trailers of earlier ones are forgotten.
    pub(super) fn has_read_trailers(&self, request: u64, trailers: HeaderMap) {
        let mut read = self.trailers.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = self.requests.load(Ordering::Relaxed);
        read.retain(|(request, _)| *request >= under_way);
        read.push((request, trailers));
    }

    /// The trailers of the request of HTTP/1.1 that is under way, once; empty if it has none.
    pub(super) fn take_trailers(&self) -> HeaderMap {
        let mut read = self.trailers.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = self.requests.load(Ordering::Relaxed);
        let place = read.iter().position(|(request, _)| *request == under_way);
        place.map(|place| read.swap_remove(place).1).unwrap_or_default()
    }

    /// Asks the client to open another connection for what comes next: a GOAWAY in HTTP/2, no
    /// keep-alive in HTTP/1.1. What is in flight goes on.
    pub(super) fn say_goodbye(&self) {
        self.goodbye.send_replace(true);
    }

    /// The signal that Pingora ends the connection at.
    pub(super) fn farewell(&self) -> watch::Receiver<bool> {
        self.goodbye.subscribe()
    }
}
