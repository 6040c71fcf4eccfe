//! A seeded simulation of a rollout with everything around it that can go wrong.
//!
//! The rollout machine is the real one; store, routing table, table file, gates, alarms, targets,
//! people and time are models that the same seed drives to the same end. The process may crash
//! between any two effects. [`invariants`] says what must hold whatever happens.
//!
//! A failure prints its seed and the run's log. To see that run again:
//! `TIDEGATE_SIM_RUNS=1 TIDEGATE_SIM_SEED=<seed> cargo test --test simulation`.

mod found;
mod gates;
mod invariants;
mod ledger;
mod log;
mod nature;
mod plan;
mod store;
mod table;
mod world;

use std::collections::BTreeMap;

use tidegate::core::model::Weight;

use invariants::Broken;
use world::{Crashes, Ran, World};

const RUNS: u64 = 20_000;
/// From so many runs on every outcome must occur; continuous integration makes as many.
const TELLING_RUNS: u64 = 10_000;
const FIRST_SEED: u64 = 0x71DE_6A7E;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, found {text:?}")),
        Err(_) => default,
    }
}

fn runs() -> u64 {
    setting("TIDEGATE_SIM_RUNS", RUNS)
}

fn seeds(share: u64) -> impl Iterator<Item = u64> {
    let first = setting("TIDEGATE_SIM_SEED", FIRST_SEED);
    let runs = runs().div_ceil(share);
    (0..runs).map(move |n| first.wrapping_add(n))
}

/// The runs that failed, told by what was broken.
#[derive(Default)]
struct Failures(BTreeMap<String, Failure>);

struct Failure {
    count: u64,
    shortest: Vec<String>,
    broken: String,
}

impl Failures {
    /// Logs of more runs than this are not looked at for the shortest.
    const LOGS: u64 = 50;

    /// Notes a run, and makes it again for its log.
    fn add(&mut self, seed: u64, broken: &Broken, again: impl FnOnce() -> World) {
        let fresh = Failure { count: 0, shortest: Vec::new(), broken: String::new() };
        let failure = self.0.entry(broken.invariant().to_owned()).or_insert(fresh);
        failure.count += 1;
        if failure.count <= Self::LOGS {
            let log = again().with_log().run().1;
            if failure.shortest.is_empty() || log.len() < failure.shortest.len() {
                failure.shortest = log;
                failure.broken = format!("seed {seed}: {broken}");
            }
        }
    }

    /// Fails with all of them, and with the log of the shortest run.
    fn tell(self) {
        let Some(worst) = self.0.values().min_by_key(|failure| failure.shortest.len()) else {
            return;
        };
        let all: String =
            self.0.values().map(|f| format!("{} runs, one is {}\n", f.count, f.broken)).collect();
        panic!("{}\n{}\n\n{all}", worst.shortest.join("\n"), worst.broken);
    }
}

#[test]
fn no_run_breaks_an_invariant() {
    let mut ended = [0_u64; 5];
    let mut failures = Failures::default();
    for seed in seeds(1) {
        match World::changing(seed).run().0 {
            Ok(ran) => ended[ran.outcome.map_or(4, |outcome| outcome as usize)] += 1,
            Err(broken) => failures.add(seed, &broken, || World::changing(seed)),
        }
    }
    failures.tell();
    // A simulation that always ends in the same way sees little.
    if runs() >= TELLING_RUNS {
        assert!(ended.iter().all(|count| *count > 0), "{ended:?} of every outcome");
    }
}

#[test]
fn a_restart_at_any_point_ends_as_no_restart() {
    const POINTS: u64 = 10;
    let mut failures = Failures::default();
    for seed in seeds(POINTS) {
        let whole = match World::stationary(seed, Crashes::Never).run().0 {
            Ok(ran) => ran,
            Err(broken) => {
                failures.add(seed, &broken, || World::stationary(seed, Crashes::Never));
                continue;
            }
        };
        for part in 0..POINTS {
            // The points differ from seed to seed, so that every one has its turn.
            let after = 1 + (part * whole.effects + seed % whole.effects) / POINTS;
            let broken = match World::stationary(seed, Crashes::After(after)).run().0 {
                Ok(ran) if ends_alike(&whole, &ran) => continue,
                Ok(ran) => {
                    let what = format!("crash after effect {after}: {ran:?} instead of {whole:?}");
                    Broken::of("a restart ends as no restart", what)
                }
                Err(broken) => broken,
            };
            failures.add(seed, &broken, || World::stationary(seed, Crashes::After(after)));
        }
    }
    failures.tell();
}

/// A rollout that was never stored does not exist; where a crash came between lowering green and
/// the record of that, both endings are legal.
fn ends_alike(whole: &Ran, ran: &Ran) -> bool {
    ran.outcome.is_none() || ran.lowered_unrecorded || whole.outcome == ran.outcome
}

/// Here the abort is exposed by the very call that brings it, so no time passes at all; that the
/// process around it needs no more than 100 ms is measured end to end.
#[test]
fn a_store_that_blocks_delays_no_abort() {
    let mut aborted = 0;
    for seed in seeds(10) {
        let mut world = World::stationary(seed, Crashes::Never);
        let mut until_weight = || world.run_until(|world| world.table().green() > Weight::ZERO);
        match until_weight() {
            Ok(true) => {}
            Ok(false) => continue,
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
        let before = world.time();
        world.block_store();
        let unsaved = world.store().stored().map(|rollout| rollout.state().name());
        world.abort().unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        assert_eq!(world.table().green(), Weight::ZERO, "seed {seed}");
        assert_eq!(world.time(), before, "seed {seed}");
        let stored = world.store().stored().map(|rollout| rollout.state().name());
        assert_eq!(stored, unsaved, "seed {seed}: the store is blocked");
        let ran = world.run().0.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        assert!(ran.time >= before + store::BLOCKED_MS, "seed {seed}: it was saved in the end");
        aborted += 1;
    }
    assert!(aborted > 0 || runs() < TELLING_RUNS, "no world got as far as an abort");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in seeds(20) {
        let log = || World::changing(seed).with_log().run().1;
        assert!(log() == log(), "seed {seed}");
    }
}
