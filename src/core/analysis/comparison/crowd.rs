//! Many threads that count at once, at random, while cohorts are opened and weights change: nothing
//! is lost, nothing is counted twice, and nothing is read without what belongs to it.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use crate::core::analysis::thresholds::{Threshold, Thresholds};
use crate::core::model::{MonoTime, Side, Span, Weight};

use super::*;

/// Not in order: the median of the last epoch is above the tail of older ones.
const SLOW_US: [u64; 3] = [300, 100, 200];
/// How many requests lie between two cohorts.
const COHORT: u64 = 64;

/// What one thread did, as it should be found.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    cells: Cells,
    green_bad: u64,
}

#[derive(Clone, Copy, Debug)]
struct Crowd {
    threads: u64,
    requests: u64,
    sticky: bool,
    seed: u64,
}

struct Scene {
    counters: Counters,
    /// The weight in the table.
    weight: AtomicU16,
    /// Arrivals so far, counted or not.
    sent: AtomicU64,
}

impl Scene {
    fn open(&self, number: u64) {
        let bp = if (number / 4).is_multiple_of(2) { 1_000 } else { 500 };
        let weight = weight(bp);
        let dormant = MetricSet::NONE;
        let threshold = |us| Some(Threshold { blue_us: us, green_us: us });
        let thresholds = Thresholds { each: SLOW_US.map(threshold) };
        let cohort = Cohort { number, epoch: 0, step: 0, weight, dormant };
        self.weight.store(bp, Ordering::Release);
        self.counters.open(&cohort, &thresholds);
    }

    /// Sends requests, of which some are open at once.
    fn send(&self, crowd: Crowd, thread: u64) -> Done {
        let mut chance = Chance::new(crowd.seed.wrapping_add(thread));
        let (mut done, mut held) = (Done::default(), Vec::new());
        for turn in 0..crowd.requests {
            let side = if chance.yes(0.5) { Side::Green } else { Side::Blue };
            let unit = crowd.sticky.then(|| chance.bits() % 97);
            self.sent.fetch_add(1, Ordering::Relaxed);
            let weight = weight(self.weight.load(Ordering::Acquire));
            if let Some(mut ticket) = self.counters.arrive(side, weight, unit) {
                done.cells.arrive(side, MetricSet::ALL);
                let endpoint = (chance.bits() % 20) as usize;
                if chance.yes(0.5) {
                    let now = MonoTime::from_ms(0);
                    self.counters.written(&mut ticket, Some(endpoint), now);
                }
                held.push((ticket, side, endpoint));
            }
            if turn % 8 == 7 {
                self.settle(&mut held, &mut chance, &mut done);
            }
        }
        self.settle(&mut held, &mut chance, &mut done);
        done
    }

    fn settle(&self, held: &mut Vec<(Ticket, Side, usize)>, chance: &mut Chance, done: &mut Done) {
        for (ticket, side, endpoint) in held.drain(..) {
            let (errors, client4xx) = match chance.bits() % 4 {
                0 => (true, false),
                1 => (false, true),
                _ => (false, false),
            };
            let latency_us = (!errors).then(|| chance.bits() % 400);
            let endpoint = Some(endpoint);
            let settled = Settled { errors, client4xx, latency_us, endpoint };
            if let (Side::Green, Some(endpoint)) = (side, endpoint) {
                done.cells.write(endpoint);
                done.cells.time(endpoint);
            }
            self.counters.settle(ticket, settled, MonoTime::from_ms(0));
            let slow = |us: u64| latency_us.is_none_or(|latency_us| latency_us > us);
            let [p50, p90, p99] = SLOW_US.map(slow);
            for (metric, bad) in Metric::ALL.into_iter().zip([errors, client4xx, p50, p90, p99]) {
                done.cells.settle(metric, side, bad, endpoint);
            }
            done.cells.absolute.settle(side, errors);
            done.green_bad += u64::from(side == Side::Green && (errors || client4xx));
        }
    }
}

