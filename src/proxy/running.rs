//! Starting and ending the data plane.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::core::model::{ClientLimits, ListenerName, ListenerSpec};
use crate::core::routing::RoutingTable;
use crate::telemetry::Recorder;
use crate::tls::ServerTls;

use super::accepting::Accepting;
use super::access_log::AccessLog;
use super::attempt::MAX_ATTEMPTS;
use super::deadline::Guarded;
use super::departures::Departures;
use super::drain::Drain;
use super::edge::Edge;
use super::exchange::Exchanges;
use super::forward::IdentityHeaders;
use super::listener::BoundListener;
use super::mirror::Mirror;
use super::phases::Phases;
use super::stream_tag;
use super::tunnel::Tunnels;

/// What the data plane is made of.
#[derive(Clone, Debug)]
pub struct ProxyParts {
    /// The routing table; whoever holds it may swap it at any time.
    pub table: Arc<ArcSwap<RoutingTable>>,
    /// Where outcomes are counted.
    pub recorder: Arc<Recorder>,
    /// For latencies.
    pub clock: Clock,
    /// Where requests are logged; `None` logs none.
    pub access_log: Option<AccessLog>,
}

/// A data plane that serves; dropping it stops accepting.
#[derive(Debug)]
pub struct RunningProxy {
    addresses: BTreeMap<ListenerName, SocketAddr>,
    drain: Arc<Drain>,
    stop: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
    /// What goes on beside the requests; ended when it is dropped.
    beside: JoinSet<()>,
    /// Duplicates of the listening sockets, for handing them to another process.
    sockets: Vec<(ListenerName, TcpListener)>,
}

/// Starts serving all listeners on the current runtime.
///
/// # Panics
/// Outside of a tokio runtime.
#[must_use]
pub fn start(parts: &ProxyParts, bound: Vec<BoundListener>) -> RunningProxy {
    let drain = Drain::new();
    let stop = watch::Sender::new(false);
    let conf = Arc::new(ServerConf {
        threads: Handle::current().metrics().num_workers(),
        max_retries: MAX_ATTEMPTS,
        upstream_keepalive_pool_size: IDLE_PER_WORKER,
        ..ServerConf::default()
    });
    let addresses = bound.iter().map(|l| (l.name().clone(), l.address)).collect();
    let sockets = duplicates(&bound);
    let departures = Departures::new();
    let tunnels = Arc::new(Tunnels::new(
        TransportConnector::new(None),
        Arc::clone(&departures),
        Arc::clone(&parts.recorder),
        drain.goodbye_signal(),
    ));
    let mut beside = JoinSet::new();
    beside.spawn(Arc::clone(&departures).follow(Arc::clone(&parts.table), parts.clock));
    let identities: Vec<Arc<ServerTls>> = bound.iter().filter_map(|l| l.tls.clone()).collect();
    if !identities.is_empty() {
        beside.spawn(follow_files(identities));
    }
    let specs: Vec<ListenerSpec> = bound.iter().map(|l| l.spec.clone()).collect();
    let (mirror, mirror_worker) = Mirror::new(&parts.recorder);
    let shared = Shared {
        parts,
        conf: &conf,
        drain: &drain,
        departures: &departures,
        mirror: &mirror,
        exchanges: Arc::new(Exchanges::keeping(IDLE_PER_WORKER * conf.threads)),
    };
    let mut accepting: Vec<JoinHandle<()>> = bound
        .into_iter()
        .map(|listener| {
            let identity = IdentityHeaders::of(&listener.spec, &specs);
            let app = shared.app(&listener.spec, identity, Arc::clone(&tunnels));
            tokio::spawn(accept(listener, app, stop.subscribe()))
        })
        .collect();
    accepting.push(tokio::spawn(mirror_worker.run(stop.subscribe())));
    RunningProxy { addresses, drain, stop, accepting, beside, sockets }
}

/// What all listeners have in common.
struct Shared<'a> {
    parts: &'a ProxyParts,
    conf: &'a Arc<ServerConf>,
    drain: &'a Arc<Drain>,
    departures: &'a Arc<Departures>,
    mirror: &'a Mirror,
    exchanges: Arc<Exchanges>,
}

impl RunningProxy {
    /// Where a listener listens.
    #[must_use]
    pub fn address(&self, listener: &ListenerName) -> Option<SocketAddr> {
        self.addresses.get(listener).copied()
    }

