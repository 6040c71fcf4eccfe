//! Mirroring: a share of what blue answers is also sent to green, before green has any weight.
//!
//! The copy must never be felt by the user: it leaves after the request has its target, over a
//! queue that is never waited for, over connections of its own (`carrier`), and what comes back is
//! counted and thrown away. It is no evidence for or against green.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Scheme;
use http::{Request, Uri, Version};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::core::model::{MirrorPolicy, Side, TargetProtocol};
use crate::core::routing::{Link, LiveTarget, MeterId, MirrorPlace, ServiceRoute};
use crate::telemetry::{MirrorOutcome, Recorder};

use super::attempt::Attempt;
use super::carrier::{Carrier, Ride};
use super::forward::Onward;
use super::repeatable::is_harmless;

/// The way to the mirror, for the hooks of every listener.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    copies: mpsc::Sender<Mirrored>,
    recorder: Arc<Recorder>,
}

/// Who sends the copies.
#[derive(Debug)]
pub(super) struct MirrorWorker {
    copies: mpsc::Receiver<Mirrored>,
}

/// A copy on its way to green.
#[derive(Debug)]
struct Mirrored {
    request: Request<()>,
    limit: Duration,
    meter: MeterId,
    recorder: Arc<Recorder>,
    place: MirrorPlace,
    target: Arc<LiveTarget>,
    link: Arc<Link>,
}

impl Mirror {
    /// The way to the mirror, and who sends what comes over it.
    pub(super) fn new(recorder: &Arc<Recorder>) -> (Self, MirrorWorker) {
        let (sender, copies) = mpsc::channel(QUEUE);
        let mirror = Self { copies: sender, recorder: Arc::clone(recorder) };
        (mirror, MirrorWorker { copies })
    }

    /// Sends a copy of a request, if it is one to be mirrored; waits for nothing.
    pub(super) fn offer(&self, session: &Session, attempt: &Attempt, onward: &Onward<'_>) {
        let service = &attempt.service;
        let Some(policy) = service.mirror.filter(|policy| is_due(policy, service, attempt)) else {
            return;
        };
        let original = session.req_header();
        if !is_harmless(&original.method) || has_body(original) {
            return;
        }
        if self.send(original, attempt, onward, policy).is_none() {
            self.recorder.mirrored(service.green.meter, MirrorOutcome::Dropped);
        }
    }

    /// `None` if the copy cannot be sent.
    fn send(
        &self,
        original: &RequestHeader,
        attempt: &Attempt,
        onward: &Onward<'_>,
        policy: MirrorPolicy,
    ) -> Option<()> {
        let service = &attempt.service;
        let place = service.live.mirror(policy.concurrency)?;
        let target = service.pick(Side::Green, attempt.draw(), None)?;
        let copy = onward.mirrored(original, &attempt.actions, target).ok()?;
        let request = addressed(copy, target, &service.green.link)?;
        let (limit, meter) = (policy.timeout.into(), service.green.meter);
        let recorder = Arc::clone(&self.recorder);
        let (target, link) = (Arc::clone(target), Arc::clone(&service.green.link));
        let copy = Mirrored { request, limit, meter, recorder, place, target, link };
        self.copies.try_send(copy).ok()
    }
}

/// A copy with the URI that its carrier wants; `None` for one that no `Uri` can hold.
fn addressed(copy: RequestHeader, target: &LiveTarget, link: &Link) -> Option<Request<()>> {
    // Bytes that no `Uri` can hold were replaced in it.
    let path = copy.uri.path_and_query().filter(|_| copy.raw_path_is_utf8())?.clone();
    let transport = link.transport();
    let mut parts = Parts::from(copy);
    let (scheme, authority) = match transport.protocol {
        TargetProtocol::Http1 => (Scheme::HTTP, target.address().socket_addr().to_string()),
        TargetProtocol::H2c | TargetProtocol::H2 => {
            // HTTP/2 names the host elsewhere (RFC 9113, section 8.3.1).
            let host = parts.headers.remove(HOST)?.to_str().ok()?.to_owned();
            (if transport.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }, host)
        }
    };
    parts.version = match transport.protocol {
        TargetProtocol::Http1 => Version::HTTP_11,
        TargetProtocol::H2c | TargetProtocol::H2 => Version::HTTP_2,
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    parts.uri = uri.ok()?;
    Some(Request::from_parts(parts, ()))
}

