//! The set of watched targets, and the task that watches each.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use siphasher::sip::SipHasher24;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::Clock;
use crate::core::health::Damper;
use crate::core::model::{HealthCheck, MonoTime, TargetAddress, TargetHealth};
use crate::core::routing::LiveTarget;

use super::line::Line;
use super::{ProbeFailure, ProbeResult, ProbeTarget, check};

/// Watches a set of targets until [`Prober::shutdown`].
#[derive(Debug)]
pub struct Prober {
    runtime: Handle,
    permits: Arc<Semaphore>,
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    /// By the address in memory of the live target, which is held here and therefore its own.
    by_target: BTreeMap<usize, Watch>,
    tasks: JoinSet<()>,
    /// By the address in memory of the link, which the line holds.
    lines: BTreeMap<usize, Arc<Line>>,
}

#[derive(Debug)]
struct Watch {
    watched: ProbeTarget,
    last: Arc<Mutex<Option<ProbeResult>>>,
    task: AbortHandle,
}

impl Prober {
    /// A prober whose tasks run on a runtime; it watches nothing yet.
    #[must_use]
    pub fn start(runtime: Handle) -> Self {
        let permits = Arc::new(Semaphore::new(CHECKS_AT_ONCE));
        Self { runtime, permits, watches: Mutex::default() }
    }

    /// Replaces the set of watched targets.
    ///
    /// A target that stays, with the same check and transport, is watched on as if nothing had
    /// happened; a new one is checked at once. Of several entries for one target the first counts.
    pub fn watch(&self, wanted: Vec<ProbeTarget>) {
        let mut watches = self.watches();
        watches.reap();
        let mut before = std::mem::take(&mut watches.by_target);
        let lines = std::mem::take(&mut watches.lines);
        for wanted in wanted {
            let key = key(&wanted.target);
            if watches.by_target.contains_key(&key) {
                continue;
            }
            let of_link = Arc::as_ptr(&wanted.link).addr();
            let line = match watches.lines.get(&of_link).or_else(|| lines.get(&of_link)) {
                Some(line) => Arc::clone(line),
                None => Arc::new(Line::new(Arc::clone(&wanted.link))),
            };
            watches.lines.insert(of_link, Arc::clone(&line));
            let watch = match before.remove(&key) {
                Some(kept) if kept.goes_on_for(&wanted) => kept,
                changed => {
                    changed.inspect(|watch| watch.task.abort());
                    self.begin(&mut watches.tasks, wanted, line)
                }
            };
            watches.by_target.insert(key, watch);
        }
        before.values().for_each(|gone| gone.task.abort());
    }

    /// Whether the health of every watched target is decided, or will not be for long because its
    /// checks pass and fail by turns; true if none is watched.
    #[must_use]
    pub fn all_decided(&self) -> bool {
        self.watches().by_target.values().all(Watch::is_decided)
    }

    /// Whether the health of a target is decided, as in [`Self::all_decided`]; true if it is not
    /// watched.
    #[must_use]
    pub fn is_decided(&self, target: &LiveTarget) -> bool {
        self.watches().by_target.get(&key(target)).is_none_or(Watch::is_decided)
    }

    /// What the checks of a target came to; `None` if it is not watched, or was not checked yet.
    #[must_use]
    pub fn last(&self, target: &LiveTarget) -> Option<ProbeResult> {
        self.watches().by_target.get(&key(target))?.last()
    }

    /// Ends every task and waits until the last one is gone; nothing is watched afterwards.
    pub async fn shutdown(&self) {
        let mut watches = std::mem::take(&mut *self.watches());
        watches.tasks.shutdown().await;
    }

    fn begin(&self, tasks: &mut JoinSet<()>, watched: ProbeTarget, line: Arc<Line>) -> Watch {
        let last = Arc::default();
        let job = Job {
            target: Arc::clone(&watched.target),
            check: watched.check.clone(),
            last: Arc::clone(&last),
            permits: Arc::clone(&self.permits),
            line,
        };
        let task = tasks.spawn_on(job.run(), &self.runtime);
        Watch { watched, last, task }
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watches {
    /// Lets go of tasks that ended. None does so by itself: one that was not ended by us panicked,
    /// and its target is watched anew.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a health check panicked");
            }
        }
    }
}

impl Watch {
    fn goes_on_for(&self, wanted: &ProbeTarget) -> bool {
        let same = self.watched.check == wanted.check
            && self.watched.link.transport() == wanted.link.transport();
        same && !self.task.is_finished()
    }

