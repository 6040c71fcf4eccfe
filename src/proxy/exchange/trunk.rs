//! One connection of HTTP/2 to a target, and a place on it.
//!
//! Each stream has a window of its own, and the connection's has room for all of them: a client that
//! reads slowly holds up nobody who shares it. Whether the target is still there is asked of it from
//! time to time: TCP alone takes long to tell.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use tokio::time::{sleep, timeout};

/// A connection that stands, and that nobody drives yet.
pub(super) struct Opened {
    sender: SendRequest<Bytes>,
    connection: Connection<Stream, Bytes>,
    descriptor: i32,
}

/// A connection that requests share.
pub(super) struct Trunk {
    sender: SendRequest<Bytes>,
    load: Arc<Load>,
    descriptor: i32,
}

/// What a connection carries.
#[derive(Debug, Default)]
struct Load {
    /// How many requests are on it.
    riders: AtomicUsize,
    /// How many have been.
    rides: AtomicU64,
    /// Whether it takes no more.
    has_ended: AtomicBool,
}

/// A request's place on a connection.
pub(super) struct Berth {
    pub(super) sender: SendRequest<Bytes>,
    load: Arc<Load>,
    descriptor: i32,
}

impl Opened {
    /// Connects to a peer.
    ///
    /// # Errors
    /// There is no connection, or nobody who speaks HTTP/2 at its other end.
    pub(super) async fn to(connector: &TransportConnector, peer: &HttpPeer) -> Result<Self> {
        let stream = connector.new_stream(peer).await?;
        if peer.is_tls() && stream.selected_alpn_proto() != Some(ALPN::H2) {
            let what = "the target does not agree to HTTP/2 (ALPN)";
            return Err(Error::explain(ErrorType::HandshakeError, what).into_up());
        }
        let descriptor = stream.id();
        let shaken = Builder::new()
            .enable_push(false)
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake::<_, Bytes>(stream)
            .await;
        let (sender, connection) = shaken.map_err(|error| {
            Error::because(ErrorType::ConnectError, "the preface of HTTP/2", error).into_up()
        })?;
        Ok(Self { sender, connection, descriptor })
    }

    /// The connection with its first request, and what drives it to its end. It ends when nobody
    /// holds it any more, or `idle` after its last request; `None` keeps it while somebody does.
    pub(super) fn carry(
        self,
        idle: Option<Duration>,
    ) -> (Arc<Trunk>, Berth, impl Future<Output = ()> + Send + 'static) {
        let Self { sender, connection, descriptor } = self;
        let load = Arc::new(Load::default());
        let berth = Berth::on(&sender, &load, descriptor);
        let driving = drive(connection, Arc::clone(&load), idle);
        (Arc::new(Trunk { sender, load, descriptor }), berth, driving)
    }
}

impl Trunk {
    /// A place, if there is one.
    pub(super) fn board(self: &Arc<Self>) -> Option<Berth> {
        let most = MAX_STREAMS.min(self.sender.current_max_send_streams());
        let is_free = !self.has_ended() && self.load.riders.load(Ordering::Relaxed) < most;
        is_free.then(|| Berth::on(&self.sender, &self.load, self.descriptor))
    }

    /// Whether it takes no more requests.
    pub(super) fn has_ended(&self) -> bool {
        self.load.has_ended.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Trunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trunk").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Berth {
    fn on(sender: &SendRequest<Bytes>, load: &Arc<Load>, descriptor: i32) -> Self {
        load.riders.fetch_add(1, Ordering::Relaxed);
        load.rides.fetch_add(1, Ordering::Relaxed);
        Self { sender: sender.clone(), load: Arc::clone(load), descriptor }
    }

    /// The place, once a request may be sent; `None` if the connection takes none any more.
    pub(super) async fn ready(mut self) -> Option<Self> {
        match self.sender.clone().ready().await {
            Ok(sender) => {
                self.sender = sender;
                Some(self)
            }
            Err(_) => {
                self.load.has_ended.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// The descriptor of its connection.
    pub(super) fn descriptor(&self) -> i32 {
        self.descriptor
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.load.riders.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    /// Resolves once nothing was carried for so long.
    async fn idle(&self, time: Duration) {
        let mut quiet = 0;
        let mut before = self.rides.load(Ordering::Relaxed);
        while quiet < STEPS {
            sleep(time / STEPS).await;
            let rides = self.rides.load(Ordering::Relaxed);
            let is_quiet = rides == before && self.riders.load(Ordering::Relaxed) == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            before = rides;
        }
    }

    /// Resolves once nobody is on it.
    async fn empty(&self) {
        while self.riders.load(Ordering::Relaxed) > 0 {
            sleep(SOON).await;
        }
    }
}

/// Drives a connection until it ends, or is idle, or its target is gone without a word.
async fn drive(mut connection: Connection<Stream, Bytes>, load: Arc<Load>, idle: Option<Duration>) {
    let pinger = connection.ping_pong();
    let mut connection = pin!(connection);
    let unused = async {
        match idle {
            Some(time) => load.idle(time).await,
            None => pending().await,
        }
        // Whoever has found a place meanwhile keeps it.
        load.has_ended.store(true, Ordering::Relaxed);
        load.empty().await;
    };
    tokio::select! {
        // How it ends is seen by the requests on it.
        _ = &mut connection => {}
        () = unused => {}
        () = unanswered(pinger) => tracing::debug!("a target answers no ping of HTTP/2"),
    }
    load.has_ended.store(true, Ordering::Relaxed);
}

/// Resolves once a target does not answer a ping in time.
async fn unanswered(pinger: Option<PingPong>) {
    let Some(mut pinger) = pinger else { return pending().await };
    loop {
        sleep(PING_EVERY).await;
        match timeout(PING_TIME, pinger.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // It ends by itself.
            Ok(Err(_)) => return pending().await,
            Err(_) => return,
        }
    }
}

/// How many requests share a connection; its target may permit fewer.
pub(super) const MAX_STREAMS: usize = 100;
/// How much of one answer is taken before its client has read it.
const STREAM_WINDOW: u32 = 256 * 1_024;
/// The same for all answers of a connection together.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
/// The most that an answer's header may be, as HTTP/2 counts it: what else is too much is found out
/// more exactly (`answer_bounds`).
const MAX_HEADER_LIST: u32 = 320 * 1_024;
/// How often a target is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PING_TIME: Duration = Duration::from_secs(5);
/// In how many steps an idle connection is looked at.
const STEPS: u32 = 4;
/// How often a connection that takes no more requests is looked at.
const SOON: Duration = Duration::from_secs(1);
