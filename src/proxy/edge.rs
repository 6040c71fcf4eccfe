//! The outermost layer of a connection: let in or not, told whose it is, decrypted, asked to leave when
//! it is idle in HTTP/2, and cut when a header of HTTP/2 never ends or a shutdown's deadline is over.

use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::{Ssl as _, Stream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::core::model::{ClientLimits, ListenerProtocol, ListenerSpec};
use crate::telemetry::{EdgeEvent, Recorder};
use crate::tls::{ServerTls, subject_of};

use super::client_socket::ClientSocket;
use super::connection::Connection;
use super::descriptors::Descriptors;
use super::drain::Drain;
use super::flood::FloodGuard;
use super::open_streams::OpenStreams;
use super::proxy_header::{self, Source};
use super::turnstile::{ClientEntry, Full, Turnstile};
use super::wire::{Speaks, Wire};
use super::wire_frames::WireFrames;

/// Wraps the application that serves connections.
pub(super) struct Edge<A> {
    app: Arc<A>,
    listener: ListenerSpec,
    /// `None` speaks in the clear.
    tls: Option<Arc<ServerTls>>,
    turnstile: Arc<Turnstile>,
    recorder: Arc<Recorder>,
    drain: Arc<Drain>,
    descriptors: Descriptors,
    clock: Clock,
}

/// A connection that is ready for its first request.
struct Opened {
    wire: Wire,
    connection: Arc<Connection>,
    _entry: ClientEntry,
}

impl<A: ServerApp + Send + Sync + 'static> Edge<A> {
    pub(super) fn new(
        app: A,
        listener: ListenerSpec,
        tls: Option<Arc<ServerTls>>,
        recorder: Arc<Recorder>,
        drain: Arc<Drain>,
        clock: Clock,
    ) -> Self {
        let turnstile = Turnstile::new(&listener.limits);
        let descriptors = Descriptors::of_process();
        Self { app: Arc::new(app), listener, tls, turnstile, recorder, drain, descriptors, clock }
    }

    /// Takes a client that has connected. It is served in a task of its own, which ends with it, or
    /// when `drain` cuts what is open; from the stop on it is asked to leave.
    pub(super) fn welcome(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &watch::Receiver<bool>,
    ) {
        // Before a task has its turn: until then more of them would be accepted.
        if self.descriptors.are_scarce(stream.as_raw_fd()) {
            self.recorder.edge(EdgeEvent::ListenerFull);
            return;
        }
        // Counted before, too: a shutdown waits for whoever was accepted, and of a burst only those
        // who are too many are shed.
        let open = self.drain.connection();
        if self.recorder.pressure().sheds_connection(self.drain.open()) {
            return;
        }
        let (edge, stop) = (Arc::clone(self), stop.clone());
        let socket = Box::new(ClientSocket::new(stream, peer));
        tokio::spawn(async move {
            edge.hold(socket, &stop).await;
            drop(open);
        });
    }

    /// Nobody is accepted any more: closes what has no request, a moment later.
    pub(super) async fn end(&self) {
        self.drain.linger().await;
        self.app.cleanup().await;
    }

    /// Serves a connection to its end, or until it is cut.
    async fn hold(&self, socket: Box<ClientSocket>, stop: &watch::Receiver<bool>) {
        let mut cut = self.drain.cut_signal();
        tokio::select! {
            biased;
            served = self.serve(socket, stop) => {
                if let Err(event) = served {
                    self.recorder.edge(event);
                }
            }
            _ = cut.wait_for(|cut| *cut) => {}
        }
    }

    async fn serve(
        &self,
        socket: Box<ClientSocket>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), EdgeEvent> {
        let _entry = self.turnstile.enter().map_err(refused)?;
        self.recorder.edge(EdgeEvent::Accepted);
        let limit = Duration::from(self.listener.limits.header);
        // Boxed, so that what a handshake needs is given back when it is over.
        let opened = timeout(limit, Box::pin(self.open(socket))).await;
        let opened = opened.unwrap_or(Err(EdgeEvent::HeaderTimeout))?;
        let Opened { wire, connection, _entry } = opened;
        let is_http2 = wire.is_http2();
        let farewell = connection.farewell();
        let mut stop = stop.clone();
        // Pingora ends a connection at a watch of its own, so that one can be ended alone.
        let follow = async {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                connection.say_goodbye();
            }
            std::future::pending::<()>().await;
        };
        // Nothing in Pingora bounds the time until the first stream of HTTP/2.
        let first_request = async {
            sleep(limit).await;
            if !is_http2 || connection.has_been_used() {
                std::future::pending::<()>().await;
            }
        };
        let left_alone = async {
            match connection.streams() {
                // Boxed, so that no connection of HTTP/1.1, where others do it, has room for it.
                Some(streams) => {
                    Box::pin(end_of_http2(&connection, streams, &self.listener.limits)).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.app.process_new(Box::new(wire), &farewell) => Ok(()),
            () = follow => Ok(()),
            () = first_request => Err(EdgeEvent::HeaderTimeout),
            ended = left_alone => ended,
        }
    }

    /// Reads the PROXY header and shakes hands, where the listener wants that.
    async fn open(&self, mut socket: Box<ClientSocket>) -> Result<Opened, EdgeEvent> {
        let client = self.client(&mut socket).await?;
        let entry = self.turnstile.enter_from(client.ip()).map_err(refused)?;
        let (io, secure, subject): (Stream, bool, Option<HeaderValue>) = match &self.tls {
            Some(tls) => {
                let acceptor = Acceptor::from_server_config(tls.config());
                let stream = acceptor.tls_handshake(*socket).await.map_err(|error| {
                    tracing::debug!(%error, %client, "no TLS handshake");
                    EdgeEvent::NoHandshake
                })?;
                let certificate = stream.get_ssl().and_then(|tls| tls.peer_certificate_der());
                let subject = certificate.and_then(subject_of);
                let subject = subject.and_then(|subject| HeaderValue::try_from(subject).ok());
                (Box::new(stream), true, subject)
            }
            None => (socket, false, None),
        };
        let connection = Arc::new(Connection::new(client, secure, subject));
        let speaks = match self.listener.protocol {
            ListenerProtocol::Http => Speaks::AsNegotiated,
            ListenerProtocol::H2c => Speaks::Http2,
        };
        let limits = &self.listener.limits;
        let patience = limits.response_write.into();
        let guard = FloodGuard::new(limits, self.clock, Arc::clone(&self.recorder));
        let streams = OpenStreams::of_at_most(limits.h2_streams);
        let frames = WireFrames::new(guard, &streams, Arc::clone(&self.recorder));
        let wire = Wire::new(io, connection.digest(), speaks, patience, frames);
        if wire.is_http2() {
            connection.has_streams(streams);
        }
        Ok(Opened { wire, connection, _entry: entry })
    }

    /// From whom the connection comes.
    async fn client(&self, socket: &mut ClientSocket) -> Result<SocketAddr, EdgeEvent> {
        let (peer, balancers) = (socket.peer(), &self.listener.proxy_protocol);
        let peer_ip = peer.ip().to_canonical();
        if !balancers.iter().any(|network| network.contains(&peer_ip)) {
            return Ok(peer);
        }
        match proxy_header::read(socket).await {
            Ok(Source::Client(client)) => Ok(client),
            Ok(Source::Local) => Ok(peer),
            Err(error) => {
                tracing::debug!(%error, %peer, "connection refused");
                Err(EdgeEvent::NoProxyHeader)
            }
        }
    }
}

/// Resolves when a connection of HTTP/2 is of no use any more, with what is to be counted of it.
async fn end_of_http2(
    connection: &Connection,
    streams: &OpenStreams,
    limits: &ClientLimits,
) -> Result<(), EdgeEvent> {
    tokio::select! {
        biased;
        () = overdue(streams, limits) => Err(EdgeEvent::HeaderTimeout),
        () = end_of_idle(connection, streams, limits) => Ok(()),
    }
}

/// Resolves once a header has not ended for `header`, or at most for twice as long, with nothing else
/// under way: behind a header that does not end nothing can be asked. Where something is, it is
/// waited for, since h2 ignores headers that come after its last GOAWAY.
async fn overdue(streams: &OpenStreams, limits: &ClientLimits) {
    loop {
        sleep(limits.header.into()).await;
        if streams.are_overdue() {
            return;
        }
    }
}

/// Asks the client of an idle connection of HTTP/2 to leave, and resolves once it has been idle for as
/// long again: Pingora waits for ever for one that was asked and says nothing. Pingora's own bound is
/// not used, for it counts from the end of the last request, and drops what is not written by then.
async fn end_of_idle(connection: &Connection, streams: &OpenStreams, limits: &ClientLimits) {
    let asked = async {
        let mut goodbye = connection.farewell();
        // The other side of it is the connection's.
        let _ = goodbye.wait_for(|goodbye| *goodbye).await;
    };
    tokio::select! {
        biased;
        () = asked => {}
        () = quiet(streams, limits) => connection.say_goodbye(),
    }
    quiet(streams, limits).await;
}

/// Resolves once no stream was open for `keepalive`, or a little longer, and none ended meanwhile. A
/// client that takes the end of an answer slowly says how much it takes, and is waited for. One that
/// does not say so has `response_write` besides for what it was answered.
async fn quiet(streams: &OpenStreams, limits: &ClientLimits) {
    let keepalive = Duration::from(limits.keepalive);
    let (look, patience) = (keepalive / LOOKS, keepalive + Duration::from(limits.response_write));
    let (mut over_for, mut unasked_for) = (Duration::ZERO, Duration::ZERO);
    streams.take_heard();
    while over_for < look * LOOKS && unasked_for < patience {
        sleep(look).await;
        let is_silent = !streams.take_heard();
        over_for = if is_silent && streams.are_over() { over_for + look } else { Duration::ZERO };
        unasked_for =
            if is_silent && !streams.are_asked() { unasked_for + look } else { Duration::ZERO };
    }
}

/// How often a connection of HTTP/2 is looked at within `keepalive`.
const LOOKS: u32 = 4;

fn refused(full: Full) -> EdgeEvent {
    match full {
        Full::Listener => EdgeEvent::ListenerFull,
        Full::Client => EdgeEvent::ClientFull,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::PATIENCE;
    use super::*;
    use crate::core::model::Span;

    #[tokio::test]
    async fn a_silent_client_is_kept_for_its_request_and_for_a_while_after_it() {
        let limits = ClientLimits {
            keepalive: Span::from_ms(20),
            response_write: Span::from_ms(20),
            ..ClientLimits::default()
        };
        let long = Duration::from_millis(200);
        let streams = OpenStreams::of_at_most(10);
        streams.opened(1);
        assert!(timeout(long, quiet(&streams, &limits)).await.is_err(), "it may be one in time");
        streams.claim(1);
        assert!(timeout(long, quiet(&streams, &limits)).await.is_err(), "it is one");
        streams.release(1);
        assert!(!streams.are_over(), "its answer is not written");
        assert!(timeout(PATIENCE, quiet(&streams, &limits)).await.is_ok());
    }

    #[tokio::test]
    async fn a_header_that_does_not_end_holds_no_connection() {
        let limits = ClientLimits {
            header: Span::from_ms(20),
            keepalive: Span::from_ms(20),
            response_write: Span::from_ms(20),
            ..ClientLimits::default()
        };
        let long = Duration::from_millis(200);
        let streams = OpenStreams::of_at_most(10);
        streams.opened(1);
        streams.claim(1);
        streams.opened(3);
        assert!(timeout(long, overdue(&streams, &limits)).await.is_err(), "a request runs");
        streams.release(1);
        assert!(timeout(long, overdue(&streams, &limits)).await.is_err(), "its answer does");
        assert!(timeout(PATIENCE, quiet(&streams, &limits)).await.is_ok(), "nobody takes that");
        streams.over(1);
        assert!(timeout(PATIENCE, overdue(&streams, &limits)).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_says_something_is_not_idle() {
        let keepalive = Span::from_ms(200);
        let limits = ClientLimits { keepalive, ..ClientLimits::default() };
        let streams = OpenStreams::of_at_most(10);
        let speaks = async {
            for _ in 0..60 {
                streams.hear();
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = quiet(&streams, &limits) => panic!("it was heard all the time"),
            () = speaks => {}
        }
        assert!(timeout(PATIENCE, quiet(&streams, &limits)).await.is_ok());
    }
}
