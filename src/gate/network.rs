//! The world outside as it is: the system's clock and chance, and HTTP over the network.
//!
//! A name is resolved here, its addresses are looked at, and one of those that were looked at is
//! connected to: a name that has another address a moment later gains nothing. Nothing is shared
//! between two requests but the roots of TLS, and no redirect is followed.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::outside::{FetchError, Fetching, IncomingResponse, OutgoingRequest, Outside};
use crate::clock::Clock;
use crate::core::model::{TargetTls, Verify, WallTime};
use crate::tls::{ClientTls, Offers};

/// The system's clock and chance, and the network.
#[derive(Debug)]
pub struct Network {
    clock: Clock,
    /// Made when it is first needed: the system's authorities are read from files.
    tls: OnceCell<ClientTls>,
    /// A look into DNS holds a thread, and cannot be called off.
    lookups: Arc<Semaphore>,
}

impl Network {
    /// The network, and this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, tls: OnceCell::new(), lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// The same, with other authorities than the system's.
    #[cfg(test)]
    pub(super) fn trusting(clock: Clock, tls: ClientTls) -> Self {
        Self { tls: OnceCell::new_with(Some(tls)), ..Self::new(clock) }
    }

    async fn exchange(&self, request: &OutgoingRequest) -> Result<IncomingResponse, FetchError> {
        let message = message(request)?;
        let stream = self.connect(request).await?;
        if !request.is_https {
            return send(TokioIo::new(stream), message, request.longest_body).await;
        }
        let unreachable = |error: &dyn std::fmt::Display| {
            FetchError::Unreachable(format!("no TLS with {}: {error}", request.authority))
        };
        let tls = self.tls.get_or_try_init(client_tls).await?;
        let name = tls.name_at(&request.host).map_err(|error| unreachable(&error))?;
        let shaken = tls.connector(Offers::Http1).connect(name, stream).await;
        let stream = shaken.map_err(|error| unreachable(&error))?;
        send(TokioIo::new(stream), message, request.longest_body).await
    }

    /// Connects to an address that the grant permits, and to no other.
    async fn connect(&self, request: &OutgoingRequest) -> Result<TcpStream, FetchError> {
        let mut last = None;
        for address in self.permitted(request).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
        Err(FetchError::Unreachable(format!("{} cannot be reached: {why}", request.authority)))
    }

    async fn permitted(&self, request: &OutgoingRequest) -> Result<Vec<SocketAddr>, FetchError> {
        let found = self.addresses(request).await?;
        let permitted: Vec<_> =
            found.iter().copied().filter(|found| request.grant.permits(found.ip())).collect();
        match found.first() {
            Some(first) if permitted.is_empty() => Err(FetchError::Denied(format!(
                "{} has the address {}, which is not public: list it under `addresses` of the \
                 grant",
                request.host,
                first.ip(),
            ))),
            Some(_) | None => Ok(permitted.into_iter().take(ADDRESSES).collect()),
        }
    }

    async fn addresses(&self, request: &OutgoingRequest) -> Result<Vec<SocketAddr>, FetchError> {
        if let Ok(address) = request.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, request.port)]);
        }
        let place = Arc::clone(&self.lookups).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (host, port) = (request.host.clone(), request.port);
        let look = move || {
            let found = (host.as_str(), port).to_socket_addrs()?;
            Ok::<Vec<SocketAddr>, io::Error>(found.collect())
        };
        holding(place, look).await.map_err(|error| {
            FetchError::Unreachable(format!("{} cannot be resolved: {error}", request.host))
        })
    }
}

impl Outside for Network {
    fn wall(&self) -> WallTime {
        self.clock.wall()
    }

    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }

    fn fetch<'a>(&'a self, request: &'a OutgoingRequest) -> Fetching<'a> {
        Box::pin(async move {
            let bound = request.timeout;
            let answered = timeout(Duration::from(bound), self.exchange(request)).await;
            answered.unwrap_or(Err(FetchError::Timeout(bound)))
        })
    }
}