    /// Requests whose header was read and whose response is not finished.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.drain.requests()
    }

    /// The listening sockets, which another process may accept on as well.
    #[must_use]
    pub fn sockets(&self) -> &[(ListenerName, TcpListener)] {
        &self.sockets
    }

    /// Whether every listener accepts.
    #[must_use]
    pub fn accepts(&self) -> bool {
        !self.accepting.iter().any(JoinHandle::is_finished)
    }

    /// Stops accepting, closes idle connections a moment later, waits for the requests in flight,
    /// and ends those that are left at the deadline; returns how many.
    pub async fn shutdown(self, deadline: Duration) -> u64 {
        let Self { addresses: _, drain, stop, accepting, mut beside, sockets } = self;
        // The system refuses new connections only once every duplicate is closed.
        drop(sockets);
        drain.stop();
        stop.send_replace(true);
        let ended = async {
            for task in accepting {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a listener had ended before the shutdown");
                }
            }
            drain.none_open().await;
        };
        let left = match timeout(deadline, ended).await {
            Ok(()) => 0,
            Err(_) => drain.end_what_is_left().await,
        };
        beside.shutdown().await;
        left
    }
}

impl Shared<'_> {
    fn app(
        &self,
        listener: &ListenerSpec,
        identity: IdentityHeaders,
        tunnels: Arc<Tunnels>,
    ) -> (HttpProxy<Phases>, Wrapping) {
        let phases = Phases {
            listener: listener.clone(),
            identity,
            tunnels,
            table: Arc::clone(&self.parts.table),
            recorder: Arc::clone(&self.parts.recorder),
            clock: self.parts.clock,
            drain: Arc::clone(self.drain),
            mirror: self.mirror.clone(),
            access_log: self.parts.access_log.clone(),
            exchanges: Arc::clone(&self.exchanges),
        };
        let mut app = http_proxy(self.conf, phases);
        let mut options = HttpServerOptions::default();
        // Lets CONNECT through to admission, which refuses it in our own words.
        options.allow_connect_method_proxying = true;
        app.server_options = Some(options);
        app.h2_options = Some(h2_options(&listener.limits));
        let wrapping = Wrapping {
            departures: Arc::clone(self.departures),
            recorder: Arc::clone(&self.parts.recorder),
            drain: Arc::clone(self.drain),
            clock: self.parts.clock,
        };
        (app, wrapping)
    }
}

/// What the layers around Pingora's own need.
struct Wrapping {
    departures: Arc<Departures>,
    recorder: Arc<Recorder>,
    drain: Arc<Drain>,
    clock: Clock,
}

fn h2_options(limits: &ClientLimits) -> H2Options {
    let mut options = default_h2_options();
    // What is added here is not the client's.
    options.max_header_list_size(limits.header_bytes.saturating_add(stream_tag::LIST_SIZE));
    options.max_concurrent_streams(limits.h2_streams);
    options.initial_window_size(H2_STREAM_WINDOW);
    options.initial_connection_window_size(H2_CONNECTION_WINDOW);
    options
}

/// A socket of which there can be no duplicate is served all the same, and not handed over.
fn duplicates(bound: &[BoundListener]) -> Vec<(ListenerName, TcpListener)> {
    let duplicate = |listener: &BoundListener| match listener.socket.try_clone() {
        Ok(socket) => Some((listener.name().clone(), socket)),
        Err(error) => {
            tracing::warn!(listener = %listener.name(), %error, "the socket cannot be handed over");
            None
        }
    };
    bound.iter().filter_map(duplicate).collect()
}

/// Reads certificates again where their files change.
async fn follow_files(identities: Vec<Arc<ServerTls>>) {
    let mut ticks = tokio::time::interval(FOLLOW_FILES);
    loop {
        ticks.tick().await;
        for identity in &identities {
            let identity = Arc::clone(identity);
            match tokio::task::spawn_blocking(move || identity.follow()).await {
                Ok(Ok(true)) => tracing::info!("certificates were read again"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "new certificates do not count: the old ones serve on");
                }
                Err(error) => tracing::error!(%error, "certificates could not be looked at"),
            }
        }
    }
}

