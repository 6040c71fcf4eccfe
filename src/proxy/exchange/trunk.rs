//! One connection of HTTP/2 to a target, and a place on it.
//!
//! Each stream has a window of its own, and the connection's has room for all of them: a client that
//! reads slowly holds up nobody who shares it.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions};
use pingora_core::{Error, ErrorType, Result};
use tokio::time::{Instant, sleep, timeout_at};

use super::line::{Line, Talk};
use super::probe;

/// A connection that stands, and that nobody drives yet.
pub(super) struct Opened {
    sender: SendRequest<Bytes>,
    connection: Connection<Line, Bytes>,
    talk: Arc<Talk>,
    descriptor: i32,
    /// How many requests it carries at once.
    most: usize,
    /// How long its target may be silent; `None` asks it for nothing.
    silence: Option<Duration>,
}

/// A connection that requests share.
pub(super) struct Trunk {
    sender: SendRequest<Bytes>,
    load: Arc<Load>,
    descriptor: i32,
    most: usize,
}

/// What a connection carries.
#[derive(Debug, Default)]
pub(super) struct Load {
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
    /// Connects to a peer, and waits for its first word: what it says there bounds how many requests
    /// may be on the connection, and who does not speak HTTP/2 is found out.
    ///
    /// # Errors
    /// There is no connection, or nobody who speaks HTTP/2 at its other end.
    pub(super) async fn to(connector: &TransportConnector, peer: &HttpPeer) -> Result<Self> {
        let limit = peer.options.total_connection_timeout.unwrap_or(FIRST_WORD);
        let due = Instant::now() + limit;
        let stream = connector.new_stream(peer).await?;
        match timeout_at(due, Self::over(stream, peer)).await {
            Ok(opened) => opened,
            Err(_) => {
                let what = "the preface of HTTP/2";
                Err(Error::explain(ErrorType::ConnectTimedout, what).into_up())
            }
        }
    }

    async fn over(stream: Stream, peer: &HttpPeer) -> Result<Self> {
        if peer.is_tls() && stream.selected_alpn_proto() != Some(ALPN::H2) {
            let what = "the target does not agree to HTTP/2 (ALPN)";
            return Err(Error::explain(ErrorType::HandshakeError, what).into_up());
        }
        let descriptor = stream.id();
        let (line, talk) = Line::over(stream);
        let shaken = Builder::new()
            .enable_push(false)
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Clients that leave must not have the target's frames for them end the connection.
            .max_concurrent_reset_streams(MANY_RESETS)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(line)
            .await;
        let (sender, mut connection) = shaken.map_err(unspoken)?;
        let first_word = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(unspoken(error))),
            Poll::Ready(Ok(())) => {
                let what = "the target closed the connection";
                Poll::Ready(Err(Error::explain(ErrorType::ConnectError, what).into_up()))
            }
            Poll::Pending if talk.heard() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        first_word.await?;
        let PeerOptions { max_h2_streams: most, h2_ping_interval: silence, .. } = peer.options;
        Ok(Self { sender, connection, talk, descriptor, most, silence })
    }

    /// The connection with its first request, and what drives it to its end. It ends when nobody
    /// holds it any more, and once it was idle for so long and could be retired; `None` keeps it while
    /// somebody does.
    pub(super) fn carry(
        self,
        idle: Option<Duration>,
        retire: impl FnMut(&Load) -> bool + Send + 'static,
    ) -> (Arc<Trunk>, Berth, impl Future<Output = ()> + Send + 'static) {
        let Self { sender, connection, talk, descriptor, most, silence } = self;
        let load = Arc::new(Load::default());
        let berth = Berth::on(&sender, &load, descriptor);
        let times = Times { idle, silence };
        let driving = drive(connection, talk, Arc::clone(&load), times, retire);
        (Arc::new(Trunk { sender, load, descriptor, most }), berth, driving)
    }
}

/// A connection over which nobody spoke HTTP/2.
fn unspoken(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::ConnectError, "the preface of HTTP/2", error).into_up()
}

impl Trunk {
    /// A place, if there is one.
    pub(super) fn board(&self) -> Option<Berth> {
        let riders = self.load.riders();
        let is_free = !self.has_ended() && riders < self.most && riders < self.places();
        is_free.then(|| Berth::on(&self.sender, &self.load, self.descriptor))
    }

    /// How many requests it carries at once, as far as its target has said; one at least.
    pub(super) fn places(&self) -> usize {
        self.most.min(self.sender.current_max_send_streams()).max(1)
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
                self.load.end();
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
    /// How many requests are on it.
    pub(super) fn riders(&self) -> usize {
        self.riders.load(Ordering::Relaxed)
    }

    /// It takes no more requests.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Resolves once nothing was carried for so long.
    async fn idle(&self, time: Duration) {
        let mut quiet = 0;
        let mut before = self.rides.load(Ordering::Relaxed);
        while quiet < STEPS {
            sleep(time / STEPS).await;
            let rides = self.rides.load(Ordering::Relaxed);
            let is_quiet = rides == before && self.riders() == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            before = rides;
        }
    }
}

/// How long a connection may be without a request, and its target silent; `None` for ever.
#[derive(Clone, Copy, Debug)]
struct Times {
    idle: Option<Duration>,
    silence: Option<Duration>,
}

/// Drives a connection until it ends, or is retired, or its target is gone without a word.
async fn drive(
    mut connection: Connection<Line, Bytes>,
    talk: Arc<Talk>,
    load: Arc<Load>,
    times: Times,
    mut retire: impl FnMut(&Load) -> bool + Send,
) {
    let pinger = connection.ping_pong();
    let mut connection = pin!(connection);
    let unused = async {
        let Some(time) = times.idle else { return pending().await };
        loop {
            load.idle(time).await;
            if retire(&load) {
                return;
            }
        }
    };
    tokio::select! {
        // How it ends is seen by the requests on it.
        _ = &mut connection => {}
        () = unused => {}
        () = probe::silence(pinger, times.silence, &talk, &load) => {
            tracing::debug!("a target of HTTP/2 is gone without a word");
        }
    }
    load.end();
}

/// How much of one answer is taken before its client has read it.
const STREAM_WINDOW: u32 = 256 * 1_024;
/// The same for all answers of a connection together.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
/// The most that an answer's header may be, as HTTP/2 counts it: what else is too much is found out
/// more exactly (`answer_bounds`).
const MAX_HEADER_LIST: u32 = 320 * 1_024;
/// Of how many streams that were reset it is known for a while that frames may still come.
const MANY_RESETS: usize = 1_024;
/// In how many steps an idle connection is looked at.
const STEPS: u32 = 4;
/// How long a target may take to say that it speaks HTTP/2, where nothing bounds connecting.
const FIRST_WORD: Duration = Duration::from_secs(10);