    fn is_decided(&self) -> bool {
        let check = &self.watched.check;
        let enough = check.healthy_after.saturating_add(check.unhealthy_after);
        self.watched.target.health() != TargetHealth::Unknown
            || self.last().is_some_and(|last| last.checks >= enough)
    }

    fn last(&self) -> Option<ProbeResult> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn key(target: &LiveTarget) -> usize {
    std::ptr::from_ref(target).addr()
}

/// What one task needs.
struct Job {
    target: Arc<LiveTarget>,
    check: HealthCheck,
    last: Arc<Mutex<Option<ProbeResult>>>,
    permits: Arc<Semaphore>,
    line: Arc<Line>,
}

impl Job {
    async fn run(self) {
        let (clock, mut damper) = (Clock::start(), Damper::new(&self.check));
        let address = self.target.address();
        let interval = Duration::from(self.check.interval).max(SHORTEST_INTERVAL);
        let mut turns = interval_at(Instant::now() + first_pause(address, interval), interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            let result = check::run(address.socket_addr(), &self.check, &self.line).await;
            drop(permit);
            self.report(&mut damper, clock.mono(), result);
            turns.tick().await;
        }
    }

    fn report(&self, damper: &mut Damper, now: MonoTime, result: Result<(), ProbeFailure>) {
        let held = damper.holds();
        let changed = damper.observe(result.is_ok(), now);
        if damper.holds() && !held {
            let address = self.target.address();
            tracing::warn!(%address, "a target's health keeps changing: it is held unhealthy");
        }
        if let Some(health) = changed
            && health != self.target.health()
        {
            self.target.set_health(health);
            let address = self.target.address();
            match &result {
                Ok(()) => tracing::info!(%address, %health, "a target's health changed"),
                Err(reason) => {
                    tracing::info!(%address, %health, %reason, "a target's health changed");
                }
            }
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = last.take();
        let checks = earlier.as_ref().map_or(0, |earlier| earlier.checks).saturating_add(1);
        let passed = result.is_ok();
        let last_failure = result.err().or(earlier.and_then(|earlier| earlier.last_failure));
        *last = Some(ProbeResult { checks, passed, last_failure });
    }
}

/// From the first check to the second: between half an interval and a whole one, always the same
/// for an address, so that targets that start together are not checked together for ever.
fn first_pause(address: TargetAddress, interval: Duration) -> Duration {
    let mut hasher = SipHasher24::new();
    address.hash(&mut hasher);
    let share = f64::from(u32::try_from(hasher.finish() >> 32).expect("half of 64 bits"));
    interval.mul_f64(0.5 + 0.5 * share / f64::from(u32::MAX))
}

const CHECKS_AT_ONCE: usize = 64;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::core::model::{FlapDamping, Probe, Span, Target, TargetGroup, Transport};
    use crate::core::routing::{Link, LiveTargets};

    /// A target that answers every request with the status it is told; 0 is silence, 1 is nonsense.
    struct Origin {
        address: SocketAddr,
        status: Arc<AtomicU16>,
        requests: Arc<AtomicU32>,
        task: AbortHandle,
    }