/// Whether a request was drawn: blue's by chance, while green is there and has no weight. The draw
/// of its side decided nothing then, and is used here.
fn is_due(policy: &MirrorPolicy, service: &ServiceRoute, attempt: &Attempt) -> bool {
    let exposure = &service.exposure;
    exposure.green_exists
        && exposure.split.green().bp() == 0
        && attempt.side == Side::Blue
        && attempt.chance().is_some_and(|chance| chance < policy.share.bp())
}

fn has_body(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    length || headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(EXPECT)
}

impl MirrorWorker {
    /// Sends copies until the stop, or until nobody can offer one; ends those under way with it.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                // An error means that the proxy is gone, which ends it as well.
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = under_way.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a mirrored request broke off");
                    }
                }
                copy = self.copies.recv() => match copy {
                    Some(copy) => {
                        under_way.spawn(copy.send());
                    }
                    None => break,
                },
            }
        }
        under_way.shutdown().await;
    }
}

impl Mirrored {
    /// Sends it and counts what comes of it, within its time.
    async fn send(self) {
        let Self { request, limit, meter, recorder, place, target, link } = self;
        let mut ride = Ride::default();
        let exchange =
            async { Carrier::of(&link).await?.exchange(&target, request, &mut ride).await };
        let ended = timeout(limit, exchange).await;
        let outcome = match ended {
            Ok(Some(status)) => MirrorOutcome::Status(status),
            Ok(None) => MirrorOutcome::Failed,
            Err(_) => {
                if let Some(carrier) = Carrier::made(&link) {
                    carrier.doubt(&target, &ride);
                }
                MirrorOutcome::TimedOut
            }
        };
        recorder.mirrored(meter, outcome);
        drop(place);
    }
}

