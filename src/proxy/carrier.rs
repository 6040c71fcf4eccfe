//! Carriers: what takes the copies of a mirror to the targets of a link, by the same transport as
//! requests, over connections of its own.
//!
//! Over HTTP/1.1 that is hyper's client with its pool. Over HTTP/2 a connection is kept for each
//! target and driven here: that client would choose it by the host that a request names, which is
//! the visitor's to say.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection as H2Connection, SendRequest};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::sleep;
use tower_service::Service;

use crate::core::model::{TargetProtocol, TargetTls, Transport};
use crate::core::routing::{Link, LiveTarget};
use crate::tls::{ClientTls, Offers};

use super::trust::Trust;

/// What takes copies to the targets of one link.
#[derive(Debug)]
pub(super) enum Carrier {
    /// The authority of a copy's URI is the target's address.
    Http1(Box<Client<Connector, Empty<Bytes>>>),
    /// The authority of a copy's URI is the host that it names.
    Http2(Lanes),
}

impl Carrier {
    /// The carrier of a link, made with its first copy; `None` if it cannot be made.
    pub(super) async fn of(link: &Link) -> Option<&Self> {
        let trust = link.derived(Trust::of)?;
        let made = trust.carrier.get_or_try_init(|| Self::make(link.transport())).await;
        made.inspect_err(|error| tracing::debug!(%error, "a mirror cannot connect")).ok()
    }

    /// The carrier of a link, if it was made.
    pub(super) fn made(link: &Link) -> Option<&Self> {
        link.derived(Trust::of)?.carrier.get()
    }

    async fn make(transport: &Transport) -> io::Result<Self> {
        let tls = match &transport.tls {
            Some(tls) => Some(Arc::new(client_tls(tls.clone()).await?)),
            None => None,
        };
        Ok(match transport.protocol {
            TargetProtocol::Http1 => {
                let client = Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(IDLE_PER_TARGET)
                    .http1_max_buf_size(HEADER_LIMIT)
                    .set_host(false)
                    .build(Connector { tls });
                Self::Http1(Box::new(client))
            }
            TargetProtocol::H2c | TargetProtocol::H2 => {
                Self::Http2(Lanes { tls, by_target: Mutex::default() })
            }
        })
    }

    /// The status of a target's whole answer; of one that is longer than the limit, as far as it
    /// is read. `None` if there is none. The ride tells on what it went.
    pub(super) async fn exchange(
        &self,
        target: &Arc<LiveTarget>,
        request: Request<()>,
        ride: &mut Ride,
    ) -> Option<u16> {
        match self {
            Self::Http1(client) => by_http1(client, request).await,
            Self::Http2(lanes) => lanes.exchange(target, request, ride).await,
        }
    }

    /// Has the next copies to a target take a new connection: one had no answer in time on this ride,
    /// and it may be the connection that is dead.
    pub(super) fn doubt(&self, target: &Arc<LiveTarget>, ride: &Ride) {
        match self {
            // A connection without an answer is no part of the pool.
            Self::Http1(_) => {}
            Self::Http2(lanes) => lanes.doubt(target, ride),
        }
    }
}

/// The connection of HTTP/2 that a copy went on; none if it came to none.
#[derive(Debug, Default)]
pub(super) struct Ride(Weak<Shared>);

impl Ride {
    fn was_on(&self, shared: &Arc<Shared>) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(shared))
    }
}

/// Reads what the system trusts, if it has to, where it keeps nobody waiting.
async fn client_tls(tls: TargetTls) -> io::Result<ClientTls> {
    let made = spawn_blocking(move || ClientTls::of(&tls)).await;
    made.map_err(io::Error::other)?.map_err(io::Error::other)
}

async fn by_http1(client: &Client<Connector, Empty<Bytes>>, request: Request<()>) -> Option<u16> {
    let request = request.map(|()| Empty::new());
    let answer = client.request(request).await.ok()?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut length = 0;
    while length < BODY_LIMIT
        && let Some(frame) = body.frame().await
    {
        length += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(status)
}

/// A stream to a target, or in tests to a listener.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Connects to a target, and shakes hands where there is TLS.
async fn open(
    address: SocketAddr,
    tls: Option<&ClientTls>,
    offers: Offers,
) -> io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let stream = tls.connector(offers).connect(tls.name_for(address.ip()), stream).await?;
    if !offers.is_agreed(stream.get_ref().1.alpn_protocol()) {
        return Err(io::Error::other("the target does not agree to the protocol (ALPN)"));
    }
    Ok(Box::new(stream))
}

/// How hyper's client connects.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    /// `None` speaks in the clear.
    tls: Option<Arc<ClientTls>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let address: Option<SocketAddr> =
                uri.authority().and_then(|authority| authority.as_str().parse().ok());
            let address = address.ok_or(io::ErrorKind::InvalidInput)?;
            open(address, tls.as_deref(), Offers::Http1).await.map(TokioIo::new)
        })
    }
}

