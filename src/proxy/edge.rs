//! The outermost layer of a connection: counted while it is open, and cut when a shutdown's
//! deadline is over.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;

use super::drain::Drain;

/// Wraps the application that serves connections.
pub(super) struct Edge<A> {
    app: Arc<A>,
    drain: Arc<Drain>,
}

impl<A> Edge<A> {
    pub(super) fn new(app: A, drain: Arc<Drain>) -> Self {
        Self { app: Arc::new(app), drain }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Edge<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let _open = self.drain.connection();
        let mut cut = self.drain.cut_signal();
        tokio::select! {
            biased;
            reusable = self.app.process_new(stream, shutdown) => reusable,
            _ = cut.wait_for(|cut| *cut) => None,
        }
    }

    async fn cleanup(&self) {
        self.drain.linger().await;
        self.app.cleanup().await;
    }
}
