//! Making the snapshot that others see.

use std::sync::Arc;

use crate::core::model::{
    AlarmName, MonoTime, Revision, ServiceName, ServiceSpec, Side, Span, TargetGroupName, WallTime,
};
use crate::core::rollout::{Cause, Rollout, Stage, StateName};
use crate::telemetry::{
    AlarmGauge, Gauges, GreenTotals, LatenessGauge, RevisionGauge, ServiceGauges, TargetGauge,
};

use super::record::RollbackRecord;
use super::service::ServiceState;
use super::world::Active;
use super::{
    AlarmView, HealthView, RollbackOf, RolloutView, ServiceView, SideView, Tally, TargetView,
    UnresolvedView, View, World,
};

impl World {
    /// Everything that can be seen now.
    pub(super) fn view(&self) -> View {
        let active =
            self.rollouts.values().map(|active| Arc::new(of_rollout(active, self.now.mono)));
        let ended = self.history.iter().cloned();
        let services = self.config.services.values().filter_map(|spec| {
            let state = self.services.get(&spec.name)?;
            Some((spec.name.clone(), self.service_view(spec, state)))
        });
        View {
            generation: self.generation,
            services: services.collect(),
            rollouts: ended.chain(active).map(|view| (view.id.clone(), view)).collect(),
            alarms: self.alarm_views(),
            gates: self.config.gates.values().map(|g| (g.name.clone(), g.sha256)).collect(),
            store: self.store.clone(),
            health: if self.unsettled { HealthView::Starting } else { HealthView::Settled },
            config: Some(Arc::clone(&self.config)),
        }
    }

    /// One service.
    pub(super) fn service_view(&self, spec: &ServiceSpec, state: &ServiceState) -> ServiceView {
        let in_force = state.exposure.split.green();
        ServiceView {
            name: spec.name.clone(),
            version: state.record.version,
            blue: self.side_view(&spec.name, Side::Blue, &state.record.blue),
            green: self.side_view(&spec.name, Side::Green, state.green(spec)),
            configured: state.record.split.green(),
            in_force,
            observed: self.recorder.observed(&spec.name),
            active: state.active.clone(),
            strategy: spec.strategy.clone(),
            salt: state.exposure.salt,
            stickiness: self.stickiness(spec, state),
        }
    }

    fn side_view(&self, service: &ServiceName, side: Side, group: &TargetGroupName) -> SideView {
        let counts = self.recorder.side(service, side);
        let known = self.groups.get(group);
        let targets = self.kept.live.targets(group).map(|target| TargetView {
            address: target.address(),
            health: target.health(),
            in_flight: target.in_flight(),
            last_failure: self
                .prober
                .last(target)
                .and_then(|result| result.last_failure.map(|failure| failure.to_string())),
            name: target.name().clone(),
            ejected: target.is_ejected(),
        });
        let listed = known.into_iter().flat_map(|group| &group.record.targets);
        let unresolved = listed
            .filter(|target| self.kept.live.resolved().of(&target.address).is_empty())
            .map(|target| UnresolvedView {
                name: target.address.clone(),
                why: self.resolver.failure(&target.address),
            });
        SideView {
            group: group.clone(),
            revision: known.and_then(|group| group.record.revision.clone()),
            registered: known.is_some_and(|group| group.record.registered),
            targets: targets.collect(),
            health: self.kept.live.health(group),
            requests: counts.requests(),
            failed: counts.failed(),
            unresolved: unresolved.collect(),
        }
    }

    fn alarm_views(&self) -> Vec<AlarmView> {
        let users = |alarm: &AlarmName| -> Vec<Option<ServiceName>> {
            let services = self.config.services.values();
            let users: Vec<_> = services
                .filter(|spec| spec.alarms.contains(alarm) || self.judges(alarm, &spec.name))
                .map(|spec| Some(spec.name.clone()))
                .collect();
            if users.is_empty() { vec![None] } else { users }
        };
        let views = self.config.alarms.keys().flat_map(|alarm| {
            users(alarm).into_iter().map(move |service| self.alarm_view(alarm, service))
        });
        views.collect()
    }

    /// Whether an alarm judges the active rollout of a service, be it one of the service's or not.
    fn judges(&self, alarm: &AlarmName, service: &ServiceName) -> bool {
        let active = self.active_of(service);
        active.is_some_and(|rollout| rollout.spec().alarms.iter().any(|a| a.name == *alarm))
    }

    fn alarm_view(&self, alarm: &AlarmName, service: Option<ServiceName>) -> AlarmView {
        let now = self.now.wall;
        let record = self.alarms.pushed_record(alarm);
        let state = service.as_ref().map_or_else(
            || self.alarms.pushed_state(alarm, now),
            |service| self.alarms.state(service, alarm, now),
        );
        let judged_since =
            service.as_ref().and_then(|service| self.alarms.judged_since(service, alarm));
        let why = service.as_ref().and_then(|service| self.alarms.why(service, alarm));
        AlarmView {
            alarm: alarm.clone(),
            service,
            state,
            reason: record.and_then(|record| record.reason.clone()).or(why),
            since: record.map(|record| record.at).or(judged_since),
            pushed: self.alarms.is_pushed(alarm),
            source: self.config.alarms.get(alarm).map_or("", |alarm| alarm.source.word()),
        }
    }

