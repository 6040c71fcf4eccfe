//! Origins of HTTP/2 of the tests, which follow a script on each stream, and keep what they were
//! sent, over which connection, and how the proxy ended a stream.

use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::testkit::{Io, service};
use super::wirekit::fields;
use crate::core::model::{TargetProtocol, TrailerPolicy, Transport};
use crate::core::routing::{Link, ServiceRoute};

pub(super) type Fields = &'static [(&'static str, &'static str)];

/// One act of an origin on a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Waits for the whole request.
    Reads,
    /// A header: an interim one, or the final one, which a body follows.
    Says(u16, Fields),
    /// A header that is the whole answer.
    Ends(u16, Fields),
    /// A part of the body.
    Sends(&'static str),
    /// The last part of the body.
    Finishes(&'static str),
    /// So many bytes of the body, as fast as they are taken.
    Pours(usize),
    Resets(Reason),
    /// Waits until the test lets it go on.
    Waits,
    /// Does nothing more until the proxy resets the stream.
    Stays,
}

/// A 200 with the body `fine`, once the request is whole.
pub(super) const FINE: &[Does] =
    &[Does::Reads, Does::Says(200, &[("content-length", "4")]), Does::Finishes("fine")];
/// The same, once the test lets it go on.
pub(super) const LATE: &[Does] =
    &[Does::Waits, Does::Says(200, &[("content-length", "4")]), Does::Finishes("fine")];

/// What an origin grants, and how it is spoken to.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// How many streams a connection may have at once; `None` grants any number.
    pub(super) streams: Option<u32>,
    /// `None` speaks in the clear.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Whether a connection waits for its first word until the test lets it go on.
    pub(super) is_slow: bool,
}

/// A request that an origin got.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) authority: Option<String>,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// Empty until all of it was read.
    pub(super) body: String,
    pub(super) trailers: HeaderMap,
}

impl Seen {
    /// The value of a header field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The value of a trailer field.
    pub(super) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).map(|value| value.to_str().expect("ASCII"))
    }
}

/// An origin.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    play: Arc<Play>,
}

type Script = dyn Fn(&str, usize) -> &'static [Does] + Send + Sync;

struct Play {
    script: Box<Script>,
    streams: Option<u32>,
    seen: Mutex<Vec<Seen>>,
    resets: Mutex<Vec<Reason>>,
    connections: AtomicUsize,
    poured: AtomicUsize,
    orders: watch::Sender<Order>,
    goes_on: watch::Sender<bool>,
}

/// What is to happen to the connections that stand.
#[derive(Clone, Copy, Debug)]
enum Order {
    Nothing,
    /// No more requests: a GOAWAY, and its end after the last stream.
    Farewell,
    /// Its end, without a word.
    HangUp,
}

impl Stage {
    /// An origin in the clear that does this on every stream.
    pub(super) async fn always(acts: &'static [Does]) -> Self {
        Self::new(move |_, _| acts).await
    }

    /// An origin in the clear, whose acts depend on the path and the number of the request, from 0.
    pub(super) async fn new(
        script: impl Fn(&str, usize) -> &'static [Does] + Send + Sync + 'static,
    ) -> Self {
        Self::on(Terms::default(), script).await
    }

    /// An origin on these terms.
    pub(super) async fn on(
        terms: Terms,
        script: impl Fn(&str, usize) -> &'static [Does] + Send + Sync + 'static,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let play = Arc::new(Play {
            script: Box::new(script),
            streams: terms.streams,
            seen: Mutex::default(),
            resets: Mutex::default(),
            connections: AtomicUsize::new(0),
            poured: AtomicUsize::new(0),
            orders: watch::Sender::new(Order::Nothing),
            goes_on: watch::Sender::new(false),
        });
        let tls = terms.tls.map(TlsAcceptor::from);
        let stage = Arc::clone(&play);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                stage.connections.fetch_add(1, Ordering::SeqCst);
                let (tls, play) = (tls.clone(), Arc::clone(&stage));
                let mut goes_on = play.goes_on.subscribe();
                tokio::spawn(async move {
                    if terms.is_slow {
                        let _ = goes_on.wait_for(|goes| *goes).await;
                    }
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, play).await;
                            }
                        }
                        None => serve(stream, play).await,
                    }
                });
            }
        });
        Self { address, play }
    }

    /// The requests, in the order in which they came.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.play.seen.lock().expect("no test panics inside").clone()
    }

    /// Why the proxy reset streams that an origin was busy with, in that order.
    pub(super) fn resets(&self) -> Vec<Reason> {
        self.play.resets.lock().expect("no test panics inside").clone()
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.play.connections.load(Ordering::SeqCst)
    }

    /// How many bytes were poured on all streams.
    pub(super) fn poured(&self) -> usize {
        self.play.poured.load(Ordering::SeqCst)
    }

    /// Whoever waits goes on, now and later.
    pub(super) fn go_on(&self) {
        self.play.goes_on.send_replace(true);
    }

    /// Takes leave of every connection that stands.
    pub(super) fn farewell(&self) {
        self.play.orders.send_replace(Order::Farewell);
    }

    /// Ends every connection that stands.
    pub(super) fn hang_up(&self) {
        self.play.orders.send_replace(Order::HangUp);
    }
}