/// The connections of HTTP/2 to the targets of a link, one to each.
#[derive(Debug)]
pub(super) struct Lanes {
    /// `None` speaks in the clear.
    tls: Option<Arc<ClientTls>>,
    /// By the address in memory of the target, which is held here and therefore its own.
    by_target: Mutex<BTreeMap<usize, Lane>>,
}

/// The way to one target.
#[derive(Clone, Debug)]
struct Lane {
    target: Weak<LiveTarget>,
    /// Locked while it connects, so that a burst of copies makes one connection. `None` before the
    /// first and after one that was doubted.
    open: Arc<AsyncMutex<Option<Arc<Shared>>>>,
}

/// A connection that copies share; it ends with the last one that holds it.
struct Shared {
    sender: SendRequest<Bytes>,
    /// How many copies it has carried; each holds it while it is under way.
    uses: Arc<AtomicU64>,
    driving: AbortHandle,
}

impl Lanes {
    async fn exchange(
        &self,
        target: &Arc<LiveTarget>,
        request: Request<()>,
        ride: &mut Ride,
    ) -> Option<u16> {
        let address = target.address().socket_addr();
        let shared = self.lane(target).shared(address, self.tls.as_deref()).await.ok()?;
        ride.0 = Arc::downgrade(&shared);
        let _in_use = Arc::clone(&shared.uses);
        shared.uses.fetch_add(1, Ordering::Relaxed);
        let mut sender = shared.sender.clone().ready().await.ok()?;
        let (answer, _) = sender.send_request(request, true).ok()?;
        let (head, mut body) = answer.await.ok()?.into_parts();
        let mut length = 0;
        while length < BODY_LIMIT
            && let Some(part) = body.data().await
        {
            let part = part.ok()?;
            length += part.len();
            body.flow_control().release_capacity(part.len()).ok()?;
        }
        Some(head.status.as_u16())
    }

    fn doubt(&self, target: &Arc<LiveTarget>, ride: &Ride) {
        // Whoever connects just now is about to replace it, or has replaced it already.
        if let Ok(mut open) = self.lane(target).open.try_lock()
            && open.as_ref().is_some_and(|shared| ride.was_on(shared))
        {
            *open = None;
        }
    }

    /// The lane of a target; those of targets that are gone are forgotten with it.
    fn lane(&self, target: &Arc<LiveTarget>) -> Lane {
        let mut lanes = self.by_target.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::as_ptr(target).addr();
        if let Some(lane) = lanes.get(&key) {
            return lane.clone();
        }
        lanes.retain(|_, lane| lane.target.strong_count() > 0);
        let lane = Lane { target: Arc::downgrade(target), open: Arc::default() };
        lanes.insert(key, lane.clone());
        lane
    }
}

impl Lane {
    /// The connection, or a new one where there is none that lives.
    async fn shared(
        &self,
        address: SocketAddr,
        tls: Option<&ClientTls>,
    ) -> io::Result<Arc<Shared>> {
        let mut open_now = self.open.lock().await;
        if let Some(shared) = open_now.as_ref().filter(|shared| !shared.driving.is_finished()) {
            return Ok(Arc::clone(shared));
        }
        *open_now = None;
        let shared = Arc::new(Shared::connect(address, tls).await?);
        *open_now = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

impl Shared {
    async fn connect(address: SocketAddr, tls: Option<&ClientTls>) -> io::Result<Self> {
        let stream = open(address, tls, Offers::Http2).await?;
        let shaken = Builder::new()
            .enable_push(false)
            .max_header_list_size(HEADER_LIST_LIMIT)
            .handshake::<_, Bytes>(stream)
            .await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        let uses = Arc::new(AtomicU64::new(0));
        let driving = tokio::spawn(drive(connection, Arc::clone(&uses))).abort_handle();
        Ok(Self { sender, uses, driving })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("uses", &self.uses).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// Drives a connection until it ends, or has carried nothing for a while.
async fn drive(connection: H2Connection<Box<dyn Io>, Bytes>, uses: Arc<AtomicU64>) {
    let mut connection = pin!(connection);
    let mut before = 0;
    loop {
        tokio::select! {
            // How it ends is seen by the copies on it.
            _ = &mut connection => return,
            () = sleep(IDLE) => {
                let now = uses.load(Ordering::Relaxed);
                // Held by the connection and by this task, and by no copy.
                if now == before && Arc::strong_count(&uses) <= 2 {
                    return;
                }
                before = now;
            }
        }
    }
}

/// How much of an answer is read before its connection is given up.
const BODY_LIMIT: usize = 1_024 * 1_024;
/// The most bytes of an answer's header.
const HEADER_LIMIT: usize = 32 * 1_024;
/// The same where HTTP/2 counts it.
const HEADER_LIST_LIMIT: u32 = 32 * 1_024;
/// How long an idle connection to green is kept.
const IDLE: Duration = Duration::from_secs(30);
/// The most idle connections of HTTP/1.1 to a target.
const IDLE_PER_TARGET: usize = 32;
