//! What bounds a request from outside: the deadline of its whole header, and the departure of the
//! group that it stays with.
//!
//! Pingora bounds each read, so that a client that sends a byte now and then could hold a
//! connection for ever. On a reused connection the time allowed is that of an idle connection
//! and of a header together: nothing tells here when the first byte came, and a client that may
//! sit idle for as long gains nothing by dripping.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::core::model::{ClientLimits, Span};
use crate::telemetry::{EdgeEvent, Recorder};

use super::connection::Connection;
use super::course::{Course, Stay};
use super::departures::Departures;

/// Ends requests whose time is over.
pub(super) struct Guarded<A> {
    app: Arc<A>,
    limits: ClientLimits,
    departures: Arc<Departures>,
    recorder: Arc<Recorder>,
    clock: Clock,
}

impl<A> Guarded<A> {
    pub(super) fn new(
        app: A,
        limits: ClientLimits,
        departures: Arc<Departures>,
        recorder: Arc<Recorder>,
        clock: Clock,
    ) -> Self {
        Self { app: Arc::new(app), limits, departures, recorder, clock }
    }

    /// Resolves when a stay is over; never without one.
    async fn end_of(&self, stay: Option<&Stay>) {
        match stay {
            Some(stay) => self.departures.end_of(stay).await,
            None => std::future::pending().await,
        }
    }

    /// Whether a request waits for its body too long, where nothing inside of it bounds that: for a
    /// client of HTTP/2 that has stopped in the middle. A target that takes no more of it is found out
    /// by a limit of its own, before this.
    fn is_late(&self, course: &Course) -> bool {
        let Some(moved) = course.uploads_since() else { return false };
        let limit = if course.is_stream() {
            course.quiet_limit()
        } else {
            let body_read = self.limits.body_read.ms();
            Span::from_ms(body_read.saturating_add(course.write_limit().ms()))
        };
        self.clock.mono().since(moved) > limit
    }

    /// Counts a request that has to leave, and asks its client for another connection: a client of
    /// HTTP/2 whose connection carried nothing to that group keeps it, for a connection is bound to
    /// no group, and what it asks for next goes to the side that has the traffic.
    fn cuts(&self, connection: Option<&Connection>) {
        self.recorder.edge(EdgeEvent::StreamCut);
        if let Some(connection) = connection {
            connection.say_goodbye();
        }
    }

    /// How long the header of a request may take.
    fn allowed(&self, connection: Option<&Arc<Connection>>) -> Duration {
        let header = Duration::from(self.limits.header);
        match connection {
            Some(connection) if connection.has_been_used() => {
                header + Duration::from(self.limits.keepalive)
            }
            Some(_) | None => header,
        }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Guarded<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let connection = Connection::of(session.digest()).map(Arc::clone);
        let allowed = self.allowed(connection.as_ref());
        let course = Arc::new(Course::default());
        let request = course.of(self.app.process_new_http(session, shutdown));
        tokio::pin!(request);
        tokio::select! {
            biased;
            reusable = &mut request => {
                if course.is_unreadable() {
                    self.recorder.edge(EdgeEvent::Unreadable);
                }
                return reusable;
            }
            () = course.header() => {}
            () = sleep(allowed) => {
                self.recorder.edge(EdgeEvent::HeaderTimeout);
                return None;
            }
        }
        loop {
            let stay = course.stay().cloned();
            tokio::select! {
                biased;
                reusable = &mut request => return reusable,
                () = sleep(SOON) => {
                    if self.is_late(&course) {
                        return None;
                    }
                }
                () = self.end_of(stay.as_ref()) => {
                    // It may have gone on to another group since, or say goodbye by itself.
                    if course.stay().is_some_and(Stay::is_over) {
                        self.cuts(connection.as_deref());
                        if course.depart()
                            && let Ok(reusable) = timeout(LAST_WORDS, &mut request).await
                        {
                            return reusable;
                        }
                        // Reset without a word: nothing else ends it from here.
                        return None;
                    }
                }
            }
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }

    async fn http_cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

/// How long a call of gRPC may take to tell its client that it is over.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a request that takes long is looked at.
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testkit::Act;
    use super::super::testkit::{Client, Origin, World, body, ok, service, table};
    use crate::core::model::{ClientLimits, Span, WhenIdle};

    const GAP: Duration = Duration::from_millis(20);

    async fn world(script: fn(&str, usize) -> Vec<Act>) -> (World, Origin) {
        let origin = Origin::new(script).await;
        let limits = ClientLimits {
            header: Span::from_ms(300),
            keepalive: Span::from_secs(1),
            ..ClientLimits::default()
        };
        let table = table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
        (World::with(table, limits), origin)
    }

    async fn drip(client: &mut Client) -> usize {
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\nx-slow: ").await;
        client.drip_until_closed(GAP).await
    }

    #[tokio::test]
    async fn a_dripped_header_is_cut_on_a_new_and_on_a_reused_connection() {
        let (world, origin) = world(|_, _| ok("fine")).await;
        let mut fresh = world.client().await;
        assert!(drip(&mut fresh).await > 1);
        let mut reused = world.client().await;
        assert_eq!(body(&reused.get("/", "").await), "fine");
        assert!(drip(&mut reused).await > 1);
        assert_eq!(origin.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_target_may_take_longer_than_a_header() {
        let late = |_: &str, _| {
            let mut acts = vec![Act::Wait(Duration::from_millis(600))];
            acts.extend(ok("late"));
            acts
        };
        let (world, _origin) = world(late).await;
        let mut client = world.client().await;
        for _ in 0..2 {
            assert_eq!(body(&client.get("/", "").await), "late");
        }
    }
}
