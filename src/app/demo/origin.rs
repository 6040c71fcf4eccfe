//! A tiny real upstream: HTTP/1.1 over loopback, with a share of failures and a latency to set.
//!
//! `/healthz` always answers 200 and at once, so that what is bad about a bad revision is seen by
//! its users alone: the hard case for a proxy. Every answer tells in `x-origin` which revision it
//! is from.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::core::model::Weight;

/// Which requests fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failures {
    /// None.
    #[default]
    None,
    /// This share, spread evenly: exactly so many of every 10 000 requests.
    Spread(Weight),
    /// This share, drawn anew for each request.
    Random(Weight),
}

/// What an origin counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginCounts {
    /// Requests other than health checks.
    pub requests: u64,
    /// Those that were failed on purpose.
    pub failures: u64,
    /// Health checks.
    pub checks: u64,
    /// Connections accepted, those of health checks among them.
    pub connections: u64,
}

/// A running upstream; dropping it closes its port and its connections at once.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    revision: HeaderValue,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
    failures: AtomicU64,
    checks: AtomicU64,
    connections: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Behaviour {
    failures: Failures,
    latency: Duration,
}

impl Origin {
    /// Starts an upstream on a free port of loopback; a task of the present runtime serves it.
    ///
    /// # Errors
    /// There is no port, or the revision cannot stand in a header.
    pub async fn start(revision: &str) -> io::Result<Self> {
        let revision = HeaderValue::from_str(revision).map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            revision,
            behaviour: Mutex::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            checks: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Chooses which requests fail from now on: they are answered 500.
    pub fn set_failures(&self, failures: Failures) {
        self.shared.change(|behaviour| behaviour.failures = failures);
    }

    /// Chooses how long each answer takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.change(|behaviour| behaviour.latency = latency);
    }

    /// What it counted so far.
    #[must_use]
    pub fn counts(&self) -> OriginCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OriginCounts {
            requests: read(&self.shared.requests),
            failures: read(&self.shared.failures),
            checks: read(&self.shared.checks),
            connections: read(&self.shared.connections),
        }
    }

    /// Closes its port and its connections; requests under way are cut off.
    pub async fn shutdown(mut self) {
        self.task.abort();
        // It ends by being aborted: there is nothing else to learn.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let check = request.uri().path() == HEALTH_PATH;
        let mut body = request.into_body();
        // A body is read to its end, so that the connection can be used again.
        while let Some(Ok(_)) = body.frame().await {}
        if check {
            self.checks.fetch_add(1, Ordering::Relaxed);
            return Ok(self.response(StatusCode::OK, "healthy\n"));
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let Behaviour { failures, latency } = self.behaviour();
        if !latency.is_zero() {
            sleep(latency).await;
        }
        if failures.chooses(number) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Ok(self.response(StatusCode::INTERNAL_SERVER_ERROR, "failed on purpose\n"));
        }
        Ok(self.response(StatusCode::OK, "hello\n"))
    }

    fn response(&self, status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        *response.status_mut() = status;
        response.headers_mut().insert(ORIGIN_HEADER, self.revision.clone());
        response
    }
}

impl Failures {
    /// Whether the request of this number, from 0, fails.
    fn chooses(self, number: u64) -> bool {
        match self {
            Self::None => false,
            Self::Spread(share) => {
                let (number, share) = (number % WHOLE, u64::from(share.bp()));
                (number + 1) * share / WHOLE > number * share / WHOLE
            }
            Self::Random(share) => rand::random_range(0..WHOLE) < u64::from(share.bp()),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                // Out of descriptors, for example: not at once again.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without it an answer may wait for an acknowledgement; with an error it is only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| shared.answer(request));
    // A client that breaks off ends its connection, and nothing else.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The header that tells which revision answered.
pub(super) const ORIGIN_HEADER: &str = "x-origin";
const HEALTH_PATH: &str = "/healthz";
const WHOLE: u64 = 10_000;
const MAX_CONNECTIONS: usize = 1_024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(failures: Failures) -> usize {
        (0..WHOLE).filter(|number| failures.chooses(*number)).count()
    }

    #[test]
    fn a_spread_share_is_exact_and_even() {
        for bp in [0, 1, 300, 2_500, 9_999, 10_000] {
            let failures = Failures::Spread(Weight::from_bp(bp).unwrap());
            assert_eq!(chosen(failures), usize::from(bp));
            assert_eq!(failures.chooses(17), failures.chooses(17 + WHOLE));
        }
        let quarter = Failures::Spread(Weight::from_bp(2_500).unwrap());
        let first: Vec<bool> = (0..8).map(|number| quarter.chooses(number)).collect();
        assert_eq!(first, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn a_random_share_is_never_at_none_and_always_at_all() {
        assert_eq!(chosen(Failures::None), 0);
        assert_eq!(chosen(Failures::Random(Weight::ZERO)), 0);
        assert_eq!(chosen(Failures::Random(Weight::FULL)), 10_000);
    }
}
