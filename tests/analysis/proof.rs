//! False rollbacks of healthy greens, in whole rollouts with five steps.

use tidegate::core::analysis::comparison::{Chance, ClusterGuard, Rules};
use tidegate::core::analysis::{Answer, Arrival, Trial};

use super::bound::{lower, upper};
use super::traffic;

/// The level that the comparison promises.
const ALPHA: f64 = 0.001;
/// Enough for the tests; too few to say anything about the level itself.
const RUNS: u64 = 10;
/// From so many runs on the bound is asserted, and not only that it is not refuted.
const TELLING_RUNS: u64 = 20_000;

fn runs() -> u64 {
    match std::env::var("TIDEGATE_PROOF_RUNS") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("TIDEGATE_PROOF_RUNS is a number: {text:?}"))
        }
        Err(_) => RUNS,
    }
}

/// How many rollouts were rolled back, and how many there were.
#[expect(clippy::print_stdout, reason = "the result of a measurement, for whoever asks for it")]
fn measure<T: FnMut(&mut Chance, Arrival) -> Answer>(
    name: &str,
    trial: &Trial,
    traffic: impl Fn() -> T,
) -> (u64, u64) {
    let runs = runs();
    let (mut back, mut high) = (0, [0_u64; 2]);
    for seed in 0..runs {
        let report = trial.run(seed, traffic());
        back += u64::from(report.rolled_back_us.is_some());
        for (count, boundary) in high.iter_mut().zip([20.0, 100.0]) {
            *count += u64::from(report.highest >= boundary);
        }
    }
    println!(
        "{name}: {back} of {runs} rolled back, upper 95 % bound {:.5}; E >= 20 in {}, >= 100 in {}",
        upper(back, runs, 0.05),
        high[0],
        high[1],
    );
    (back, runs)
}

/// Measures, and checks against the level.
fn prove<T: FnMut(&mut Chance, Arrival) -> Answer>(
    name: &str,
    trial: &Trial,
    traffic: impl Fn() -> T,
) {
    let (back, runs) = measure(name, trial, traffic);
    assert!(lower(back, runs, 0.000_1) <= ALPHA, "{name}: {back} of {runs}");
    if runs >= TELLING_RUNS {
        let bound = upper(back, runs, 0.05);
        assert!(bound <= ALPHA, "{name}: {back} of {runs}, at most {bound}");
    }
}

#[test]
fn drift_ramps_and_a_shared_outage_roll_nothing_back() {
    let trial = traffic::rollout(100.0, Rules::default());
    prove("drift, ramp and outage", &trial, || traffic::drift_and_outage);
}

#[test]
fn ten_requests_a_second_roll_nothing_back() {
    let trial = traffic::rollout(10.0, Rules::default());
    prove("the same at 10 requests a second", &trial, || traffic::drift_and_outage);
}

#[test]
fn an_outage_that_green_answers_at_once_and_blue_late_rolls_nothing_back() {
    let trial = traffic::rollout(100.0, traffic::strict_errors());
    prove("green fails at once, blue times out", &trial, || traffic::hostile_outage);
}

#[test]
fn clients_that_leave_in_an_outage_roll_nothing_back() {
    let trial = traffic::rollout(100.0, traffic::strict_errors());
    prove("clients leave in an outage", &trial, || traffic::aborts_in_an_outage);
}

#[test]
fn sides_that_hang_as_often_roll_nothing_back() {
    let trial = traffic::rollout(100.0, traffic::latencies());
    prove("both sides hang, by latencies alone", &trial, || traffic::hanging);
    let trial = traffic::rollout(100.0, Rules::default());
    prove("the same by all metrics", &trial, || traffic::hanging);
}

#[test]
fn poison_users_roll_nothing_back() {
    let mut rules = traffic::strict_errors();
    rules.margins = rules.margins.for_units();
    rules.certificate = None;
    let trial = Trial { users: Some(1_000), ..traffic::rollout(100.0, rules) };
    prove("sticky users with broken clients", &trial, || traffic::poison_users);
}

/// Not covered by the guarantee: it is measured what the guard gives, and only that it helps.
#[test]
fn the_guard_helps_against_hosts_that_fail_in_clusters() {
    let off = traffic::rollout(100.0, traffic::strict_errors());
    let on = Trial { guard: ClusterGuard::default(), ..off.clone() };
    let (without, runs) = measure("hosts crash, guard off", &off, traffic::crashing_hosts);
    let (with, _) = measure("hosts crash, guard of 1 s", &on, traffic::crashing_hosts);
    assert!(with <= without, "{with} and {without} of {runs}");
}
