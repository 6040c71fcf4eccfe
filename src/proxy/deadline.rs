//! The deadline of a request's whole header.
//!
//! Pingora bounds each read, so that a client that sends a byte now and then could hold a
//! connection for ever. On a reused connection the time allowed is that of an idle connection
//! and of a header together: nothing tells here when the first byte came, and a client that may
//! sit idle for as long gains nothing by dripping.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use tokio::time::sleep;

use super::limits::Limits;

/// Closes connections whose header does not come to an end in time.
pub(super) struct Guarded<A> {
    app: Arc<A>,
    limits: Limits,
}

impl<A> Guarded<A> {
    pub(super) fn new(app: A, limits: Limits) -> Self {
        Self { app: Arc::new(app), limits }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Guarded<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let allowed = match session.take_connection_user_context() {
            Some(_reused) => self.limits.keepalive + self.limits.header,
            None => self.limits.header,
        };
        let read = HeaderRead::default();
        session.set_connection_user_context(Some(Box::new(read.clone())));
        let mut request = self.app.process_new_http(session, shutdown);
        tokio::select! {
            biased;
            reusable = &mut request => return reusable,
            () = sleep(allowed) => {}
        }
        if read.is_set() { request.await } else { None }
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

/// Tells the deadline that a header was read.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderRead(Arc<AtomicBool>);

impl HeaderRead {
    /// Called with a connection's context as soon as a header was read.
    pub(super) fn tell(context: &(dyn Any + Send + Sync)) {
        if let Some(read) = context.downcast_ref::<Self>() {
            read.0.store(true, Ordering::Release);
        }
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The context that a connection carries from one request to the next: that there was one.
#[derive(Debug)]
pub(super) struct Reused;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Limits;
    use super::super::testkit::Act;
    use super::super::testkit::{Client, Origin, World, body, ok, service, table};
    use crate::core::model::WhenIdle;

    const GAP: Duration = Duration::from_millis(20);

    async fn world(script: fn(&str, usize) -> Vec<Act>) -> (World, Origin) {
        let origin = Origin::new(script).await;
        let limits = Limits {
            header: Duration::from_millis(300),
            keepalive: Duration::from_secs(1),
            ..Limits::default()
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
