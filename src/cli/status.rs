//! `status`: every service on a line, and why active rollouts do not advance.

use serde::Serialize;

use super::client::Client;
use super::failure::Failure;
use super::line::step;
use super::screen::{Form, plain};
use super::table::table;
use super::{Exit, style};
use crate::admin::json::{ObservedShare, Rollout, Service, ServiceSide};

/// A service with its active rollout.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    #[serde(flatten)]
    pub(super) service: Service,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollout: Option<Rollout>,
}

/// Shows all services.
pub(super) async fn status(client: &Client, form: Form) -> Result<Exit, Failure> {
    let services: Vec<Service> = client.get_all("/v1/services", usize::MAX).await?;
    let mut all = Vec::new();
    for service in services {
        let rollout = match &service.active_rollout {
            Some(id) => Some(client.get(&format!("/v1/rollouts/{id}?history=false")).await?),
            None => None,
        };
        all.push(Status { service, rollout });
    }
    form.show_all(&all, render);
    Ok(Exit::Succeeded)
}

/// A table, and below it the holds.
pub(super) fn render(all: &[Status]) -> String {
    let rows: Vec<_> = all
        .iter()
        .map(|Status { service, rollout }| {
            [
                service.name.to_string(),
                side(&service.blue),
                side(&service.green),
                service.weights.configured.green.to_string(),
                service.weights.in_force.green.to_string(),
                observed(service.weights.observed),
                rollout.as_ref().map(summary).unwrap_or_default(),
            ]
        })
        .collect();
    let header = ["SERVICE", "BLUE", "GREEN", "CONFIGURED", "IN FORCE", "OBSERVED", "ROLLOUT"];
    let mut shown = table(header, &rows);
    for rollout in all.iter().filter_map(|status| status.rollout.as_ref()) {
        for hold in &rollout.holds {
            let warn = style::WARN;
            let text = plain(&hold.text);
            shown.push_str(&format!("\n{} {warn}holds:{warn:#} {text}", rollout.id));
        }
    }
    shown
}

/// A side in a few words.
pub(super) fn side(side: &ServiceSide) -> String {
    let revision = side.revision.as_ref().map_or("-", |revision| revision.as_str());
    let healthy = style::healthy(side.healthy, side.targets.len());
    format!("{} {} {healthy}", side.target_group, plain(revision))
}

/// The observed share with the number of requests behind it.
pub(super) fn observed(observed: ObservedShare) -> String {
    match observed.green {
        Some(green) => format!("{green} of {}", observed.requests),
        None => "-".to_owned(),
    }
}

fn summary(rollout: &Rollout) -> String {
    format!("{} {} {}", rollout.id, style::state(rollout.state), step(rollout))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::{rollout, service};
    use anstream::adapter::strip_str;

    #[test]
    fn every_service_has_a_line_and_every_hold_another() {
        let all = [Status { service: service(), rollout: Some(rollout()) }];
        assert_eq!(
            strip_str(&render(&all)).to_string(),
            "SERVICE  BLUE           GREEN          CONFIGURED  IN FORCE  OBSERVED    ROLLOUT\n\
             shop     shop-a v1 1/1  shop-b v2 1/2  10.25%      10%       12.5% of 8  \
             d-ABCDEFGHI shifting 1/2\n\
             d-ABCDEFGHI holds: 312 more green requests"
        );
    }
}
