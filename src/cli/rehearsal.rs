//! What `simulate` and `plan` are told: a rollout of a configuration, read from its file alone.

use std::path::PathBuf;

use clap::{Args, value_parser};
use serde::Serialize;

use super::failure::Failure;
use crate::config::Config;
use crate::core::model::{ServiceName, ServiceSpec, Span, Strategy, StrategyName};
use crate::core::simulation::{FailureShare, Scenario, Slowdown, Traffic};

/// Which rollout is tried, and what is known of its service.
#[derive(Clone, Debug, Args)]
pub(super) struct RehearsalArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The service; may be left out where the file has only one.
    #[arg(long)]
    service: Option<ServiceName>,
    /// Another strategy than the service's.
    #[arg(long)]
    strategy: Option<StrategyName>,
    /// How many of blue's requests fail.
    #[arg(long, value_name = "PERCENT", default_value = "0.1%")]
    blue_errors: FailureShare,
    /// The median time to an answer, from 1ms to 60s.
    #[arg(long, value_name = "DURATION", default_value = "50ms")]
    latency: Span,
    /// How many targets green has; without it as many as the file gives blue.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u16).range(1..))]
    green_targets: Option<u16>,
    /// How many users there are, in a sticky service; 10000 without it.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1_000_000))]
    users: Option<u32>,
    /// Another seed gives other chances, the same one the same output.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

/// A rollout that can be tried.
#[derive(Debug)]
pub(super) struct Rehearsal {
    pub(super) service: ServiceSpec,
    strategy: Strategy,
    blue_errors: FailureShare,
    latency: Span,
    green_targets: usize,
    users: Option<u32>,
}

/// A scenario as it is told with its result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    service: ServiceName,
    strategy: StrategyName,
    traffic: Traffic,
    blue_errors: FailureShare,
    green_errors: FailureShare,
    latency: Span,
    green_latency: Slowdown,
    starts_after: Span,
    green_targets: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<u32>,
    seed: u64,
}

impl RehearsalArgs {
    /// Reads the configuration and finds what is to be tried.
    pub(super) fn open(&self) -> Result<Rehearsal, Failure> {
        let wrong = |why: String, fix: String| Failure::Usage(why, Some(fix));
        if !LATENCIES.contains(&self.latency.ms()) {
            let why = format!("a latency of {} is not between 1ms and 60s", self.latency);
            return Err(wrong(why, "for example --latency 50ms".to_owned()));
        }
        let config = Config::load(&self.config)
            .map_err(|errors| Failure::Usage(errors.to_string(), None))?;
        let service = self.service(&config)?.clone();
        if service.analysis.is_none() {
            let why = format!("service {} says `analysis: off`: nothing is compared", service.name);
            return Err(wrong(
                why,
                "remove that line to see what a comparison would find".to_owned(),
            ));
        }
        let name = self.strategy.as_ref().unwrap_or(&service.strategy);
        let strategy = config.strategy(name).ok_or_else(|| {
            let known = listed(config.strategies.keys());
            let why = format!("there is no strategy {name} in {}", self.config.display());
            wrong(why, format!("the file declares {known}; predefined names work too"))
        })?;
        if let (Some(why), Some(step)) = (service.never_certified(), strategy.wants_certificate()) {
            let why = format!(
                "steps[{step}] of {name} wants the comparison's certificate, which service {} \
                 never gets: {why}",
                service.name
            );
            return Err(wrong(why, "choose a strategy that asks for `samples`".to_owned()));
        }
        if self.users.is_some() && service.stickiness.is_none() {
            let why = format!("service {} is not sticky: it has no users to count", service.name);
            return Err(wrong(why, "leave --users out".to_owned()));
        }
        let [blue, _] = &service.target_groups;
        let declared = config.target_groups.get(blue).map_or(0, |group| group.targets().len());
        let green_targets = self.green_targets.map_or(declared.max(1), usize::from);
        let (blue_errors, latency, users) = (self.blue_errors, self.latency, self.users);
        Ok(Rehearsal { service, strategy, blue_errors, latency, green_targets, users })
    }

    fn service<'a>(&self, config: &'a Config) -> Result<&'a ServiceSpec, Failure> {
        let known = listed(config.services.keys());
        let wrong = |why: String| Failure::Usage(why, Some(format!("--service, one of {known}")));
        let file = self.config.display();
        match &self.service {
            Some(name) => config
                .services
                .get(name)
                .ok_or_else(|| wrong(format!("there is no service {name} in {file}"))),
            None if config.services.len() > 1 => {
                Err(wrong(format!("{file} has {} services", config.services.len())))
            }
            None => config
                .services
                .values()
                .next()
                .ok_or_else(|| Failure::Usage(format!("{file} has no service"), None)),
        }
    }
}

impl Rehearsal {
    /// The rollout with this traffic and a green that is as good as blue.
    pub(super) fn scenario(&self, traffic: Traffic) -> Scenario {
        let usual = Scenario::new(&self.service, &self.strategy, traffic);
        Scenario {
            blue_errors: self.blue_errors,
            green_errors: self.blue_errors,
            latency: self.latency,
            green_targets: self.green_targets,
            users: self.users.or(usual.users),
            ..usual
        }
    }
}

impl Told {
    pub(super) fn of(scenario: &Scenario, seed: u64) -> Self {
        Self {
            service: scenario.service.clone(),
            strategy: scenario.strategy.clone(),
            traffic: scenario.traffic,
            blue_errors: scenario.blue_errors,
            green_errors: scenario.green_errors,
            latency: scenario.latency,
            green_latency: scenario.green_latency,
            starts_after: scenario.starts_after,
            green_targets: scenario.green_targets,
            users: scenario.users,
            seed,
        }
    }

    /// The rollout and its traffic on one line.
    pub(super) fn heading(&self) -> String {
        let Self { service, strategy, traffic, latency, blue_errors, .. } = self;
        let sticky = self.users.map(|users| format!(" from {users} users")).unwrap_or_default();
        format!(
            "service {service}, strategy {strategy}: {traffic}{sticky}, median latency {latency}, \
             blue fails {blue_errors}, seed {}",
            self.seed
        )
    }
}

/// A time as people say it: below ten seconds with milliseconds.
pub(super) fn said(ms: u64) -> String {
    if ms < 10_000 {
        return Span::from_ms(ms).to_string();
    }
    Span::from_secs((ms + 500) / 1_000).to_string()
}

fn listed<T: ToString>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// In milliseconds.
const LATENCIES: std::ops::RangeInclusive<u64> = 1..=60_000;
