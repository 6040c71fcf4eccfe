//! What the comparison costs: on the path of a request with everything on, and in an evaluation.
//!
//! A table at the end says each figure, its bar, and whether it was held. The bench fails only far
//! above a bar, for a machine that does other things as well tells nothing about a factor of two.

mod figures;
mod world;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use criterion::Criterion;
use http::HeaderMap;
use tidegate::clock::Clock;
use tidegate::core::analysis::comparison::{
    AbsoluteRule, Chance, ClusterGuard, Cohort, Comparator, Counters, MetricSet, Rules, Settled,
    Ticket,
};
use tidegate::core::analysis::{SplitCheck, Threshold, Thresholds};
use tidegate::core::model::{
    IssuedCookie, ListenerName, MonoTime, Side, Stickiness, StickyFallback, Weight,
};
use tidegate::core::routing::RoutingTable;
use tidegate::proxy::Selection;
use tidegate::telemetry::{MeterKey, Outcome, OutcomeKind, Recorder};

use figures::Figure;
use world::{GOLDEN, draws, headers, parsed, question, table};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let clock = Clock::start();
    let plain = Scene::new(None, HeaderMap::new());
    let sticky = Scene::new(Some(&stickiness()), headers("x-user-id", "user-4711"));
    let count = |scene: &Scene, worker, each| scene.count(worker, each);
    let decide = |scene: &Scene, worker, each| scene.decide(clock, worker, each);
    let cases: [(&str, &Scene, u64, Work<'_>); 7] = [
        ("arrival and outcome", &plain, 1, &count),
        ("arrival and outcome, 2 threads", &plain, 2, &count),
        ("arrival and outcome, sticky", &sticky, 1, &count),
        ("arrival and outcome, sticky, 2 threads", &sticky, 2, &count),
        ("whole decision, everything on", &plain, 1, &decide),
        ("whole decision, everything on, 2 threads", &plain, 2, &decide),
        ("whole decision, everything on, sticky", &sticky, 1, &decide),
    ];
    let mut figures = Vec::new();
    for (name, scene, threads, work) in cases {
        let run = |each| timed(clock, threads, each, &|worker, each| work(scene, worker, each));
        criterion.bench_function(name, |bencher| bencher.iter_custom(run));
        figures.push(of_request(name, median(|| run(REQUESTS))));
    }
    for (name, looks, hangs) in [
        ("evaluation at 10 000/s, 10 a second", 1, false),
        ("evaluation at 10 000/s, 100 a second", 10, false),
        ("evaluation at 10 000/s, with 64 s of requests open", 1, true),
    ] {
        let each_tick = median(|| evaluations(clock, looks, hangs));
        figures.push(of_evaluation(name, each_tick, !hangs));
    }
    criterion.final_summary();
    figures::tell(&figures, 10.0);
}

/// The work of so many requests by a worker of this number.
type Work<'w> = &'w (dyn Fn(&Scene, u64, u64) + Sync);

/// A service that is compared, with everything on.
struct Scene {
    sticky: bool,
    listener: ListenerName,
    headers: HeaderMap,
    table: ArcSwap<RoutingTable>,
    counters: Arc<Counters>,
    recorder: Recorder,
    /// The number of the next cohort.
    next: AtomicU64,
}

impl Scene {
    fn new(stickiness: Option<&Stickiness>, headers: HeaderMap) -> Self {
        let (sticky, listener) = (stickiness.is_some(), parsed("public"));
        let counters =
            Arc::new(Counters::new(Rules::SMALLEST_RING, sticky, ClusterGuard::default()));
        let table = ArcSwap::from_pointee(table(&listener, stickiness, Some(&counters)));
        let recorder = Recorder::default();
        for (side, group) in [(Side::Blue, "service-0-a"), (Side::Green, "service-0-b")] {
            let (service, target_group) = (parsed("service-0"), parsed(group));
            recorder.register(&MeterKey { service, side, target_group });
        }
        let next = AtomicU64::new(0);
        let scene = Self { sticky, listener, headers, table, counters, recorder, next };
        scene.open();
        scene
    }