/// Does what may block on a thread for that. The place is given back when it is done, not when
/// nobody waits for it any more: otherwise names that are not answered would take all threads, and
/// those that follow would wait for one without a bound.
async fn holding<T: Send + 'static>(
    place: OwnedSemaphorePermit,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = spawn_blocking(move || {
        let _until_it_is_done = place;
        work()
    });
    done.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

async fn client_tls() -> Result<ClientTls, FetchError> {
    let spec =
        TargetTls { server_name: None, verify: Verify::Full, authorities: None, identity: None };
    let made = spawn_blocking(move || ClientTls::of(&spec)).await;
    let made = made.map_err(|error| FetchError::Unreachable(error.to_string()))?;
    made.map_err(|error| FetchError::Unreachable(error.to_string()))
}

fn message(request: &OutgoingRequest) -> Result<Request<Full<Bytes>>, FetchError> {
    let invalid = |error: &dyn std::fmt::Display| FetchError::Invalid(error.to_string());
    let mut message = Request::builder()
        .method(request.method.as_str())
        .uri(request.path.as_str())
        .header(HOST, request.authority.as_str())
        .header(CONNECTION, "close");
    if !request.headers.iter().any(|(name, _)| name == USER_AGENT.as_str()) {
        message = message.header(USER_AGENT, "tidegate");
    }
    for (name, value) in &request.headers {
        let name: HeaderName = name.parse().map_err(|error| invalid(&error))?;
        let value = HeaderValue::from_str(value).map_err(|error| invalid(&error))?;
        message = message.header(name, value);
    }
    message.body(Full::from(request.body.clone())).map_err(|error| invalid(&error))
}

async fn send<S>(
    stream: S,
    message: Request<Full<Bytes>>,
    longest_body: usize,
) -> Result<IncomingResponse, FetchError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| FetchError::Broken(format!("a broken answer: {error}"));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEADER_LIMIT).handshake(stream).await.map_err(broken)?;
    let mut exchange = pin!(async move {
        let answer = sender.send_request(message).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = answer.headers().iter().filter_map(text).collect();
        let body = Limited::new(answer.into_body(), longest_body).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge(longest_body)
            } else {
                FetchError::Broken(format!("a broken answer: {error}"))
            }
        })?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok::<_, FetchError>(IncomingResponse { status, headers, body })
    });
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // A connection that is over has handed on all it had: the exchange ends with that.
        _ = connection => exchange.await,
    }
}

