//! Starting a rollout.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::core::analysis::replay::Cause;
use crate::core::ledger::Draft;
use crate::core::model::{
    AlarmName, AlarmState, AnalysisTerms, RolloutId, Salt, ServiceSpec, Span, Strategy,
    StrategyName, TargetGroup, Weight,
};
use crate::core::rollout::{Assignment, BoundGate, Effect, Event, Rollout, Spec, WatchedAlarm};
use crate::store::Transaction;

use super::super::change::{After, Start};
use super::super::comparing::Comparing;
use super::super::draft::{About, EntryKind, entry, fact};
use super::super::record::{GroupRecord, IdempotencyRecord, RolloutRecord, key, text};
use super::super::tally::Running;
use super::super::world::Active;
use super::super::{Refusal, Reply, Request, StartRollout, Tally, World};
use super::Done;

/// How long an idempotency key is remembered.
const REMEMBERED: Span = Span::from_hours(24);

impl World {
    pub(super) fn start_rollout(
        &mut self,
        request: &Request,
        start: &StartRollout,
    ) -> Result<Done, Refusal> {
        if let Some(earlier) = self.earlier_answer(start)? {
            return Ok(Done::Answered(earlier));
        }
        self.check_start(request, start)?;
        let spec = self.rollout_spec(request, start)?;
        let (rollout, effects) = Rollout::create(spec, self.now);
        let spec = Arc::clone(rollout.spec());
        let about =
            || About { service: Some(spec.service.clone()), rollout: Some(spec.id.clone()) };
        let mut transaction = Transaction::default();
        // This is the rollout's first save: its facts go with it, the rest is done when it is made.
        let mut later = Vec::new();
        for effect in effects {
            match effect {
                Effect::Record { fact: happened, actor, reason } => {
                    let draft = fact(&happened, about(), actor, reason, self.now.wall);
                    transaction.entries.push(draft);
                }
                Effect::Save { .. } => {}
                other @ (Effect::Expose(_)
                | Effect::SwapRoles
                | Effect::RunGate(_)
                | Effect::Notify(_)) => later.push(other),
            }
        }
        let record = RolloutRecord::Rollout {
            rollout: Box::new(rollout.clone()),
            tally: Tally::default(),
            ended: None,
            analysis: None,
            evidence: None,
        };
        transaction.puts.push((key("rollout", spec.id.as_str()), text(&record)));
        transaction.puts.push(self.attempts_with(&spec));
        if let Some(group) = self.groups.get(&spec.green) {
            let record = GroupRecord {
                targets: start.targets.clone().unwrap_or_else(|| group.record.targets.clone()),
                revision: Some(start.revision.clone()),
                registered: group.record.registered || start.targets.is_some(),
            };
            Self::put_group(&spec.green, &record, &mut transaction);
        }
        if let Some(targets) = &start.targets {
            let detail = json!({ "target_group": spec.green, "targets": targets });
            let by = (&request.actor, request.reason.as_ref());
            let kind = EntryKind::TargetsRegistered;
            transaction.entries.push(entry(kind, about(), &detail, by, self.now.wall));
        }
        transaction.entries.extend(self.alarms_overridden(request, start, &spec));
        let repeatable = start.idempotency.as_ref().map(|key| {
            let rollout = spec.id.clone();
            (key.scope, IdempotencyRecord { body: key.body, rollout, at: self.now.wall })
        });
        transaction.deletes.extend(self.forget_repeatable());
        if let Some((scope, record)) = &repeatable {
            let key = key("idempotency", &scope.to_string());
            // A key whose time is over is used anew: removing a record wins over writing it.
            transaction.deletes.retain(|old| *old != key);
            transaction.puts.push((key, text(record)));
        }
        let start = Start { rollout, effects: later, targets: start.targets.clone(), repeatable };
        Ok(Done::Saving(Box::new((transaction, After::Start(Box::new(start))))))
    }