    fn open(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.counters.open(&cohort(number), &thresholds());
    }

    /// One task alone opens cohorts: the first worker's.
    fn pass(&self, worker: u64, request: u64) {
        if worker == 0 && request % COHORT == COHORT - 1 {
            self.open();
        }
    }

    /// Arrivals and outcomes.
    fn count(&self, worker: u64, each: u64) {
        let mut chance = Chance::new(worker);
        for request in 0..each {
            self.pass(worker, request);
            let bits = chance.bits();
            let unit = self.sticky.then_some(bits >> 47);
            if let Some(ticket) = self.counters.arrive(side(bits), weight(), unit) {
                self.counters.settle(black_box(ticket), outcome(bits), MonoTime::from_ms(request));
            }
        }
    }

    /// All of the proxy's own work: load the table, choose side and target, count and score.
    fn decide(&self, clock: Clock, worker: u64, each: u64) {
        let mut turn = worker;
        for request in 0..each {
            self.pass(worker, request);
            turn = turn.wrapping_add(GOLDEN);
            let table = self.table.load();
            let question = question(&self.listener, &self.headers);
            let Ok(selection) = Selection::choose(&table, &question, &draws(turn)) else {
                continue;
            };
            let started_us = clock.mono_us();
            self.score(&selection, clock, started_us, turn);
        }
    }

    /// As a request's context does, which keeps its service while it is under way.
    fn score(&self, selection: &Selection<'_>, clock: Clock, started_us: u64, turn: u64) {
        let service = Arc::clone(selection.service);
        let side = selection.side;
        let weight = service.exposure.split.green();
        let counters = service.comparison.as_ref().filter(|_| service.blue_may_serve());
        let ticket = counters.and_then(|counters| counters.arrive(side, weight, selection.unit));
        let (sent_us, settled) = (clock.mono_us(), outcome(turn));
        let answered_us = clock.mono_us().max(sent_us);
        if let (Side::Blue, Some(latency_us)) = (side, settled.latency_us) {
            service.live.latencies.record(latency_us);
        }
        if let Some((counters, mut ticket)) = counters.zip(ticket) {
            counters.written(&mut ticket, settled.endpoint, MonoTime::from_ms(sent_us / 1_000));
            counters.settle(ticket, settled, MonoTime::from_ms(answered_us / 1_000));
        }
        let kind = OutcomeKind::Status(if settled.errors { 503 } else { 200 });
        let latency_us = answered_us.saturating_sub(started_us);
        let meter = service.side(side).meter;
        self.recorder.record(meter, Outcome { kind, latency_us, rescued: false });
    }
}

/// The time of 100 ms of evaluations in the middle of a rollout, in which there are so many looks,
/// while requests take up to a second, or some of them longer than the ring is.
fn evaluations(clock: Clock, looks: u64, hangs: bool) -> Duration {
    let absolute = Some(AbsoluteRule::for_objective(0.999));
    let mut comparator = Comparator::new(Rules { absolute, ..Rules::default() });
    let counters = Counters::new(Rules::SMALLEST_RING, false, ClusterGuard::default());
    let mut split = SplitCheck::default();
    let mut chance = Chance::new(7);
    let mut open: Vec<(u64, Ticket, Settled)> = Vec::new();
    let mut took_us = 0;
    for tick in 0..WARM_UP + TICKS {
        let begun = clock.mono_us();
        comparator.fold();
        comparator.time_by(&thresholds());
        comparator.open(cohort(tick)).expect("numbers grow");
        counters.open(&cohort(tick), &thresholds());
        let mut spent = clock.mono_us() - begun;
        for _ in 0..looks {
            for request in 0..COHORT / looks {
                let bits = chance.bits();
                let Some(mut ticket) = counters.arrive(side(bits), weight(), None) else {
                    continue;
                };
                let settled = outcome(bits);
                counters.written(&mut ticket, settled.endpoint, MonoTime::from_ms(tick * 100));
                let ticks = match request {
                    0 if hangs => 2 * WARM_UP,
                    _ => (bits >> 32) % 11 * ((bits >> 40) % 2),
                };
                open.push((tick + ticks, ticket, settled));
            }
            let due = open.extract_if(.., |(due, ..)| *due <= tick);
            due.for_each(|(_, ticket, settled)| {
                counters.settle(ticket, settled, MonoTime::from_ms(tick * 100));
            });
            let begun = clock.mono_us();
            let numbers: Vec<u64> = comparator.open_cohorts().collect();
            for number in numbers {
                if let Some(cells) = counters.read(number) {
                    comparator.observe(number, &cells);
                }
            }
            split.observe(counters.drawn());
            black_box(comparator.evaluate(MonoTime::from_ms(tick * 100), 4));
            spent += clock.mono_us() - begun;
        }
        took_us += if tick < WARM_UP { 0 } else { spent };
    }
    Duration::from_nanos(took_us * 1_000 / TICKS)
}