/// The most names that are looked up at once.
const LOOKUPS: usize = 2;
/// The most addresses of a name that are tried.
const ADDRESSES: usize = 4;
const HEADER_LIMIT: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::{HttpGrant, Span};
    use crate::promql::{Fake, Script};
    use crate::tls::testkit::Authority;

    fn network() -> Network {
        Network::new(Clock::start())
    }

    /// A request to a fake server, at its address or under another name.
    fn request(fake: &str, host: &str, addresses: &[&str]) -> OutgoingRequest {
        let port = fake.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        OutgoingRequest {
            method: "POST".to_owned(),
            is_https: false,
            host: host.to_owned(),
            port,
            authority: format!("{host}:{port}"),
            path: "/ask?a=b".to_owned(),
            headers: vec![("x-token".to_owned(), "secret".to_owned())],
            body: "{}".to_owned(),
            grant: HttpGrant {
                host: host.parse().expect("a host"),
                methods: vec!["POST".parse().expect("a method")],
                addresses: addresses.iter().map(|net| net.parse().expect("a network")).collect(),
            },
            timeout: Span::from_secs(20),
            longest_body: 1_000,
        }
    }

    #[tokio::test]
    async fn a_response_comes_back_as_it_is_and_a_redirect_is_one() {
        let other = Fake::start(Script::Json(200, "other".to_owned())).await;
        let fake = Fake::start(Script::Json(404, "none".to_owned())).await;
        let asked = request(&fake.url(), "127.0.0.1", &[]);
        let response = network().fetch(&asked).await.expect("a response");
        assert_eq!((response.status, response.body.as_str()), (404, "none"));
        let json = ("content-type".to_owned(), "application/json".to_owned());
        assert!(response.headers.contains(&json), "{:?}", response.headers);
        let head = fake.last_head();
        assert!(head.starts_with("POST /ask?a=b HTTP/1.1\r\n"), "{head}");
        for line in [
            format!("host: {}", asked.authority),
            "x-token: secret".to_owned(),
            "content-length: 2".to_owned(),
            "user-agent: tidegate".to_owned(),
            "connection: close".to_owned(),
        ] {
            assert!(head.lines().any(|found| found.eq_ignore_ascii_case(&line)), "{head}");
        }
        fake.play(Script::Redirect(other.url()));
        let response = network().fetch(&asked).await.expect("a response");
        assert_eq!((response.status, other.asked()), (302, 0));
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_is_not_connected_to_unless_it_is_listed() {
        let fake = Fake::start(Script::Json(200, "inside".to_owned())).await;
        let denied = network().fetch(&request(&fake.url(), "localhost", &[])).await;
        let Err(FetchError::Denied(why)) = denied else { panic!("{denied:?}") };
        assert!(why.contains("which is not public"), "{why}");
        assert_eq!(fake.asked(), 0);
        let listed = request(&fake.url(), "localhost", &["127.0.0.0/8"]);
        let response = network().fetch(&listed).await.expect("a response");
        assert_eq!((response.body.as_str(), fake.asked()), ("inside", 1));
    }

    #[tokio::test]
    async fn whatever_a_server_does_there_is_a_reason_in_time() {
        let check = async |script: Script, kind: &str| {
            let fake = Fake::start(script).await;
            let asked = request(&fake.url(), "127.0.0.1", &[]);
            let timeout = if kind == "timeout" { Span::from_ms(50) } else { Span::from_secs(20) };
            let found = network().fetch(&OutgoingRequest { timeout, ..asked }).await;
            let error = found.expect_err(kind);
            assert_eq!(error.kind(), kind, "{error}");
        };
        check(Script::Silence, "timeout").await;
        check(Script::Endless, "too-large").await;
        check(Script::Raw("garbage\r\n\r\n"), "broken").await;
        check(Script::Raw(""), "broken").await;
        let fake = Fake::start(Script::Silence).await;
        let gone = fake.gone().await;
        let error = network().fetch(&request(&gone, "127.0.0.1", &[])).await.expect_err("nobody");
        assert_eq!(error.kind(), "unreachable", "{error}");
    }

    #[tokio::test]
    async fn a_server_of_https_is_verified_by_its_name() {
        let authority = Authority::new();
        let files = authority.signs("api", &["localhost"]);
        let fake = Fake::start_tls(Script::Json(200, "safe".to_owned()), &files).await;
        let asked = |host| OutgoingRequest {
            is_https: true,
            ..request(&fake.url(), host, &["127.0.0.0/8"])
        };
        let trusting = |authority: &Authority| {
            let tls = TargetTls {
                server_name: None,
                verify: Verify::Full,
                authorities: Some([authority.der()].into()),
                identity: None,
            };
            Network::trusting(Clock::start(), ClientTls::of(&tls).expect("TLS"))
        };
        let network = trusting(&authority);
        let response = network.fetch(&asked("localhost")).await.expect("a response");
        assert_eq!(response.body, "safe");
        let error = network.fetch(&asked("127.0.0.1")).await.expect_err("another name");
        assert!(error.to_string().contains("no TLS"), "{error}");
        let error = trusting(&Authority::new()).fetch(&asked("localhost")).await;
        assert_eq!(error.expect_err("a stranger signed").kind(), "unreachable");
    }

    #[tokio::test]
    async fn a_lookup_that_nobody_waits_for_keeps_its_place_until_it_is_over() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().expect("free");
        let (answer, waiting) = std::sync::mpsc::channel::<()>();
        let looking = holding(place, move || waiting.recv().map_err(io::Error::other));
        assert!(timeout(Duration::from_millis(20), looking).await.is_err());
        assert_eq!(places.available_permits(), 0);
        answer.send(()).expect("it waits");
        let given_back = timeout(Duration::from_secs(20), places.acquire()).await;
        assert!(given_back.is_ok());
    }

    #[test]
    fn chance_differs() {
        let mut drawn = [[0; 16]; 2];
        drawn.iter_mut().for_each(|bytes| network().fill(bytes));
        assert_ne!(drawn[0], drawn[1]);
    }
}
