//! `plan`: what can be detected in a rollout at a service's traffic, and how long a certificate
//! takes.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::Exit;
use super::client::Client;
use super::failure::Failure;
use super::rehearsal::{RehearsalArgs, Told, said};
use super::screen::Form;
use super::table::table;
use crate::admin::json::Service;
use crate::core::model::{ServiceName, Span, Step, Weight};
use crate::core::simulation::{Detection, FailureShare, Forecast, Scenario, Traffic};

/// What is planned.
#[derive(Clone, Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    rehearsal: RehearsalArgs,
    /// Requests a second on both sides together, `200rps`; without it the admin API is asked what
    /// the service has now.
    #[arg(long, value_name = "RPS")]
    traffic: Option<Traffic>,
}

/// What can be detected.
#[derive(Debug, Serialize)]
struct Planned {
    scenario: Told,
    weights: Vec<Forecast>,
}

/// Finds out, and tells it. The client is only made where the admin API has to be asked.
pub(super) fn plan(
    args: &PlanArgs,
    client: impl FnOnce() -> Result<Client, Failure>,
    form: Form,
) -> Result<Exit, Failure> {
    let rehearsal = args.rehearsal.open()?;
    let traffic = match args.traffic {
        Some(traffic) => traffic,
        None => measure(&client()?, &rehearsal.service.name)?,
    };
    let scenario = rehearsal.scenario(traffic);
    let seed = args.rehearsal.seed;
    let shares: Vec<FailureShare> =
        SHARES.into_iter().filter(|share| is_wrong(&scenario, *share)).collect();
    let planned = Planned {
        scenario: Told::of(&scenario, seed),
        weights: forecasts(&scenario, &shares, seed),
    };
    form.show(&planned, |planned| render(&scenario, planned));
    Ok(Exit::Succeeded)
}

fn is_wrong(scenario: &Scenario, share: FailureShare) -> bool {
    !Scenario { green_errors: share, ..scenario.clone() }.is_tolerated()
}

/// The traffic that a service has now, by its counters.
fn measure(client: &Client, service: &ServiceName) -> Result<Traffic, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime can be made")?;
    let path = format!("/v1/services/{service}");
    let counted = async || -> Result<u64, Failure> {
        let found: Service = client.get(&path).await?;
        Ok(found.blue.requests.saturating_add(found.green.requests))
    };
    let more = runtime.block_on(async {
        let before = counted().await?;
        tokio::time::sleep(WATCHED).await;
        // A process that was started in between counts from 0.
        Ok::<u64, Failure>(counted().await?.saturating_sub(before))
    })?;
    Traffic::measured(more, WATCHED.as_secs() * 1_000).ok_or_else(|| {
        let seconds = WATCHED.as_secs();
        let why = format!("service {service} had no traffic to speak of in {seconds} seconds");
        Failure::Usage(why, Some("name it, for example --traffic 200rps".to_owned()))
    })
}

/// A forecast for each weight of the strategy at which there is something to compare, at most
/// [`MOST_WEIGHTS`] of them, each on a thread of its own.
fn forecasts(scenario: &Scenario, shares: &[FailureShare], seed: u64) -> Vec<Forecast> {
    let weights: Vec<Weight> =
        shifts(scenario).map(|(weight, _)| weight).take(MOST_WEIGHTS).collect();
    thread::scope(|scope| {
        let working: Vec<_> = weights
            .iter()
            .map(|weight| scope.spawn(move || scenario.forecast(*weight, shares, seed)))
            .collect();
        let done = working.into_iter().map(|worker| worker.join());
        done.map(|forecast| forecast.expect("a forecast does not panic")).collect()
    })
}

/// The weights below 100 % with their bakes.
fn shifts(scenario: &Scenario) -> impl Iterator<Item = (Weight, Span)> + '_ {
    scenario.steps.iter().filter_map(|step| match step {
        Step::Shift(shift) => (shift.weight < Weight::FULL).then_some((shift.weight, shift.bake)),
        Step::Approval(_) => None,
    })
}

fn render(scenario: &Scenario, planned: &Planned) -> String {
    let mut shown = planned.scenario.heading();
    if planned.weights.is_empty() {
        shown.push_str("\n\nthe strategy gives green everything at once: nothing can be compared");
        return shown;
    }
    let rows: Vec<_> = planned
        .weights
        .iter()
        .flat_map(|forecast| forecast.detections.iter().map(|found| row(forecast, found)))
        .collect();
    let header = ["WEIGHT", "GREEN FAILS", "CAUGHT AFTER", "GREEN REQUESTS", "OF THEM FAILED"];
    shown.push_str(&format!("\n\n{}", table(header, &rows)));
    shown.push_str(&format!(
        "\n\nmedians of {} trials each: half of all rollouts take longer\n\n",
        Scenario::TRIALS
    ));
    shown.push_str(&certificates(scenario, planned));
    shown.push_str("\nat 100% nothing can be compared: what judges green are alarms and gates");
    shown
}

fn row(forecast: &Forecast, found: &Detection) -> [String; 5] {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let never = || format!("not within {}", said(forecast.tried_ms));
    [
        forecast.weight.to_string(),
        found.errors.to_string(),
        found.after_ms.map_or_else(never, said),
        number(found.green_requests),
        number(found.green_failed),
    ]
}

fn certificates(scenario: &Scenario, planned: &Planned) -> String {
    let bakes: Vec<Span> = shifts(scenario).map(|(_, bake)| bake).collect();
    let mut lines = Vec::new();
    for (forecast, bake) in planned.weights.iter().zip(bakes) {
        let weight = forecast.weight;
        lines.push(match forecast.certificate {
            None => format!("at {weight}: no certificate is given"),
            Some(needed) => {
                let (requests, after) = (needed.green_requests, said(needed.after_ms));
                let short = if needed.after_ms > bake.ms() {
                    format!("; the step bakes for {bake}, which is too short for that")
                } else {
                    String::new()
                };
                format!(
                    "at {weight}: a certificate takes {requests} green requests without an error, \
                     {after}{short}"
                )
            }
        });
    }
    lines.join("\n")
}

/// The shares of failures that are tried, the largest first.
const SHARES: [FailureShare; 6] = [
    FailureShare::from_bp(10_000),
    FailureShare::from_bp(2_000),
    FailureShare::from_bp(500),
    FailureShare::from_bp(100),
    FailureShare::from_bp(50),
    FailureShare::from_bp(20),
];
/// The most weights that are tried; a strategy of more is told about its first ones.
const MOST_WEIGHTS: usize = 20;
/// How long the traffic is watched.
const WATCHED: Duration = Duration::from_secs(5);