async fn serve(stream: impl Io, play: Arc<Play>) {
    let mut orders = play.orders.subscribe();
    let mut builder = Builder::new();
    if let Some(streams) = play.streams {
        builder.max_concurrent_streams(streams);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = orders.changed() => {
                let order = *orders.borrow_and_update();
                match order {
                    Order::Nothing => {}
                    Order::Farewell => connection.graceful_shutdown(),
                    Order::HangUp => return,
                }
                continue;
            }
            accepted = connection.accept() => accepted,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        tokio::spawn(perform(request, respond, Arc::clone(&play)));
    }
}

async fn perform(request: Request<RecvStream>, respond: SendResponse<Bytes>, play: Arc<Play>) {
    let (head, content) = request.into_parts();
    let path = head.uri.path().to_owned();
    let number = {
        let mut seen = play.seen.lock().expect("no test panics inside");
        seen.push(Seen {
            method: head.method,
            authority: head.uri.authority().map(ToString::to_string),
            path: path.clone(),
            headers: head.headers,
            body: String::new(),
            trailers: HeaderMap::new(),
        });
        seen.len() - 1
    };
    let acts = (play.script)(&path, number);
    let mut scene = Scene { number, respond, answer: None, content, play };
    for act in acts {
        if scene.act(*act).await.is_err() {
            let reason = scene.reset().await;
            scene.play.resets.lock().expect("no test panics inside").push(reason);
            return;
        }
    }
}

/// One stream.
struct Scene {
    number: usize,
    respond: SendResponse<Bytes>,
    /// `None` before the header of the answer.
    answer: Option<SendStream<Bytes>>,
    content: RecvStream,
    play: Arc<Play>,
}

impl Scene {
    /// Its error says that there is no use in going on.
    async fn act(&mut self, act: Does) -> Result<(), h2::Error> {
        match act {
            Does::Reads => self.read().await,
            Does::Says(status, all) => {
                let header = header(status, all);
                if header.status().is_informational() {
                    return self.respond.send_informational(header);
                }
                self.answer = Some(self.respond.send_response(header, false)?);
                Ok(())
            }
            Does::Ends(status, all) => {
                self.respond.send_response(header(status, all), true).map(drop)
            }
            Does::Sends(text) => {
                self.answer().send_data(Bytes::from_static(text.as_bytes()), false)
            }
            Does::Finishes(text) => {
                self.answer().send_data(Bytes::from_static(text.as_bytes()), true)
            }
            Does::Pours(count) => self.pour(count).await,
            Does::Resets(reason) => {
                self.respond.send_reset(reason);
                Ok(())
            }
            Does::Waits => {
                let mut goes_on = self.play.goes_on.subscribe();
                let told = async {
                    let _ = goes_on.wait_for(|goes| *goes).await;
                };
                tokio::select! {
                    biased;
                    () = told => Ok(()),
                    reason = self.reset() => Err(reason.into()),
                }
            }
            Does::Stays => Err(self.reset().await.into()),
        }
    }

    fn answer(&mut self) -> &mut SendStream<Bytes> {
        self.answer.as_mut().expect("a header goes in front")
    }

    async fn read(&mut self) -> Result<(), h2::Error> {
        let mut body = Vec::new();
        while let Some(part) = self.content.data().await {
            let part = part?;
            self.content.flow_control().release_capacity(part.len())?;
            body.extend_from_slice(&part);
        }
        let trailers = self.content.trailers().await?.unwrap_or_default();
        let mut seen = self.play.seen.lock().expect("no test panics inside");
        let seen = &mut seen[self.number];
        seen.body = String::from_utf8_lossy(&body).into_owned();
        seen.trailers = trailers;
        Ok(())
    }

    async fn pour(&mut self, count: usize) -> Result<(), h2::Error> {
        let answer = self.answer.as_mut().expect("a header goes in front");
        let mut left = count;
        while left > 0 {
            answer.reserve_capacity(left.min(PART));
            let granted = poll_fn(|cx| answer.poll_capacity(cx)).await;
            let now = granted.unwrap_or(Err(Reason::CANCEL.into()))?.min(left);
            answer.send_data(Bytes::from(vec![b'x'; now]), false)?;
            left -= now;
            self.play.poured.fetch_add(now, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Why the proxy resets the stream, once it does.
    async fn reset(&mut self) -> Reason {
        let reset = match &mut self.answer {
            Some(answer) => poll_fn(|cx| answer.poll_reset(cx)).await,
            None => poll_fn(|cx| self.respond.poll_reset(cx)).await,
        };
        match reset {
            Ok(reason) => reason,
            // It is the whole connection that ended.
            Err(_) => pending().await,
        }
    }
}

fn header(status: u16, all: Fields) -> Response<()> {
    let mut header = Response::new(());
    *header.status_mut() = StatusCode::from_u16(status).expect("a status");
    *header.headers_mut() = fields(all);
    header
}

/// A link to targets of HTTP/2 in the clear.
pub(super) fn h2c(number: u64, trailers: TrailerPolicy) -> Arc<Link> {
    let protocol = TargetProtocol::H2c;
    Arc::new(Link::new(number, Transport { protocol, trailers, ..Transport::default() }))
}

/// A service whose only target this origin is.
pub(super) fn to(origin: &Stage) -> ServiceRoute {
    let mut route = service(0, &[origin.address], &[]);
    route.blue.link = h2c(1, TrailerPolicy::Drop);
    route
}

/// How much is poured at once.
const PART: usize = 64 << 10;