fn weight(bp: u16) -> Weight {
    Weight::from_bp(bp).expect("in range")
}

/// What the threads did together, what was found of it, and how many cohorts there were.
fn play(crowd: Crowd) -> (Done, Vec<Cells>, Scene) {
    let ring = usize::try_from(crowd.threads * crowd.requests / COHORT + 8).expect("small");
    let counters = Counters::new(ring, crowd.sticky, ClusterGuard::new(Span::ZERO));
    let scene = Scene { counters, weight: AtomicU16::new(0), sent: AtomicU64::new(0) };
    scene.open(0);
    let mut number = 0_u64;
    let all = std::thread::scope(|scope| {
        let sender = |thread| {
            let scene = &scene;
            scope.spawn(move || scene.send(crowd, thread))
        };
        let work: Vec<_> = (0..crowd.threads).map(sender).collect();
        while work.iter().any(|thread| !thread.is_finished()) {
            if scene.sent.load(Ordering::Relaxed) >= (number + 1) * COHORT {
                number += 1;
                scene.open(number);
            }
            for number in number.saturating_sub(2)..=number {
                let cells = scene.counters.read(number).expect("nothing comes late");
                assert!(is_sound(&cells), "{cells:?}");
            }
            std::thread::yield_now();
        }
        let done = work.into_iter().map(|thread| thread.join().expect("it does not panic"));
        done.fold(Done::default(), |sum, more| Done {
            cells: sum.cells.plus(&more.cells),
            green_bad: sum.green_bad + more.green_bad,
        })
    });
    let read = |number| scene.counters.read(number).expect("in the ring");
    let found = (0..=number).map(read).collect();
    (all, found, scene)
}

/// Whether every outcome has its arrival, and every named target its outcome.
fn is_sound(cells: &Cells) -> bool {
    let of_targets = |metric: Metric| cells.bad_by_endpoint[metric.index()].iter().sum::<u32>();
    let mut rows = cells.rows.iter().chain([&cells.absolute]);
    let arrived = |row: &Row| {
        row.green_bad + row.green_ok <= row.green && row.blue_bad + row.blue_ok <= row.blue
    };
    let timed = |place: usize| cells.green_timed[place] <= cells.green_written[place];
    rows.all(arrived)
        && (0..ENDPOINTS).all(timed)
        && cells.green_written.iter().sum::<u32>() <= cells.absolute.green
        && Metric::ALL.iter().all(|m| of_targets(*m) == cells.rows[m.index()].green_bad)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_crowd_loses_nothing(
        threads in 2_u64..5,
        requests in 1_u64..3_000,
        seed in any::<u64>(),
    ) {
        let (done, found, scene) = play(Crowd { threads, requests, sticky: false, seed });
        prop_assert!(found.iter().all(Cells::is_complete));
        let sum = found.iter().fold(Cells::default(), |sum, more| sum.plus(more));
        prop_assert_eq!(sum, done.cells);
        prop_assert_eq!(scene.counters.green_bad(), done.green_bad);
    }

    #[test]
    fn a_crowd_of_users_counts_each_once(
        threads in 2_u64..5,
        requests in 1_u64..3_000,
        seed in any::<u64>(),
    ) {
        let (done, found, scene) = play(Crowd { threads, requests, sticky: true, seed });
        prop_assert!(found.iter().all(Cells::is_complete));
        let sum = found.iter().fold(Cells::default(), |sum, more| sum.plus(more));
        prop_assert_eq!(sum.absolute, done.cells.absolute, "every request");
        for metric in Metric::ALL {
            let row = sum.rows[metric.index()];
            prop_assert!(row.green_bad + row.blue_bad <= 97, "once a user: {:?}", row);
        }
        let bad = sum.rows[0].green_bad + sum.rows[1].green_bad;
        prop_assert_eq!(scene.counters.green_bad(), u64::from(bad));
    }
}