    /// What the first request of the same key was answered.
    fn earlier_answer(&self, start: &StartRollout) -> Result<Option<Reply>, Refusal> {
        let Some(asked) = &start.idempotency else {
            return Ok(None);
        };
        let known = self.repeatable.get(&asked.scope);
        let Some(known) = known.filter(|known| self.now.wall.since(known.at) < REMEMBERED) else {
            return Ok(None);
        };
        if known.body != asked.body {
            return Err(Refusal::IdempotencyMismatch);
        }
        let rollout = self.rollout_view(&known.rollout)?;
        Ok(Some(Reply::Started { rollout }))
    }

    fn forget_repeatable(&mut self) -> Vec<crate::store::Key> {
        let now = self.now.wall;
        let old = self.repeatable.extract_if(.., |_, known| now.since(known.at) >= REMEMBERED);
        old.map(|(scope, _)| key("idempotency", &scope.to_string())).collect()
    }

    fn check_start(&self, request: &Request, start: &StartRollout) -> Result<(), Refusal> {
        let name = &start.service;
        let state = self.service_for(request, name)?;
        self.no_rollout(name)?;
        self.not_busy(name)?;
        let green = state.exposure.split.green();
        if green > Weight::ZERO {
            return Err(Refusal::SplitNotZero { service: name.clone(), green });
        }
        let spec =
            self.config.services.get(name).ok_or_else(|| Refusal::NoService(name.clone()))?;
        let group = state.green(spec);
        if let Some(targets) = &start.targets {
            TargetGroup::new(group.clone(), targets.clone())?;
        }
        let mut named = start.alarms.iter().flatten();
        let undeclared = named.find(|alarm| !self.config.alarms.contains_key(*alarm));
        if let Some(alarm) = undeclared {
            return Err(Refusal::NoAlarm(alarm.clone()));
        }
        let judging = start.alarms.as_ref().unwrap_or(&spec.alarms);
        let foreign = start.ignore_alarms.iter().find(|alarm| !judging.contains(alarm));
        if let Some(alarm) = foreign {
            return Err(Refusal::NotItsAlarm(alarm.clone()));
        }
        let raised = judging
            .iter()
            .filter(|alarm| !start.ignore_alarms.contains(alarm))
            .find(|alarm| self.alarms.state(name, alarm, self.now.wall) == AlarmState::Alarm);
        raised.map_or(Ok(()), |alarm| Err(Refusal::AlarmActive(alarm.clone())))
    }

    /// The snapshot that the rollout runs on.
    fn rollout_spec(&self, request: &Request, start: &StartRollout) -> Result<Spec, Refusal> {
        let missing = || Refusal::NoService(start.service.clone());
        let spec = self.config.services.get(&start.service).ok_or_else(missing)?;
        let state = self.services.get(&start.service).ok_or_else(missing)?;
        if let Some(gate) = self.missing_gate(spec) {
            return Err(Refusal::GateMissing(gate));
        }
        let strategy = self.strategy(start.strategy.as_ref().unwrap_or(&spec.strategy))?;
        if let (Some(why), Some(step)) = (spec.never_certified(), strategy.wants_certificate()) {
            let (service, strategy) = (spec.name.clone(), strategy.name().clone());
            return Err(Refusal::NeverCertified { service, strategy, step, why });
        }
        let final_bake = strategy.final_bake().unwrap_or(spec.policies.final_bake);
        let blue = state.record.blue.clone();
        Ok(Spec {
            id: RolloutId::from_draw(start.draws[0]),
            rollback_id: RolloutId::from_draw(start.draws[1]),
            service: spec.name.clone(),
            green: state.green(spec).clone(),
            blue_revision: self.groups.get(&blue).and_then(|g| g.record.revision.clone()),
            blue,
            green_revision: start.revision.clone(),
            strategy: strategy.name().clone(),
            steps: strategy.steps().to_vec(),
            final_bake,
            gates: self.bound_gates(spec),
            alarms: self.watched_alarms(spec, start),
            policies: spec.policies,
            salt: Salt { k0: start.draws[2], k1: start.draws[3] },
            description: start.description.clone(),
            created: self.now.wall,
            created_by: request.actor.clone(),
            analysis: AnalysisTerms {
                compared: spec.analysis,
                slo: spec.slo,
                sticky: spec.stickiness.is_some(),
                attempt: self.attempt(&spec.name, &start.revision),
            },
            assignment: Assignment::of(spec.stickiness.as_ref()),
        })
    }

