//! What the tests of this folder share: a client that sees every byte, a proxy over real sockets,
//! and origins that follow a script (`originkit`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::core::analysis::comparison::{ClusterGuard, Cohort, Counters, MetricSet};
use crate::core::analysis::{Threshold, Thresholds};
use crate::core::model::{
    Balance, ClientLimits, DrainPolicy, Exposure, HostMatch, ListenerName, ListenerSpec, Panic,
    RequestMatch, RetryPolicy, Rule, Span, Split, Target, TargetGroup, TargetGroupName, Timeouts,
    Transport, Weight, WhenIdle,
};
use crate::core::routing::{
    Link, ListenerRoutes, LiveTargets, MeterId, RoutingTable, ServiceRoute, SideRoute, TargetHealth,
};
use crate::telemetry::Recorder;

pub(super) use super::carrier::Io;
pub(super) use super::originkit::{Act, Origin, ok};
use super::running::start;
use super::{AccessLog, ProxyParts, RunningProxy, bind};

/// No test waits longer than this for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Reads one message with its body by `content-length`, and in a request also by chunks; `None` at
/// the end of the stream.
pub(super) async fn message(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(end) = text.find("\r\n\r\n").map(|at| at + 4) {
            let length = body_length(&text[..end], &text[end..]);
            if let Some(length) = length.filter(|length| buffer.len() >= end + length) {
                let rest = buffer.split_off(end + length);
                let whole = std::mem::replace(buffer, rest);
                return Some(String::from_utf8_lossy(&whole).into_owned());
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// How long the body behind a header is; `None` while that is not known.
fn body_length(head: &str, body: &str) -> Option<usize> {
    if !head.starts_with("HTTP/") && field(head, "transfer-encoding").is_some() {
        let last = if body.starts_with("0\r\n") { 0 } else { body.find("\r\n0\r\n")? + 2 };
        // With the trailers, where there are some.
        return body[last..].find("\r\n\r\n").map(|end| last + end + 4);
    }
    let length = field(head, "content-length").and_then(|value| value.parse().ok());
    Some(length.unwrap_or(0))
}

/// The first value of a header field.
pub(super) fn field<'t>(message: &'t str, name: &str) -> Option<&'t str> {
    message.split("\r\n\r\n").next()?.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A client's connection.
pub(super) struct Client {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("connected"))
    }

    /// A client on a stream of its own.
    pub(super) fn over(stream: impl Io + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// Sends a byte now and then until the other side closes; returns how many it took.
    pub(super) async fn drip_until_closed(&mut self, gap: Duration) -> usize {
        let drip = async {
            let mut sent = 0;
            loop {
                match timeout(gap, self.stream.read_buf(&mut self.buffer)).await {
                    Ok(Ok(0) | Err(_)) => return sent,
                    Ok(Ok(_)) => panic!("answered inside a header"),
                    Err(_) if self.stream.write_all(b"x").await.is_err() => return sent,
                    Err(_) => sent += 1,
                }
            }
        };
        timeout(PATIENCE, drip).await.expect("the connection is closed in time")
    }

    pub(super) async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("half closed");
    }

    /// The next whole response, with its body.
    pub(super) async fn answer(&mut self) -> String {
        timeout(PATIENCE, message(&mut self.stream, &mut self.buffer))
            .await
            .expect("an answer in time")
            .expect("an answer before the end")
    }

    pub(super) async fn get(&mut self, path: &str, fields: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n")).await;
        self.answer().await
    }

    /// Everything until the connection ends.
    pub(super) async fn rest(&mut self) -> String {
        let read =
            async { while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0) {} };
        timeout(PATIENCE, read).await.expect("the connection ends in time");
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }
}

/// The status of a response.
pub(super) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
}

/// The body of a response.
pub(super) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a header").1
}

/// A port that refuses connections: held, so that nobody else gets it, and not listening.
pub(super) struct Dead {
    pub(super) address: SocketAddr,
    _socket: TcpSocket,
}

impl Dead {
    pub(super) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        Self { address: socket.local_addr().expect("bound"), _socket: socket }
    }
}

/// A service with these targets, green at `green` basis points.
pub(super) fn service(green: u16, blue: &[SocketAddr], greens: &[SocketAddr]) -> ServiceRoute {
    let side = |name: &str, addresses: &[SocketAddr]| {
        let name: TargetGroupName = name.parse().expect("valid");
        let targets = addresses.iter().map(|a| Target { address: (*a).into() }).collect();
        let mut live = LiveTargets::default();
        let group = TargetGroup::new(name.clone(), targets).expect("valid");
        live.register(&group, TargetHealth::Healthy);
        SideRoute {
            group: name.clone(),
            revision: None,
            targets: live.targets(&name).cloned().collect(),
            live: live.group(&name),
            meter: MeterId(0),
            link: Arc::new(Link::new(0, Transport::default())),
        }
    };
    ServiceRoute {
        name: "shop".parse().expect("valid"),
        generation: 7,
        exposure: with_green(green),
        blue: side("shop-a", blue),
        green: side("shop-b", greens),
        stickiness: None,
        balance: Balance::RoundRobin,
        panic: Panic::TryAll,
        timeouts: Timeouts::default(),
        tell_side: true,
        drain: DrainPolicy::default(),
        release: Arc::default(),
        target_limit: None,
        retries: RetryPolicy::default(),
        mirror: None,
        live: Arc::default(),
        comparison: None,
    }
}

