//! `simulate`: what would become of a rollout, on a virtual clock. Nothing is contacted.

use std::num::NonZero;
use std::thread;

use clap::{Args, value_parser};
use serde::Serialize;

use super::failure::Failure;
use super::line::sparkline;
use super::rehearsal::{RehearsalArgs, Told, said};
use super::screen::Form;
use super::table::table;
use super::{Exit, style};
use crate::core::model::Span;
use crate::core::rollout::StateName;
use crate::core::simulation::{
    Distribution, FailureShare, Glance, Minute, Quantiles, Scenario, Simulated, Slowdown, Traffic,
};

/// What is simulated.
#[derive(Clone, Debug, Args)]
pub(super) struct SimulateArgs {
    #[command(flatten)]
    rehearsal: RehearsalArgs,
    /// Requests a second on both sides together, `200rps`.
    #[arg(long, value_name = "RPS")]
    traffic: Traffic,
    /// How many of green's requests fail; without it as many as blue's.
    #[arg(long, value_name = "PERCENT")]
    green_errors: Option<FailureShare>,
    /// How much longer green takes, `+50%`.
    #[arg(long, value_name = "INCREASE", default_value = "+0%")]
    green_latency: Slowdown,
    /// When that begins, after the start of the rollout.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    starts_after: Span,
    /// Simulate so many rollouts and tell their distribution; without it one, minute by minute.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u64).range(1..=MOST_RUNS))]
    runs: Option<u64>,
}

/// One run with what was simulated.
#[derive(Debug, Serialize)]
struct OneRun {
    scenario: Told,
    #[serde(flatten)]
    run: Simulated,
}

/// Many runs with what was simulated.
#[derive(Debug, Serialize)]
struct ManyRuns {
    scenario: Told,
    #[serde(flatten)]
    distribution: Distribution,
}

/// Simulates, and tells what came of it.
pub(super) fn simulate(args: &SimulateArgs, form: Form) -> Result<Exit, Failure> {
    let rehearsal = args.rehearsal.open()?;
    let mut scenario = rehearsal.scenario(args.traffic);
    scenario.green_errors = args.green_errors.unwrap_or(scenario.blue_errors);
    scenario.green_latency = args.green_latency;
    scenario.starts_after = args.starts_after;
    scenario.permits(args.runs.unwrap_or(1)).map_err(|too_much| {
        let fix = "fewer --runs, less --traffic, or a shorter strategy".to_owned();
        Failure::Usage(too_much.to_string(), Some(fix))
    })?;
    let seed = args.rehearsal.seed;
    let told = Told::of(&scenario, seed);
    let rescue = rehearsal.service.retries.rescue;
    let heading = heading(&scenario, &told);
    match args.runs {
        None => {
            let one = OneRun { scenario: told, run: scenario.simulate(seed) };
            form.show(&one, |one| format!("{heading}\n{}", render(&scenario, &one.run, rescue)));
        }
        Some(runs) => {
            let distribution = Distribution::of(&scenario, &glances(&scenario, seed, runs));
            let many = ManyRuns { scenario: told, distribution };
            form.show(&many, |many| format!("{heading}\n{}", summary(&many.distribution, rescue)));
        }
    }
    Ok(Exit::Succeeded)
}

/// The runs, spread over the processors. What is made of them does not depend on their order.
fn glances(scenario: &Scenario, seed: u64, runs: u64) -> Vec<Glance> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS);
    let part = |first: usize| -> Vec<Glance> {
        let numbers = (first as u64..runs).step_by(workers);
        numbers.map(|n| Glance::at(&scenario.simulate(seed.wrapping_add(n)))).collect()
    };
    let part = &part;
    thread::scope(|scope| {
        let working: Vec<_> = (0..workers).map(|first| scope.spawn(move || part(first))).collect();
        let parts = working.into_iter().map(|worker| worker.join());
        parts.flat_map(|part| part.expect("a simulation does not panic")).collect()
    })
}