    impl Origin {
        async fn start(status: u16) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            let status = Arc::new(AtomicU16::new(status));
            let requests = Arc::new(AtomicU32::new(0));
            let (told, seen) = (Arc::clone(&status), Arc::clone(&requests));
            let task = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.expect("accepts");
                    let (told, seen) = (Arc::clone(&told), Arc::clone(&seen));
                    tokio::spawn(async move {
                        let mut request = [0; 1_024];
                        let length = stream.read(&mut request).await.unwrap_or(0);
                        if request[..length].starts_with(b"GET /healthz?deep=1 HTTP/1.1\r\n") {
                            seen.fetch_add(1, Ordering::SeqCst);
                        }
                        let answer = match told.load(Ordering::SeqCst) {
                            0 => return stream.read(&mut request).await,
                            1 => "what?\r\n\r\n".to_owned(),
                            status => format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok"),
                        };
                        stream.write_all(answer.as_bytes()).await.map(|()| 0)
                    });
                }
            });
            Self { address, status, requests, task: task.abort_handle() }
        }

        fn requests(&self) -> u32 {
            self.requests.load(Ordering::SeqCst)
        }

        fn answer(&self, status: u16) {
            self.status.store(status, Ordering::SeqCst);
        }
    }

    fn live(address: SocketAddr) -> Arc<LiveTarget> {
        let name: crate::core::model::TargetGroupName = "g".parse().expect("valid");
        let targets = vec![Target { address: address.into() }];
        let mut live = LiveTargets::default();
        live.register(
            &TargetGroup::new(name.clone(), targets).expect("valid"),
            TargetHealth::Unknown,
        );
        Arc::clone(live.targets(&name).next().expect("one target"))
    }

    fn check(interval: Span) -> HealthCheck {
        HealthCheck {
            probe: Probe::Http {
                path: "/healthz?deep=1".to_owned(),
                host: None,
                expected: "200-299".parse().expect("valid"),
            },
            interval,
            timeout: Span::from_secs(5),
            healthy_after: 2,
            unhealthy_after: 3,
            flaps: FlapDamping::default(),
        }
    }

    fn often() -> HealthCheck {
        check(Span::from_ms(10))
    }

    fn once() -> HealthCheck {
        check(Span::from_hours(1))
    }

    fn watched(target: &Arc<LiveTarget>, check: HealthCheck) -> ProbeTarget {
        let link = Arc::new(Link::new(0, Transport::default()));
        ProbeTarget { target: Arc::clone(target), check, link }
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The only failure of a target that is checked once.
    async fn failure(address: SocketAddr, check: HealthCheck) -> Option<ProbeFailure> {
        let prober = Prober::start(Handle::current());
        let target = live(address);
        prober.watch(vec![watched(&target, check)]);
        until("the target is checked", || prober.last(&target).is_some()).await;
        let last = prober.last(&target).expect("checked");
        prober.shutdown().await;
        assert_eq!(last.passed, last.last_failure.is_none());
        last.last_failure
    }

    #[tokio::test]
    async fn a_target_rises_and_falls_with_its_answers() {
        let origin = Origin::start(200).await;
        let target = live(origin.address);
        let prober = Prober::start(Handle::current());
        prober.watch(vec![watched(&target, often())]);
        until("it is healthy", || target.health() == TargetHealth::Healthy).await;
        assert!(origin.requests() >= 2);
        assert_eq!(prober.last(&target).expect("checked").last_failure, None);
        origin.answer(503);
        until("it is unhealthy", || target.health() == TargetHealth::Unhealthy).await;
        origin.answer(204);
        until("it is healthy again", || target.health() == TargetHealth::Healthy).await;
        let last = prober.last(&target).expect("checked");
        let remembered = Some(ProbeFailure::Status { status: 503 });
        assert_eq!((last.passed, last.last_failure), (true, remembered));
        prober.shutdown().await;
    }

    #[tokio::test]
    async fn a_target_that_keeps_changing_is_held_until_it_was_well_for_a_while() {
        let origin = Origin::start(200).await;
        let target = live(origin.address);
        let prober = Prober::start(Handle::current());
        let flaps = FlapDamping { limit: 2, hold: Span::from_ms(500) };
        let check = HealthCheck { healthy_after: 1, unhealthy_after: 1, flaps, ..often() };
        prober.watch(vec![watched(&target, check)]);
        until("it is healthy", || target.health() == TargetHealth::Healthy).await;
        let answered = async |status: u16, passed: bool| {
            origin.answer(status);
            let before = prober.last(&target).map_or(0, |last| last.checks);
            // Two checks on, the last one was begun after the change.
            let done = |last: ProbeResult| last.checks >= before + 2 && last.passed == passed;
            until("it is checked", || prober.last(&target).is_some_and(done)).await;
        };
        answered(503, false).await;
        assert_eq!(target.health(), TargetHealth::Unhealthy);
        answered(200, true).await;
        assert_eq!(target.health(), TargetHealth::Healthy, "two changes are borne");
        answered(503, false).await;
        let well = Instant::now();
        answered(200, true).await;
        until("it is believed again", || target.health() == TargetHealth::Healthy).await;
        // Whole milliseconds at both ends are a little less.
        assert!(well.elapsed() >= Duration::from_millis(490), "{:?}", well.elapsed());
        prober.shutdown().await;
    }

    #[tokio::test]
    async fn one_check_does_not_make_a_target_healthy() {
        let origin = Origin::start(200).await;
        let target = live(origin.address);
        let prober = Prober::start(Handle::current());
        prober.watch(vec![watched(&target, once())]);
        until("it is checked", || prober.last(&target).is_some()).await;
        assert_eq!(target.health(), TargetHealth::Unknown);
        assert!(!prober.all_decided(), "one check decides nothing");
        assert!(!prober.is_decided(&target));
        assert!(prober.is_decided(&live(origin.address)), "another one, which is not watched");
        prober.shutdown().await;
    }

    #[tokio::test]
    async fn a_failure_says_what_was_wrong() {
        let origin = Origin::start(302).await;
        let said = async |check| failure(origin.address, check).await.map(|f| f.to_string());
        assert_eq!(said(once()).await.as_deref(), Some("status 302"));
        origin.answer(1);
        let broken = said(once()).await.expect("failed");
        assert!(broken.starts_with("broken answer: "), "{broken}");
        origin.answer(0);
        let hasty = HealthCheck { timeout: Span::from_ms(50), ..once() };
        assert_eq!(said(hasty).await.as_deref(), Some("timeout after 50ms"));
        let expected = "200".parse().expect("valid");
        let probe = Probe::Http { path: "/a b".to_owned(), host: None, expected };
        let unsendable = said(HealthCheck { probe, ..once() }).await.expect("failed");
        assert!(unsendable.starts_with("cannot be asked: "), "{unsendable}");
    }

    #[tokio::test]
    async fn a_tcp_check_wants_a_connection_and_no_answer() {
        let tcp = || HealthCheck { probe: Probe::Tcp, ..once() };
        let origin = Origin::start(0).await;
        assert_eq!(failure(origin.address, tcp()).await, None);
        origin.task.abort();
        until("nobody listens", || std::net::TcpStream::connect(origin.address).is_err()).await;
        assert_eq!(failure(origin.address, tcp()).await, Some(ProbeFailure::Refused));
        assert_eq!(failure(origin.address, once()).await, Some(ProbeFailure::Refused));
    }

    #[tokio::test]
    async fn a_target_that_stays_is_watched_on_and_one_that_leaves_is_not() {
        let (first, second) = (Origin::start(500).await, Origin::start(200).await);
        let (stays, leaves) = (live(first.address), live(second.address));
        let prober = Prober::start(Handle::current());
        assert!(prober.all_decided(), "nothing is watched");
        prober.watch(vec![watched(&stays, once()), watched(&leaves, often())]);
        let checked = |target| prober.last(target).is_some();
        until("both are checked", || checked(&stays) && checked(&leaves)).await;

        let third = Origin::start(200).await;
        let comes = live(third.address);
        prober.watch(vec![watched(&stays, once()), watched(&comes, often())]);
        assert!(!prober.last(&stays).expect("still watched").passed);
        assert_eq!(prober.last(&leaves), None);
        until("the new one is healthy", || comes.health() == TargetHealth::Healthy).await;
        until("the old task is gone", || Arc::strong_count(&leaves) == 1).await;
        assert_eq!(first.requests(), 1, "a new task would have checked at once");

        prober.watch(vec![watched(&stays, often())]);
        until("another check applies", || stays.health() == TargetHealth::Unhealthy).await;
        prober.shutdown().await;
    }

    #[tokio::test]
    async fn a_target_listed_twice_is_watched_once() {
        let origin = Origin::start(200).await;
        let target = live(origin.address);
        let prober = Prober::start(Handle::current());
        prober.watch(vec![watched(&target, once()), watched(&target, often())]);
        until("it is checked", || prober.last(&target).is_some()).await;
        assert_eq!(Arc::strong_count(&target), 3, "ours, the set's and one task's");
        prober.shutdown().await;
    }

    #[tokio::test]
    async fn shutdown_ends_every_task() {
        let origin = Origin::start(0).await;
        let targets = [live(origin.address), live(origin.address)];
        let prober = Prober::start(Handle::current());
        prober.watch(targets.iter().map(|target| watched(target, often())).collect());
        until("a check is under way", || origin.requests() > 0).await;
        prober.shutdown().await;
        for target in &targets {
            assert_eq!(Arc::strong_count(target), 1);
            assert_eq!(prober.last(target), None);
        }
    }

    #[test]
    fn the_second_check_comes_after_half_an_interval_to_a_whole_one() {
        let interval = Duration::from_secs(2);
        let pauses: Vec<Duration> = (1..=200)
            .map(|port| first_pause(SocketAddr::from(([127, 0, 0, 1], port)).into(), interval))
            .collect();
        assert!(pauses.iter().all(|pause| (interval / 2..=interval).contains(pause)));
        let early = pauses.iter().filter(|pause| **pause < interval * 3 / 4).count();
        assert!((60..=140).contains(&early), "{early} of 200 in the first half");
        let again = first_pause(SocketAddr::from(([127, 0, 0, 1], 1)).into(), interval);
        assert_eq!(again, pauses[0]);
    }
}