/// The most copies that wait to be sent, of all services.
const QUEUE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::super::testkit::{
        Act, Origin, World, body, field, ok, service, status, table, until, with_green,
    };
    use crate::core::model::{MirrorPolicy, Side, Span, Weight, WhenIdle};
    use crate::core::routing::{MeterId, ServiceRoute};
    use crate::telemetry::MeterKey;

    /// A service whose blue's requests are all mirrored to a green without weight.
    fn mirrored(blue: &Origin, green: &Origin) -> ServiceRoute {
        let mut route = service(0, &[blue.address], &[green.address]);
        route.exposure = with_green(0);
        route.exposure.green_exists = true;
        route.green.meter = MeterId(1);
        let (share, timeout) = (Weight::FULL, Span::from_secs(5));
        route.mirror = Some(MirrorPolicy { share, timeout, concurrency: 8 });
        route
    }

    /// A world that counts the sides apart.
    fn world(route: ServiceRoute) -> World {
        let world = World::new(route);
        for (side, group) in [(Side::Blue, "shop-a"), (Side::Green, "shop-b")] {
            world.recorder.register(&MeterKey {
                service: "shop".parse().expect("valid"),
                side,
                target_group: group.parse().expect("valid"),
            });
        }
        world
    }

    fn copies(world: &World) -> [u64; 8] {
        world.recorder.copies(MeterId(1)).mirrored
    }

    #[tokio::test]
    async fn a_green_without_weight_sees_what_blue_answers() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let world = world(mirrored(&blue, &green));
        let mut client = world.client().await;
        let fields = "x-request-id: r-1\r\nx-forwarded-for: 6.6.6.6\r\nconnection: x-hop\r\n\
                      x-hop: 1\r\nx-end: 1\r\n";
        let answer = client.get("/cart?a=b", fields).await;
        assert_eq!((body(&answer), field(&answer, "x-tidegate-side")), ("blue", Some("blue")));
        until("the copy is counted", || copies(&world)[1] == 1).await;
        let seen = green.seen().remove(0);
        assert!(seen.starts_with("GET /cart?a=b HTTP/1.1\r\n"), "{seen}");
        let check = |name, expected| assert_eq!(field(&seen, name), expected, "{seen}");
        check("host", Some("shop.test"));
        check("x-tidegate-mirror", Some("1"));
        check("x-request-id", Some("r-1"));
        check("x-forwarded-for", Some("127.0.0.1"));
        check("x-end", Some("1"));
        check("x-hop", None);
        assert_eq!(field(&blue.seen()[0], "x-tidegate-mirror"), None);
        let counts = world.recorder.snapshot(MeterId(1));
        assert_eq!(counts.requests(), 0, "a copy is no evidence");
    }

    #[tokio::test]
    async fn nothing_is_mirrored_to_a_green_with_weight_or_to_none() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green").await);
        let mut route = mirrored(&blue, &green);
        route.exposure.green_exists = false;
        let world = world(route.clone());
        let mut client = world.client().await;
        client.get("/", "").await;
        // 1 in 10 000 requests goes to green by itself; none of these is likely to.
        route.exposure = with_green(1);
        route.exposure.green_exists = true;
        world.table.store(table(route.clone(), WhenIdle::Refuse).into());
        for _ in 0..3 {
            client.get("/weight", "").await;
        }
        // What is mirrored after these proves that they were not.
        route.exposure.split = with_green(0).split;
        world.table.store(table(route, WhenIdle::Refuse).into());
        client.send("POST /post HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n").await;
        client.answer().await;
        client.send("GET /body HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 1\r\n\r\nx").await;
        client.answer().await;
        client.get("/last", "").await;
        until("a copy is counted", || copies(&world)[1] == 1).await;
        let mirrored: Vec<String> =
            green.seen().into_iter().filter(|seen| seen.contains("x-tidegate-mirror")).collect();
        assert_eq!(mirrored.len(), 1);
        assert!(mirrored[0].starts_with("GET /last "), "{mirrored:?}");
        assert_eq!(copies(&world).iter().sum::<u64>(), 1);
    }

    #[tokio::test]
    async fn a_failing_or_slow_green_changes_nothing_about_the_answers() {
        let blue = Origin::saying("blue").await;
        let green = Origin::new(|seen, _| match seen {
            seen if seen.starts_with("GET /slow") => {
                vec![Act::Wait(std::time::Duration::from_secs(600))]
            }
            seen if seen.starts_with("GET /closes") => vec![Act::Close],
            _ => vec![Act::Send("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_owned())],
        })
        .await;
        let mut route = mirrored(&blue, &green);
        let timeout = Span::from_ms(500);
        route.mirror = route.mirror.map(|policy| MirrorPolicy { timeout, ..policy });
        let world = world(route);
        let mut client = world.client().await;
        for path in ["/slow", "/closes", "/fails"] {
            let answer = client.get(path, "").await;
            assert_eq!((status(&answer), body(&answer)), (200, "blue"));
        }
        until("all are counted", || copies(&world) == [0, 0, 0, 0, 1, 1, 1, 0]).await;
        assert_eq!(world.recorder.snapshot(MeterId(1)).requests(), 0);
    }

    #[tokio::test]
    async fn what_is_too_much_at_once_is_dropped_and_counted() {
        let blue = Origin::saying("blue").await;
        let green = Origin::new(|_, n| match n {
            0 => vec![Act::Wait(std::time::Duration::from_secs(600))],
            _ => ok("green"),
        })
        .await;
        let mut route = mirrored(&blue, &green);
        route.mirror = route.mirror.map(|policy| MirrorPolicy { concurrency: 1, ..policy });
        let world = world(route);
        let mut client = world.client().await;
        client.get("/first", "").await;
        until("green has the first", || green.seen().len() == 1).await;
        for _ in 0..3 {
            assert_eq!(body(&client.get("/more", "").await), "blue");
        }
        assert_eq!(copies(&world)[7], 3);
        assert_eq!(green.seen().len(), 1);
        let shutdown = world.proxy.shutdown(std::time::Duration::from_secs(5));
        drop(client);
        assert_eq!(shutdown.await, 0, "a copy under way keeps nobody waiting");
    }
}
