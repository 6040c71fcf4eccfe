//! A load of so many requests a second, over a fixed number of keep-alive connections.
//!
//! It is open as far as its connections go: each has a schedule of its own and catches up with it
//! after a slow answer, so that a proxy that stalls is not spared the requests of that time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::clock::Clock;

use super::LoadReport;
use super::client::Client;

/// What a load asks, and how often.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where to.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: HeaderValue,
    /// Path and query.
    pub path: Uri,
    /// Requests a second over all connections; at least 1.
    pub rate: u32,
    /// How many connections share them; at least 1, at most [`Load::MAX_CONNECTIONS`].
    pub connections: u32,
}

/// A load under way; dropping it ends it at once.
#[derive(Debug)]
pub struct Load {
    report: Arc<Mutex<LoadReport>>,
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

impl Load {
    /// The most connections of a load.
    pub const MAX_CONNECTIONS: u32 = 512;

    /// Starts a load; tasks of the present runtime carry it.
    #[must_use]
    pub fn start(plan: &LoadPlan, clock: Clock) -> Self {
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let (stop, stopped) = watch::channel(false);
        let connections = plan.connections.clamp(1, Self::MAX_CONNECTIONS);
        let gap = Duration::from_secs(1) / plan.rate.max(1);
        let start = Instant::now();
        let mut workers = JoinSet::new();
        for number in 0..connections {
            let mut schedule = interval_at(start + gap * number, gap * connections);
            schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let client = Client::new(plan.address, plan.host.clone(), plan.path.clone());
            let worker = Worker { client, schedule, clock, report: Arc::clone(&report) };
            workers.spawn(worker.run(stopped.clone()));
        }
        Self { report, stop, workers }
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> LoadReport {
        lock(&self.report).clone()
    }

    /// Ends it once the requests under way are answered; gives everything that came of it.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        self.report()
    }
}

/// One connection with its schedule.
struct Worker {
    client: Client,
    schedule: Interval,
    clock: Clock,
    report: Arc<Mutex<LoadReport>>,
}

impl Worker {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                // An error means that the load is gone, which ends it as well.
                _ = stopped.wait_for(|stopped| *stopped) => return,
                _ = self.schedule.tick() => {}
            }
            let began_us = self.clock.mono_us();
            lock(&self.report).note_sent();
            let answer = self.client.ask().await;
            let ended_us = self.clock.mono_us();
            lock(&self.report).note(&answer, began_us, ended_us);
        }
    }
}

fn lock(report: &Mutex<LoadReport>) -> MutexGuard<'_, LoadReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::demo::{Failures, Origin};
    use crate::core::model::Weight;

    /// No test waits longer than this for anything.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn plan(origin: &Origin, rate: u32, connections: u32) -> LoadPlan {
        LoadPlan {
            address: origin.address(),
            host: HeaderValue::from_static("shop.test"),
            path: Uri::from_static("/cart"),
            rate,
            connections,
        }
    }

    async fn until(load: &Load, what: &str, holds: impl Fn(&LoadReport) -> bool) {
        let wait = async {
            while !holds(&load.report()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, wait).await;
        assert!(reached.is_ok(), "never happened: {what}: {:?}", load.report());
    }

    #[tokio::test]
    async fn every_request_is_answered_and_counted_on_both_ends() {
        let origin = Origin::start("v2").await.unwrap();
        let load = Load::start(&plan(&origin, 2_000, 8), Clock::start());
        until(&load, "500 answers", |report| report.answered() >= 500).await;
        let report = load.stop().await;
        assert_eq!(report.sent, report.answered());
        assert_eq!(report.transport_errors, 0, "{:?}", report.faults);
        let counts = origin.counts();
        assert_eq!((counts.requests, counts.failures), (report.sent, 0));
        assert_eq!(counts.connections, 8, "every connection was used again and again");
        assert_eq!(report.revision("v2").answered, report.sent);
        assert_eq!(report.neither.answered, report.sent, "no proxy told a side");
        assert!(report.latency_ms(0.5).is_some());
        origin.shutdown().await;
    }

    #[tokio::test]
    async fn a_schedule_is_kept_over_time() {
        let origin = Origin::start("v2").await.unwrap();
        let clock = Clock::start();
        let began = clock.mono();
        let load = Load::start(&plan(&origin, 500, 4), clock);
        until(&load, "400 answers", |report| report.answered() >= 400).await;
        let took = clock.mono().since(began);
        // The last of 400 is due after 798 ms: a load never runs ahead of its rate.
        assert!(took.ms() >= 790, "{took}");
        drop(load);
    }

    #[tokio::test]
    async fn failures_of_the_origin_are_seen_with_their_times() {
        let origin = Origin::start("v3").await.unwrap();
        let clock = Clock::start();
        let load = Load::start(&plan(&origin, 1_000, 4), clock);
        until(&load, "50 good answers", |report| report.answered() >= 50).await;
        assert_eq!(load.report().revision("v3").failed, 0);
        let changed_us = clock.mono_us();
        origin.set_failures(Failures::Spread(Weight::from_bp(3_000).unwrap()));
        until(&load, "30 failures", |report| report.revision("v3").failed >= 30).await;
        let report = load.stop().await;
        assert_eq!(report.revision("v3").failed, origin.counts().failures);
        assert_eq!(report.errors_of_the_proxy(), 0, "a 500 of an origin is the origin's");
        let (first, last) = (report.revision("v3").first_failed_us, report.revision("v3").last_us);
        assert!(first.is_some_and(|first| first >= changed_us));
        assert!(last >= first);
    }

    #[tokio::test]
    async fn an_origin_that_is_gone_gives_transport_errors_and_words_for_them() {
        let origin = Origin::start("v2").await.unwrap();
        let load = Load::start(&plan(&origin, 400, 2), Clock::start());
        until(&load, "an answer", |report| report.answered() > 0).await;
        origin.shutdown().await;
        until(&load, "an error", |report| report.transport_errors > 0).await;
        let report = load.stop().await;
        assert_eq!(report.sent, report.answered() + report.transport_errors);
        assert!(!report.faults.is_empty() && report.faults.len() <= LoadReport::MAX_FAULTS);
    }

    #[tokio::test]
    async fn a_slow_origin_shows_in_the_latency() {
        let origin = Origin::start("v2").await.unwrap();
        origin.set_latency(Duration::from_millis(30));
        let load = Load::start(&plan(&origin, 200, 8), Clock::start());
        until(&load, "20 answers", |report| report.answered() >= 20).await;
        let latency = load.stop().await.latency_ms(0.5);
        assert!(latency.is_some_and(|ms| ms >= 30.0), "{latency:?}");
    }
}