/// Of a request of each thread.
fn of_request(name: &'static str, took: Duration) -> Figure {
    let found = took.as_nanos() as f64 / REQUESTS as f64;
    Figure { name, found, unit: "ns", bar: Some(1_000.0) }
}

/// Of what is evaluated in 100 ms, as the share of a core.
fn of_evaluation(name: &'static str, took: Duration, has_bar: bool) -> Figure {
    let found = took.as_secs_f64() / 0.1 * 100.0;
    Figure { name, found, unit: "% of a core", bar: has_bar.then_some(1.0) }
}

/// From when all workers are ready until all are done.
fn timed(clock: Clock, threads: u64, each: u64, work: &(dyn Fn(u64, u64) + Sync)) -> Duration {
    let places = usize::try_from(threads).expect("they are few") + 1;
    let barrier = Barrier::new(places);
    thread::scope(|scope| {
        let barrier = &barrier;
        let worker = |number| {
            scope.spawn(move || {
                barrier.wait();
                work(number, each);
            })
        };
        let workers: Vec<_> = (0..threads).map(worker).collect();
        barrier.wait();
        let begun = clock.mono_us();
        workers.into_iter().for_each(|worker| worker.join().expect("it does not panic"));
        Duration::from_micros(clock.mono_us() - begun)
    })
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    all.sort();
    all[RUNS / 2]
}

fn stickiness() -> Stickiness {
    let (header, cookie) = (Some("x-user-id".to_owned()), Some("session".to_owned()));
    let issued = IssuedCookie::default();
    Stickiness { header, cookie, fallback: StickyFallback::IssuedCookie, issued }
}

fn cohort(number: u64) -> Cohort {
    Cohort { number, epoch: number / 300, step: 0, weight: weight(), dormant: MetricSet::NONE }
}

fn thresholds() -> Thresholds {
    let threshold = |us| Some(Threshold { blue_us: us, green_us: us + us / 10 + 2_000 });
    Thresholds { each: [threshold(50_000), threshold(90_000), threshold(300_000)] }
}

fn weight() -> Weight {
    Weight::from_bp(1_000).expect("10 % is a weight")
}

fn side(bits: u64) -> Side {
    if bits.is_multiple_of(10) { Side::Green } else { Side::Blue }
}

/// One in 64 fails, one in 64 is a client error, and half are slower than the median.
fn outcome(bits: u64) -> Settled {
    let (errors, client4xx) = ((bits >> 8).is_multiple_of(64), (bits >> 8) % 64 == 1);
    let latency_us = (!errors).then_some((bits >> 16) % 100_000);
    let endpoint = usize::try_from((bits >> 20) % 4).ok();
    Settled { errors, client4xx, latency_us, endpoint }
}

/// How many requests a cohort gets: 100 ms at 10 000 a second.
const COHORT: u64 = 1_000;
/// How many requests a figure is of.
const REQUESTS: u64 = 1_000_000;
const RUNS: usize = 5;
/// How many cohorts come before those that are timed: a whole ring.
const WARM_UP: u64 = 640;
const TICKS: u64 = 200;