fn heading(scenario: &Scenario, told: &Told) -> String {
    let wrong = if scenario.green_errors == scenario.blue_errors
        && scenario.green_latency == Slowdown::default()
    {
        "green is as good as blue".to_owned()
    } else {
        let after = scenario.starts_after;
        let begins = if after == Span::ZERO { String::new() } else { format!(", from {after} on") };
        let tolerated = if scenario.is_tolerated() { " (within the tolerance)" } else { "" };
        let slowdown = scenario.green_latency;
        let slower = if slowdown == Slowdown::default() {
            String::new()
        } else {
            format!(" and takes {slowdown} longer")
        };
        format!("green fails {}{slower}{begins}{tolerated}", scenario.green_errors)
    };
    format!(
        "{}; {wrong}\nnot simulated, and taken to be fine: alarms, gates, health, approvals\n",
        told.heading()
    )
}

fn render(scenario: &Scenario, run: &Simulated, rescue: bool) -> String {
    let rows: Vec<_> = run.minutes.iter().map(row).collect();
    let header =
        ["MINUTE", "WEIGHT", "GREEN", "FAILED", "BLUE", "FAILED", "EVIDENCE", "COMPARISON"];
    let mut shown = table(header, &rows);
    shown.push_str("\n\n");
    if let Some(caught) = &run.caught {
        let bad = style::BAD;
        let (after, weight) = (said(caught.at_ms), caught.weight);
        shown.push_str(&format!(
            "{bad}caught{bad:#} after {after} at {weight}: {}\n",
            caught.reason
        ));
        let began = scenario.starts_after.ms();
        if began > 0 && caught.at_ms >= began {
            shown.push_str(&format!("that is {} after it began\n", said(caught.at_ms - began)));
        }
    }
    let lasted = said(run.lasted_ms);
    let state = style::state(run.state);
    shown.push_str(&format!("the rollout is {state} after {lasted}"));
    if run.state == StateName::Succeeded && !scenario.is_tolerated() {
        shown.push_str(": what is wrong with green was not caught");
    }
    if !run.holds.is_empty() {
        shown.push_str(&format!(", held by: {}", run.holds.join("; ")));
    }
    let (failed, requests) = (run.green.failed, run.green.requests);
    shown.push_str(&format!(
        "\ngreen failed {failed} of {requests} requests: {}",
        users(&format!("{failed} users"), rescue)
    ));
    shown
}

/// What the users see of green's failures.
fn users(failures: &str, rescue: bool) -> String {
    if rescue {
        format!("at most {failures} see a failure; blue answers those that may be sent again")
    } else {
        format!("{failures} see a failure")
    }
}

fn row(minute: &Minute) -> [String; 8] {
    let weights: Vec<String> = minute.weights.iter().map(ToString::to_string).collect();
    // A full column is 10 % there and the whole way here.
    let evidence = minute.evidence.iter().map(|percent| f64::from(*percent) / 1_000.0);
    [
        minute.minute.to_string(),
        weights.join(" "),
        minute.green.requests.to_string(),
        minute.green.failed.to_string(),
        minute.blue.requests.to_string(),
        minute.blue.failed.to_string(),
        sparkline(evidence),
        minute.verdict.clone(),
    ]
}

fn summary(found: &Distribution, rescue: bool) -> String {
    let share = |count: u64| {
        let percent = 100.0 * count as f64 / found.runs.max(1) as f64;
        format!("{count} of {} ({percent:.1}%)", found.runs)
    };
    let mut lines = vec![format!("caught           {}", share(found.caught))];
    if let Some(Quantiles { median, p95 }) = found.caught_after_ms {
        let (median, p95) = (said(median), said(p95));
        lines.push(format!("  after          {median} in the median, {p95} in 19 of 20"));
    }
    lines.push(format!("false rollbacks  {}", share(found.false_rollbacks)));
    lines.push(format!("succeeded        {}", share(found.succeeded)));
    lines.push(format!("otherwise        {}", share(found.otherwise)));
    if let (Some(failed), Some(sent)) = (found.green_failed, found.green_requests) {
        let (median, p95) = (failed.median, failed.p95);
        lines.push(format!(
            "green failed     {median} requests in the median, {p95} in 19 of 20, of {} sent: {}",
            sent.median,
            users("so many users", rescue)
        ));
    }
    lines.join("\n")
}

const MOST_RUNS: u64 = 100_000;
const MOST_WORKERS: usize = 32;