/// Accepts on one listener until the stop, and then closes what has no request.
fn accept(
    listener: BoundListener,
    (app, around): (HttpProxy<Phases>, Wrapping),
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    let BoundListener { spec, socket, tls, .. } = listener;
    let accepting = Accepting::new(spec.name.clone(), around.clock);
    let recorder = || Arc::clone(&around.recorder);
    let departures = Arc::clone(&around.departures);
    let guarded = Guarded::new(app, spec.limits, departures, recorder(), around.clock);
    let drain = Arc::clone(&around.drain);
    let edge = Arc::new(Edge::new(guarded, spec, tls, recorder(), drain, around.clock));
    async move {
        let (host, leave) = (Arc::clone(&edge), stop.clone());
        let welcome = move |stream, peer| host.welcome(stream, peer, &leave);
        accepting.run(socket, stop, welcome).await;
        edge.end().await;
    }
}

/// How often the files of certificates are looked at.
const FOLLOW_FILES: Duration = Duration::from_secs(2);
/// The most idle connections to targets that each worker thread adds to a listener's pool.
const IDLE_PER_WORKER: usize = 128;
/// How much of a request's body a client of HTTP/2 may send ahead.
const H2_STREAM_WINDOW: u32 = 256 * 1_024;
/// The same for all requests of a connection.
const H2_CONNECTION_WINDOW: u32 = 1_024 * 1_024;

#[cfg(test)]
mod tests {
    use super::super::testkit::{Act, Origin, World, body, field, ok, service, until};
    use super::*;

    fn after(wait: Duration) -> impl Fn(&str, usize) -> Vec<Act> {
        move |_, _| {
            let mut acts = vec![Act::Wait(wait)];
            acts.extend(ok("done"));
            acts
        }
    }

    #[tokio::test]
    async fn a_shutdown_lets_requests_finish_and_closes_what_is_idle() {
        let origin = Origin::new(after(Duration::from_millis(300))).await;
        let world = World::new(service(0, &[origin.address], &[]));
        let address = world.address();
        let (mut idle, mut busy) = (world.client().await, world.client().await);
        idle.get("/", "").await;
        busy.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
        until("the request is in flight", || world.proxy.in_flight() == 1).await;
        let shutdown = tokio::spawn(world.proxy.shutdown(Duration::from_secs(8)));
        assert_eq!(idle.rest().await, "");
        let answer = busy.answer().await;
        assert_eq!(body(&answer), "done");
        assert_eq!(field(&answer, "connection"), Some("close"));
        assert_eq!(shutdown.await.expect("no panic"), 0);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_a_shutdown_finds_without_a_request_gets_one_more_answer() {
        let origin = Origin::saying("hi").await;
        let world = World::new(service(0, &[origin.address], &[]));
        let (mut fresh, mut kept) = (world.client().await, world.client().await);
        assert_eq!(body(&kept.get("/", "").await), "hi");
        until("both connections are open", || world.proxy.drain.open() == 2).await;
        let shutdown = tokio::spawn(world.proxy.shutdown(Duration::from_secs(8)));
        for client in [&mut fresh, &mut kept] {
            let answer = client.get("/", "").await;
            assert_eq!((body(&answer), field(&answer, "connection")), ("hi", Some("close")));
            assert_eq!(client.rest().await, "");
        }
        assert_eq!(shutdown.await.expect("no panic"), 0);
    }

    #[tokio::test]
    async fn a_socket_that_was_handed_over_outlives_its_data_plane() {
        let world = World::new(service(0, &[], &[]));
        let address = world.address();
        assert!(world.proxy.accepts());
        let handed_over: Vec<TcpListener> = world
            .proxy
            .sockets()
            .iter()
            .map(|(_, socket)| socket.try_clone().expect("a duplicate"))
            .collect();
        world.proxy.shutdown(Duration::from_secs(8)).await;
        // A connection waits for whoever accepts next.
        assert!(tokio::net::TcpStream::connect(address).await.is_ok());
        drop(handed_over);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_shutdown_cuts_what_is_left_at_its_deadline() {
        let origin = Origin::new(after(Duration::from_secs(600))).await;
        let route = service(0, &[origin.address], &[]);
        let target = Arc::clone(&route.blue.targets[0]);
        let world = World::new(route);
        let mut client = world.client().await;
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
        until("the target has the request", || !origin.seen().is_empty()).await;
        assert_eq!((target.in_flight(), world.proxy.in_flight()), (1, 1));
        assert_eq!(world.proxy.shutdown(Duration::from_millis(50)).await, 1);
        assert_eq!(client.rest().await, "");
        assert_eq!(target.in_flight(), 0);
    }
}
