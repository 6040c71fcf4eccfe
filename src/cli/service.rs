//! `service`: looking at services, and moving traffic by hand.

use http::Method;

use super::args::ServiceCommand;
use super::client::Client;
use super::failure::Failure;
use super::screen::{Form, plain};
use super::table::table;
use super::target_group::register;
use super::{Exit, status};
use crate::admin::json::{NewSplit, Service};

/// Carries out a command.
pub(super) async fn run(
    client: &Client,
    command: ServiceCommand,
    form: Form,
) -> Result<Exit, Failure> {
    let changed = match command {
        ServiceCommand::List => {
            let services: Vec<Service> = client.get_all("/v1/services", usize::MAX).await?;
            form.show_all(&services, list);
            return Ok(Exit::Succeeded);
        }
        ServiceCommand::Show { service } => {
            let found: Service = client.get(&format!("/v1/services/{service}")).await?;
            form.show(&found, render);
            return Ok(Exit::Succeeded);
        }
        ServiceCommand::Targets { service, targets, why } => {
            let path = format!("/v1/services/{service}/green/targets");
            return register(client, &path, targets, why, form).await;
        }
        ServiceCommand::Split { service, weight, why } => {
            let body = NewSplit { green: weight, reason: why.prose()? };
            client.change(Method::PUT, &format!("/v1/services/{service}/split"), &body).await?
        }
        ServiceCommand::Swap { service, why } => {
            let path = format!("/v1/services/{service}/swap");
            client.change(Method::POST, &path, &why.body()?).await?
        }
        ServiceCommand::Revert { service, why } => {
            let path = format!("/v1/services/{service}/revert");
            client.change(Method::POST, &path, &why.body()?).await?
        }
    };
    form.show(&changed, render);
    Ok(Exit::Succeeded)
}

fn list(services: &[Service]) -> String {
    let rows: Vec<_> = services
        .iter()
        .map(|service| {
            [
                service.name.to_string(),
                status::side(&service.blue),
                status::side(&service.green),
                service.weights.configured.green.to_string(),
                service.strategy.to_string(),
                service.active_rollout.as_ref().map(ToString::to_string).unwrap_or_default(),
            ]
        })
        .collect();
    table(["SERVICE", "BLUE", "GREEN", "WEIGHT", "STRATEGY", "ROLLOUT"], &rows)
}

/// A service with all its targets.
fn render(service: &Service) -> String {
    let weights = service.weights;
    let mut shown = format!(
        "{} (version {})\ngreen's weight: configured {}, in force {}, observed {}\n",
        service.name,
        service.version,
        weights.configured.green,
        weights.in_force.green,
        status::observed(weights.observed)
    );
    if let Some(rollout) = &service.active_rollout {
        shown.push_str(&format!("rollout: {rollout}\n"));
    }
    if service.persisted == Some(false) {
        shown.push_str("the change is in force and still being saved\n");
    }
    let mut rows = Vec::new();
    for (role, side) in [("blue", &service.blue), ("green", &service.green)] {
        let revision = side.revision.as_ref().map_or("-", |revision| revision.as_str());
        let row = |address: &str, health: &str, note: &str| {
            [
                role.to_owned(),
                side.target_group.to_string(),
                plain(revision),
                address.to_owned(),
                health.to_owned(),
                plain(note),
            ]
        };
        if side.targets.is_empty() {
            rows.push(row("-", "no targets", ""));
        }
        for target in &side.targets {
            let note = target.last_failure.as_deref().unwrap_or_default();
            let address = match &target.resolved {
                Some(resolved) => format!("{} ({resolved})", target.address),
                None => target.address.clone(),
            };
            rows.push(row(&address, &target.health, note));
        }
    }
    shown + &table(["SIDE", "TARGET GROUP", "REVISION", "TARGET", "HEALTH", "LAST FAILURE"], &rows)
}
