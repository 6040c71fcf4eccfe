//! Starting and ending the data plane.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, ListenFds};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::core::model::ListenerName;
use crate::core::routing::RoutingTable;
use crate::telemetry::Recorder;

use super::attempt::MAX_ATTEMPTS;
use super::deadline::Guarded;
use super::drain::Drain;
use super::edge::Edge;
use super::limits::Limits;
use super::listener::BoundListener;
use super::phases::Phases;

/// What the data plane is made of.
#[derive(Clone, Debug)]
pub struct ProxyParts {
    /// The routing table; whoever holds it may swap it at any time.
    pub table: Arc<ArcSwap<RoutingTable>>,
    /// Where outcomes are counted.
    pub recorder: Arc<Recorder>,
    /// For latencies.
    pub clock: Clock,
    /// The bounds on clients.
    pub limits: Limits,
}

/// A data plane that serves; dropping it stops accepting.
#[derive(Debug)]
pub struct RunningProxy {
    addresses: BTreeMap<ListenerName, SocketAddr>,
    drain: Arc<Drain>,
    stop: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
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
        upstream_keepalive_pool_size: parts.limits.idle_per_worker,
        ..ServerConf::default()
    });
    let addresses = bound.iter().map(|l| (l.name.clone(), l.address)).collect();
    let sockets = duplicates(&bound);
    let accepting = bound
        .into_iter()
        .map(|listener| {
            let app = http_proxy(&conf, phases(parts, &listener.name, &drain));
            tokio::spawn(accept(listener, app, parts.limits.clone(), &drain, stop.subscribe()))
        })
        .collect();
    RunningProxy { addresses, drain, stop, accepting, sockets }
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
    /// and cuts those that are left at the deadline; returns how many.
    pub async fn shutdown(self, deadline: Duration) -> u64 {
        let Self { addresses: _, drain, stop, accepting, sockets } = self;
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
        if timeout(deadline, ended).await.is_ok() {
            return 0;
        }
        let left = drain.requests();
        drain.cut();
        if timeout(CUT_LIMIT, drain.none_open()).await.is_err() {
            tracing::warn!("connections are still open after they were cut");
        }
        left
    }
}

/// A cut connection ends at its next turn; more than this means that a hook blocks its thread.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// A socket of which there can be no duplicate is served all the same, and not handed over.
fn duplicates(bound: &[BoundListener]) -> Vec<(ListenerName, TcpListener)> {
    let duplicate = |listener: &BoundListener| match listener.socket.try_clone() {
        Ok(socket) => Some((listener.name.clone(), socket)),
        Err(error) => {
            tracing::warn!(listener = %listener.name, %error, "the socket cannot be handed over");
            None
        }
    };
    bound.iter().filter_map(duplicate).collect()
}

fn phases(parts: &ProxyParts, listener: &ListenerName, drain: &Arc<Drain>) -> Phases {
    Phases {
        listener: listener.clone(),
        table: Arc::clone(&parts.table),
        recorder: Arc::clone(&parts.recorder),
        clock: parts.clock,
        limits: parts.limits.clone(),
        drain: Arc::clone(drain),
    }
}

/// Accepts on one listener until the stop; Pingora takes the socket over and closes it.
fn accept(
    listener: BoundListener,
    mut app: HttpProxy<Phases>,
    limits: Limits,
    drain: &Arc<Drain>,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    let mut options = HttpServerOptions::default();
    // Lets CONNECT through to admission, which refuses it in our own words.
    options.allow_connect_method_proxying = true;
    app.server_options = Some(options);
    let name = listener.name.to_string();
    let mut fds = Fds::new();
    fds.add(name.clone(), listener.socket.into_raw_fd());
    let fds: ListenFds = Arc::new(parking_lot::Mutex::new(fds));
    let edge = Edge::new(Guarded::new(app, limits), Arc::clone(drain));
    let mut service = Service::new(name.clone(), edge);
    service.add_tcp(&name);
    async move { service.start_service(Some(fds), stop, ACCEPT_LOOPS).await }
}

const ACCEPT_LOOPS: usize = 1;

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
