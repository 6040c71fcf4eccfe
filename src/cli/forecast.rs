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
    /// How long the service's traffic was watched, in milliseconds; absent where it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_ms: Option<u64>,
    weights: Vec<PlannedStep>,
    /// How many weights of the strategy there are that nothing is told of.
    weights_left_out: usize,
    /// Whether an objective judges green where nothing can be compared.
    has_slo: bool,
}

/// What can be detected in a step.
#[derive(Debug, Serialize)]
struct PlannedStep {
    #[serde(flatten)]
    forecast: Forecast,
    /// How long it bakes.
    bake: Span,
    bake_ms: u64,
    /// The smallest of the shares tried that, as every larger one, half of all rollouts catch in
    /// that time; `null` if there is none.
    caught_in_bake: Option<FailureShare>,
    /// Whether a green without errors can be certified in that time; `null` where nothing is.
    certified_in_bake: Option<bool>,
}

impl PlannedStep {
    fn new(forecast: Forecast, bake: Span) -> Self {
        let in_time = |found: &&Detection| found.after_ms.is_some_and(|ms| ms <= bake.ms());
        let caught = forecast.detections.iter().take_while(in_time).last();
        Self {
            caught_in_bake: caught.map(|found| found.errors),
            certified_in_bake: forecast.certificate.map(|needed| needed.after_ms <= bake.ms()),
            forecast,
            bake,
            bake_ms: bake.ms(),
        }
    }

    fn said(&self) -> String {
        let (weight, bake) = (self.forecast.weight, self.bake);
        let caught = match self.caught_in_bake {
            Some(share) => format!(
                "at {weight}: a green that fails {share} or more is caught in the step's {bake}"
            ),
            None => format!("at {weight}: nothing of that is caught in the step's {bake}"),
        };
        format!("{caught}\n{}", self.certificate())
    }

    fn certificate(&self) -> String {
        let (weight, bake) = (self.forecast.weight, self.bake);
        let Some(needed) = self.forecast.certificate else {
            return format!("at {weight}: no certificate is given");
        };
        let (requests, after) = (needed.green_requests, said(needed.after_ms));
        let short = match self.certified_in_bake {
            Some(false) => format!("; the step bakes for {bake}, which is too short for that"),
            Some(true) | None => String::new(),
        };
        format!(
            "at {weight}: a certificate takes {requests} green requests without an error, \
             {after}{short}"
        )
    }
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
        measured_ms: args.traffic.is_none().then_some(WATCHED.as_secs() * 1_000),
        weights: steps(&scenario, &shares, seed),
        weights_left_out: shifts(&scenario).count().saturating_sub(MOST_WEIGHTS),
        has_slo: rehearsal.service.slo.is_some(),
    };
    form.show(&planned, render);
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
fn steps(scenario: &Scenario, shares: &[FailureShare], seed: u64) -> Vec<PlannedStep> {
    let planned: Vec<(Weight, Span)> = shifts(scenario).take(MOST_WEIGHTS).collect();
    thread::scope(|scope| {
        let working: Vec<_> = planned
            .iter()
            .map(|(weight, _)| scope.spawn(move || scenario.forecast(*weight, shares, seed)))
            .collect();
        let done = working.into_iter().map(|worker| worker.join());
        let done = done.map(|forecast| forecast.expect("a forecast does not panic"));
        done.zip(&planned).map(|(forecast, (_, bake))| PlannedStep::new(forecast, *bake)).collect()
    })
}

/// The weights below 100 % with their bakes.
fn shifts(scenario: &Scenario) -> impl Iterator<Item = (Weight, Span)> + '_ {
    scenario.steps.iter().filter_map(|step| match step {
        Step::Shift(shift) => (shift.weight < Weight::FULL).then_some((shift.weight, shift.bake)),
        Step::Approval(_) => None,
    })
}

fn render(planned: &Planned) -> String {
    let mut shown = planned.scenario.heading();
    if planned.weights.is_empty() {
        shown.push_str("\n\nthe strategy gives green everything at once: nothing can be compared");
        return shown;
    }
    let rows: Vec<_> = planned
        .weights
        .iter()
        .map(|step| &step.forecast)
        .flat_map(|forecast| forecast.detections.iter().map(|found| row(forecast, found)))
        .collect();
    let header = ["WEIGHT", "GREEN FAILS", "CAUGHT AFTER", "GREEN REQUESTS", "OF THEM FAILED"];
    shown.push_str(&format!("\n\n{}", table(header, &rows)));
    shown.push_str(&format!(
        "\n\nmedians of {} trials each: half of all rollouts take longer\n\n",
        Scenario::TRIALS
    ));
    for step in &planned.weights {
        shown.push_str(&format!("{}\n", step.said()));
    }
    if planned.weights_left_out > 0 {
        let left = planned.weights_left_out;
        shown.push_str(&format!("{left} further weights of the strategy were not tried\n"));
    }
    let judges =
        if planned.has_slo { "its objective, alarms and gates" } else { "alarms and gates" };
    shown.push_str(&format!("at 100% nothing can be compared: what judges green are {judges}"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::simulation::Certificate;

    fn detection(bp: u16, after_ms: Option<u64>) -> Detection {
        let errors = FailureShare::from_bp(bp);
        Detection { errors, green_requests: None, green_failed: None, after_ms }
    }

    fn step(detections: Vec<Detection>, certificate_ms: Option<u64>) -> PlannedStep {
        let weight = Weight::from_bp(1_000).expect("a weight");
        let of = |after_ms| Certificate { green_requests: 914, after_ms };
        let certificate = certificate_ms.map(of);
        let forecast = Forecast { weight, tried_ms: 3_600_000, detections, certificate };
        PlannedStep::new(forecast, Span::from_secs(30))
    }

    #[test]
    fn a_step_says_what_is_caught_in_its_time_and_whether_a_certificate_can_be_there() {
        let detections = vec![
            detection(10_000, Some(60)),
            detection(500, Some(30_000)),
            detection(100, Some(30_001)),
            detection(50, None),
        ];
        let found = step(detections.clone(), Some(45_700));
        assert_eq!(found.caught_in_bake, Some(FailureShare::from_bp(500)));
        assert_eq!(found.certified_in_bake, Some(false));
        assert!(found.said().contains("fails 5% or more is caught in the step's 30s"), "{found:?}");
        assert!(found.said().ends_with("46s; the step bakes for 30s, which is too short for that"));
        let found = step(detections[2..].to_vec(), None);
        assert_eq!((found.caught_in_bake, found.certified_in_bake), (None, None));
        assert!(found.said().contains("nothing of that is caught"), "{}", found.said());
        assert_eq!(step(Vec::new(), Some(30_000)).certified_in_bake, Some(true));
    }

    #[test]
    fn a_program_is_told_the_same_of_a_step() {
        let told = serde_json::to_value(step(vec![detection(500, Some(9))], Some(1))).unwrap();
        assert_eq!((&told["weight"], &told["bake_ms"]), (&"10%".into(), &30_000.into()), "{told}");
        assert_eq!((&told["caught_in_bake"], &told["bake"]), (&"5%".into(), &"30s".into()));
        assert_eq!(told["certified_in_bake"], true);
        assert_eq!(told["detections"][0]["after_ms"], 9);
        assert_eq!(told["certificate"]["green_requests"], 914);
    }
}