    fn strategy(&self, name: &StrategyName) -> Result<Strategy, Refusal> {
        self.config.strategy(name).ok_or_else(|| Refusal::NoStrategy(name.clone()))
    }

    fn bound_gates(&self, spec: &ServiceSpec) -> Vec<BoundGate> {
        let bind = |usage: &crate::core::model::GateUse| {
            let declared = self.config.gates.get(&usage.gate)?;
            Some(BoundGate { usage: usage.clone(), digest: declared.sha256 })
        };
        spec.gates.iter().filter_map(bind).collect()
    }

    fn watched_alarms(&self, spec: &ServiceSpec, start: &StartRollout) -> Vec<WatchedAlarm> {
        let judging: Vec<_> = match &start.alarms {
            Some(alarms) => alarms.iter().collect::<BTreeSet<_>>().into_iter().collect(),
            None => spec.alarms.iter().collect(),
        };
        let watched = judging.into_iter().filter(|alarm| !start.ignore_alarms.contains(alarm));
        watched
            .filter_map(|name| self.config.alarms.get(name))
            .map(|alarm| WatchedAlarm {
                name: alarm.name.clone(),
                on_insufficient: alarm.on_insufficient,
                source: Some(alarm.source.clone()),
            })
            .collect()
    }

    /// What the ledger says of a rollout that others judge than the service's alarms; `None` where
    /// nothing was overridden.
    fn alarms_overridden(
        &self,
        request: &Request,
        start: &StartRollout,
        spec: &Spec,
    ) -> Option<Draft> {
        if start.alarms.is_none() && start.ignore_alarms.is_empty() {
            return None;
        }
        let judging: Vec<_> = spec.alarms.iter().map(|alarm| &alarm.name).collect();
        let declared = self.config.services.get(&spec.service).map(|declared| &declared.alarms);
        let left_out = declared.into_iter().flatten().chain(&start.ignore_alarms);
        let left_out: BTreeSet<_> = left_out.filter(|alarm| !judging.contains(alarm)).collect();
        let says = |alarm: &AlarmName| self.alarms.state(&spec.service, alarm, self.now.wall);
        let in_alarm: Vec<_> =
            left_out.iter().filter(|alarm| says(alarm) == AlarmState::Alarm).collect();
        let detail = json!({ "judging": judging, "left_out": left_out, "in_alarm": in_alarm });
        let about = About { service: Some(spec.service.clone()), rollout: Some(spec.id.clone()) };
        let by = (&request.actor, request.reason.as_ref());
        Some(entry(EntryKind::AlarmsOverridden, about, &detail, by, self.now.wall))
    }

    /// The rollout is in the store: it begins.
    pub(super) fn start_saved(&mut self, start: Start) -> Result<Reply, Refusal> {
        let spec = Arc::clone(start.rollout.spec());
        if let Some(group) = self.groups.get_mut(&spec.green) {
            group.record.revision = Some(spec.green_revision.clone());
            if let Some(targets) = start.targets {
                group.record.targets = targets;
                group.record.registered = true;
            }
        }
        if let Some(state) = self.services.get_mut(&spec.service) {
            state.active = Some(spec.id.clone());
        }
        self.repeatable.extend(start.repeatable);
        self.count_attempt(&spec);
        // What is in flight of the last rollout is counted when it ends, and not as this one's.
        self.begin_turn(&spec.service);
        self.windows.forget(&spec.service);
        let turn = self.recorder.turn(&spec.service);
        let meter = self.recorder.green_in(&spec.service, turn);
        let seq = start.rollout.seq();
        let comparing = Comparing::begin(&spec, self.longest_answer(&spec));
        let running = Running::resume(Tally::default(), turn, meter);
        let active = Active::new(start.rollout, running);
        let active = Active { comparing, ..active };
        self.rollouts.insert(spec.id.clone(), active);
        self.keep_evidence(&spec.id, Cause::Start, None);
        self.configure_alarms();
        self.alarms.begin_anew(&spec.service);
        self.register_targets();
        self.publish();
        self.perform(&spec.id, start.effects);
        self.feed(&spec.id, Event::Saved { seq });
        let rollout = self.rollout_view(&spec.id)?;
        Ok(Reply::Started { rollout })
    }
}