    /// What is exposed as metrics besides the recorder's counts.
    pub(super) fn gauges(&self, view: &View) -> Gauges {
        let services = view.services.values().map(|service| self.service_gauges(view, service));
        let sides = view.services.values().flat_map(|service| {
            [&service.blue, &service.green].map(|side| (service.name.clone(), side))
        });
        let targets = sides.flat_map(|(service, side)| {
            side.targets.iter().map(move |target| TargetGauge {
                service: service.clone(),
                target_group: side.group.clone(),
                target: target.name.shown_at(target.address),
                health: target.health,
                ejected: target.ejected,
            })
        });
        Gauges {
            generation: view.generation,
            services: services.collect(),
            targets: targets.collect(),
            alarms: view
                .alarms
                .iter()
                .map(|alarm| AlarmGauge {
                    alarm: alarm.alarm.clone(),
                    service: alarm.service.clone(),
                    state: alarm.state,
                })
                .collect(),
            gate_calls: self.gates.calls(),
            // The writer itself is not silent; whoever exposes this asks the watchdog.
            writer_silent: Span::ZERO,
            ejections: self.ejections(),
            burn_rates: self.burn_rates(),
            gates: self.gates.gauges(),
            tick_lateness: LatenessGauge::default(),
        }
    }

    fn service_gauges(&self, view: &View, service: &ServiceView) -> ServiceGauges {
        let of_service = || {
            view.rollouts.values().filter(|rollout| {
                rollout.service == service.name
                    && !matches!(rollout.link, RollbackOf::RollbackOf(_))
            })
        };
        let latest = of_service().max_by_key(|rollout| (rollout.created, rollout.id.clone()));
        let totals = self.kept.totals.get(&service.name).cloned().unwrap_or_default();
        let revisions = [(Side::Blue, &service.blue), (Side::Green, &service.green)];
        ServiceGauges {
            service: service.name.clone(),
            configured: service.configured,
            in_force: service.in_force,
            observed: service.observed.green_share(),
            rollout_state: latest.map(|rollout| rollout.state.as_str()),
            rollouts: totals.ended(),
            leaked: totals.leaked,
            revisions: revisions
                .into_iter()
                .filter_map(|(side, view)| {
                    let revision = view.revision.clone()?;
                    Some(RevisionGauge { side, target_group: view.group.clone(), revision })
                })
                .collect(),
            green: GreenTotals {
                requests: totals.green.green_requests,
                failed: totals.green.green_failed,
                rescued: totals.green.rescued,
                sent_after_verdict: totals.green.sent_after_verdict,
            },
        }
    }
}

/// A rollout in the writer's hands, as others see it.
pub(super) fn of_rollout(active: &Active, now: MonoTime) -> RolloutView {
    let view = of_machine(&active.rollout, active.running.tally, active.ended);
    RolloutView { analysis: active.analysis(now), ..view }
}

/// A rollout as others see it.
pub(super) fn of_machine(rollout: &Rollout, tally: Tally, ended: Option<WallTime>) -> RolloutView {
    let spec = rollout.spec();
    let state = rollout.state();
    let open = rollout.regression().map(|regression| regression.cause.clone());
    let rolled_back = state.name() == StateName::RolledBack;
    RolloutView {
        id: spec.id.clone(),
        service: spec.service.clone(),
        spec: Some(Arc::clone(spec)),
        revision: Some(spec.green_revision.clone()),
        state: state.name(),
        stage: state.stage(),
        step: rollout.step(),
        weight: rollout.weight(),
        holds: rollout.holds(),
        cause: state.ending().map_or(open, |ending| ending.cause.clone()),
        bake: state.bake().map(|bake| (bake.length, bake.watched, bake.scored)),
        tally,
        created: spec.created,
        ended,
        link: if rolled_back {
            RollbackOf::RolledBackBy(spec.rollback_id.clone())
        } else {
            RollbackOf::None
        },
        analysis: None,
    }
}

/// The rollback of a rollout that has just been rolled back; `None` if it was not.
pub(super) fn of_rollback(view: &RolloutView, rollout: &Rollout) -> Option<RolloutView> {
    match &view.link {
        RollbackOf::RolledBackBy(id) => Some(rollback(
            id.clone(),
            view.id.clone(),
            view.service.clone(),
            rollout.spec().blue_revision.clone(),
            view.cause.clone(),
            view.ended.unwrap_or_default(),
        )),
        RollbackOf::None | RollbackOf::RollbackOf(_) => None,
    }
}

/// The rollback that a record stands for.
pub(super) fn of_rollback_record(record: &RollbackRecord) -> RolloutView {
    rollback(
        record.id.clone(),
        record.of.clone(),
        record.service.clone(),
        record.to.clone(),
        record.cause.clone(),
        record.at,
    )
}

fn rollback(
    id: crate::core::model::RolloutId,
    of: crate::core::model::RolloutId,
    service: ServiceName,
    revision: Option<Revision>,
    cause: Option<Cause>,
    at: WallTime,
) -> RolloutView {
    RolloutView {
        id,
        service,
        spec: None,
        revision,
        state: StateName::Succeeded,
        stage: Stage::End,
        step: 0,
        weight: crate::core::model::Weight::ZERO,
        holds: Vec::new(),
        cause,
        bake: None,
        tally: Tally::default(),
        created: at,
        ended: Some(at),
        link: RollbackOf::RollbackOf(of),
        analysis: None,
    }
}
