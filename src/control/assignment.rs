//! Assignment: who is drawn in a service, the request or the user, and by what users are known.
//!
//! A rollout keeps to what it was created with. Users who were known by something else from one
//! request to the next would change sides and be counted twice, and the comparison would take for a
//! draw what is none. What the file says otherwise applies when the rollout is over.

use crate::config::Config;
use crate::core::model::{ServiceName, ServiceSpec, Stickiness};
use crate::core::rollout::{Assignment, Spec};

use super::World;
use super::service::ServiceState;

impl World {
    /// What keeps the users of a service on their side now; `None` where requests are drawn.
    pub(super) fn stickiness(
        &self,
        spec: &ServiceSpec,
        state: &ServiceState,
    ) -> Option<Stickiness> {
        let active = state.active.as_ref().and_then(|id| self.rollouts.get(id));
        match active.map(|active| &active.rollout.spec().assignment) {
            Some(Assignment::Users(stickiness)) => Some(stickiness.clone()),
            Some(Assignment::Requests) => None,
            Some(Assignment::AsConfigured) | None => spec.stickiness.clone(),
        }
    }

    /// What of a configuration does not count while rollouts run that were created with something
    /// else.
    pub(super) fn postponed(&self, config: &Config) -> Vec<String> {
        let running = self.rollouts.values().filter(|active| active.ended.is_none());
        running.flat_map(|active| other_terms(active.rollout.spec(), config)).collect()
    }

    /// A rollout is over: what did not count because of it counts now.
    pub(super) fn apply_postponed(&mut self, service: &ServiceName) {
        let Some(spec) = self.config.services.get(service) else {
            return;
        };
        let table = self.table.load();
        let served = table.services.get(service).map(|route| &route.stickiness);
        let is_served = served.is_none_or(|stickiness| *stickiness == spec.stickiness);
        drop(table);
        if !is_served {
            self.publish();
        }
    }
}

/// The keys whose values are others than those that a rollout is compared by.
fn other_terms(spec: &Spec, config: &Config) -> Vec<String> {
    let Some(service) = config.services.get(&spec.service) else {
        return Vec::new();
    };
    let is_assigned_so = match &spec.assignment {
        Assignment::Users(stickiness) => service.stickiness.as_ref() == Some(stickiness),
        Assignment::Requests => service.stickiness.is_none(),
        Assignment::AsConfigured => true,
    };
    [
        ("stickiness", is_assigned_so),
        ("analysis", spec.analysis.compared == service.analysis),
        ("slo", spec.analysis.slo == service.slo),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(key, _)| {
        let (name, id) = (&spec.service, &spec.id);
        format!(
            "services.{name}.{key}: ignored until rollout {id} is over, which keeps what it was \
             created with"
        )
    })
    .collect()
}