/// Has a service's requests compared at its weight, in cohort 0 and without a guard; slower than
/// this is slow on either side.
pub(super) fn compare(service: &mut ServiceRoute, slow_us: u64) -> Arc<Counters> {
    let units = service.stickiness.is_some();
    let counters = Arc::new(Counters::new(8, units, ClusterGuard::new(Span::ZERO)));
    let weight = service.exposure.split.green();
    let cohort = Cohort { number: 0, epoch: 0, step: 0, weight, dormant: MetricSet::NONE };
    let threshold = Threshold { blue_us: slow_us, green_us: slow_us };
    counters.open(&cohort, &Thresholds { each: [Some(threshold); 3] });
    service.comparison = Some(Arc::clone(&counters));
    counters
}

pub(super) fn with_green(bp: u16) -> Exposure {
    let weight = Weight::from_bp(bp).expect("in range");
    Exposure { split: Split::with_green(weight), ..Exposure::default() }
}

pub(super) fn public() -> ListenerName {
    "public".parse().expect("valid")
}

pub(super) fn test_listener() -> ListenerName {
    "test".parse().expect("valid")
}

/// A table whose listeners `public` and `test` lead `shop.test` to the service.
pub(super) fn table(service: ServiceRoute, when_idle: WhenIdle) -> RoutingTable {
    table_with(&[named_rule("shop.test")], service, when_idle)
}

/// The rule that leads a host to the service `shop`.
pub(super) fn named_rule(host: &str) -> Rule {
    let host = HostMatch::pattern(host).expect("valid");
    let matched = RequestMatch { host, ..RequestMatch::default() };
    Rule::to_service(matched, "shop".parse().expect("valid"))
}

/// A table whose listeners `public` and `test` have these rules.
pub(super) fn table_with(
    rules: &[Rule],
    service: ServiceRoute,
    when_idle: WhenIdle,
) -> RoutingTable {
    let services = BTreeMap::from([(service.name.clone(), Arc::new(service))]);
    let routes = |test| ListenerRoutes::new(test, rules, &services);
    let listeners =
        BTreeMap::from([(public(), routes(None)), (test_listener(), routes(Some(when_idle)))]);
    RoutingTable { generation: 7, listeners, services }
}

/// A running proxy and the table that it reads.
pub(super) struct World {
    pub(super) proxy: RunningProxy,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    /// What counts the requests.
    pub(super) recorder: Arc<Recorder>,
}

impl World {
    pub(super) fn new(service: ServiceRoute) -> Self {
        Self::with(table(service, WhenIdle::Refuse), ClientLimits::default())
    }

    pub(super) fn with(table: RoutingTable, limits: ClientLimits) -> Self {
        Self::built(table, limits, None)
    }

    /// A world whose requests are logged.
    pub(super) fn logged(service: ServiceRoute, log: &AccessLog) -> Self {
        let table = table(service, WhenIdle::Refuse);
        Self::built(table, ClientLimits::default(), Some(log.clone()))
    }

    fn built(table: RoutingTable, limits: ClientLimits, access_log: Option<AccessLog>) -> Self {
        Self::opened(table, &Self::both(limits), access_log)
    }

    fn both(limits: ClientLimits) -> [ListenerSpec; 2] {
        [public(), test_listener()].map(|name| {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            ListenerSpec { limits, ..ListenerSpec::plain(name, address) }
        })
    }

    /// A proxy with listeners of its own.
    pub(super) fn listening(table: RoutingTable, listeners: &[ListenerSpec]) -> Self {
        Self::opened(table, listeners, None)
    }

    fn opened(
        table: RoutingTable,
        listeners: &[ListenerSpec],
        access_log: Option<AccessLog>,
    ) -> Self {
        let table = Arc::new(ArcSwap::from_pointee(table));
        let bound = bind(listeners).expect("bound");
        let recorder = Arc::new(Recorder::default());
        let parts = ProxyParts {
            table: Arc::clone(&table),
            recorder: Arc::clone(&recorder),
            clock: Clock::start(),
            access_log,
        };
        Self { proxy: start(&parts, bound), table, recorder }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.proxy.address(&public()).expect("the listener runs")
    }

    pub(super) async fn client(&self) -> Client {
        Client::to(self.address()).await
    }

    pub(super) async fn test_client(&self) -> Client {
        let address = self.proxy.address(&test_listener()).expect("the listener runs");
        Client::to(address).await
    }

    /// One GET on a connection of its own.
    pub(super) async fn get(&self, fields: &str) -> String {
        self.client().await.get("/", fields).await
    }
}

/// Waits until a condition holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never happened: {what}");
}
