//! Publishing: from what the writer knows to the table that requests load.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::analysis::comparison::Counters;
use crate::core::model::{ServiceName, ServiceSpec, Side, TargetGroupName, TargetHealth};
use crate::core::routing::{ListenerRoutes, LiveService, RoutingTable, ServiceRoute, SideRoute};
use crate::probe::ProbeTarget;
use crate::store::{ServiceImage, TableImage};
use crate::telemetry::MeterKey;

use super::World;
use super::comparing::Comparing;
use super::service::ServiceState;

impl World {
    /// Makes the present state the table that the next request loads, one generation on.
    pub(super) fn publish(&mut self) {
        self.generation += 1;
        self.kept.links.follow(&self.config.transports);
        let services: BTreeMap<ServiceName, Arc<ServiceRoute>> = self
            .config
            .services
            .values()
            .filter_map(|spec| {
                let state = self.services.get(&spec.name)?;
                Some((spec.name.clone(), Arc::new(self.route(spec, state))))
            })
            .collect();
        let listeners = self
            .config
            .listeners
            .iter()
            .map(|spec| {
                let routes = ListenerRoutes::new(spec.test, &spec.rules, &services);
                (spec.name.clone(), routes)
            })
            .collect();
        let table = RoutingTable { generation: self.generation, listeners, services };
        table.mark_carriers();
        self.table.store(Arc::new(table));
        self.kept.config = Some(Arc::clone(&self.config));
        self.changed = true;
        self.table_writer.write(self.image());
    }

    fn route(&self, spec: &ServiceSpec, state: &ServiceState) -> ServiceRoute {
        ServiceRoute {
            name: spec.name.clone(),
            generation: self.generation,
            exposure: state.exposure,
            blue: self.side(spec, Side::Blue, &state.record.blue),
            green: self.side(spec, Side::Green, state.green(spec)),
            stickiness: self.stickiness(spec, state),
            balance: spec.balance,
            panic: spec.panic,
            timeouts: spec.timeouts,
            tell_side: spec.tell_side,
            drain: spec.drain,
            release: Arc::clone(&spec.release),
            target_limit: spec.target_limit,
            retries: spec.retries.clone(),
            mirror: spec.mirror,
            live: self.live_service(spec),
            comparison: self.comparison(state),
        }
    }

    /// Where requests are counted for the comparison; `None` outside of rollouts that compare, and
    /// where there is no green any more: that table may outlive the rollout for long.
    fn comparison(&self, state: &ServiceState) -> Option<Arc<Counters>> {
        if !state.exposure.green_exists {
            return None;
        }
        let active = self.rollouts.get(state.active.as_ref()?)?;
        active.comparing.as_ref().map(Comparing::counters)
    }

    /// What a service keeps, from the table before; anew if it was not in there.
    fn live_service(&self, spec: &ServiceSpec) -> Arc<LiveService> {
        let before = self.table.load();
        match before.services.get(&spec.name) {
            Some(route) => Arc::clone(&route.live),
            None => Arc::new(LiveService::new(spec.retries.min_per_second)),
        }
    }

    /// Lets time pass for the retry budgets.
    pub(super) fn refill_retries(&self) {
        for route in self.table.load().services.values() {
            route.live.retries.pass(self.now.mono, route.retries.min_per_second);
        }
    }

    fn side(&self, spec: &ServiceSpec, side: Side, group: &TargetGroupName) -> SideRoute {
        let key = MeterKey { service: spec.name.clone(), side, target_group: group.clone() };
        SideRoute {
            group: group.clone(),
            revision: self.groups.get(group).and_then(|group| group.record.revision.clone()),
            targets: self.kept.live.targets(group).cloned().collect(),
            live: self.kept.live.group(group),
            meter: self.recorder.register(&key),
            link: self.kept.links.of(group),
        }
    }

    /// The table in the form that a restart can serve from.
    fn image(&self) -> TableImage {
        let services = self.config.services.values().filter_map(|spec| {
            let state = self.services.get(&spec.name)?;
            let of_pair = |name: &TargetGroupName| self.groups.get(name).map(|g| (name.clone(), g));
            let pair: Vec<_> = spec.target_groups.iter().filter_map(of_pair).collect();
            let image = ServiceImage {
                blue: state.record.blue.clone(),
                green: state.green(spec).clone(),
                exposure: state.exposure,
                targets: pair.iter().map(|(n, g)| (n.clone(), g.record.targets.clone())).collect(),
                revisions: pair
                    .iter()
                    .filter_map(|(n, g)| Some((n.clone(), g.record.revision.clone()?)))
                    .collect(),
            };
            Some((spec.name.clone(), image))
        });
        let resolved = self.kept.live.resolved().iter();
        TableImage {
            generation: self.generation,
            services: services.collect(),
            resolved: resolved.map(|(name, at)| (name.clone(), at.to_vec())).collect(),
        }
    }

    /// Makes the live targets and the probes follow the groups, and how these are spoken to.
    pub(super) fn register_targets(&mut self) {
        self.kept.links.follow(&self.config.transports);
        let mut watched = Vec::new();
        for spec in self.config.services.values() {
            let initial = match spec.health_check {
                Some(_) => TargetHealth::Unknown,
                None => TargetHealth::Healthy,
            };
            for name in &spec.target_groups {
                let Some(group) = self.groups.get(name) else {
                    continue;
                };
                match group.as_targets(name) {
                    Ok(targets) => self.kept.live.register(&targets, initial),
                    Err(error) => tracing::error!(%name, %error, "target group not registered"),
                }
                if spec.health_check.is_none() {
                    // Nobody would ever change what a check that is no more said last.
                    self.kept.live.targets(name).for_each(|target| target.set_health(initial));
                }
                watched.extend(spec.health_check.iter().flat_map(|check| {
                    let probe = |target: &Arc<_>| ProbeTarget {
                        target: Arc::clone(target),
                        check: check.clone(),
                        link: self.kept.links.of(name),
                    };
                    self.kept.live.targets(name).map(probe).collect::<Vec<_>>()
                }));
            }
        }
        self.prober.watch(watched);
        self.watch_names();
    }
}
