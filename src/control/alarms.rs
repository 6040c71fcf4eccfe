//! The alarms of all services: judged on own numbers at every tick, or pushed.
//!
//! A rollout is judged by its alarms as they were when it was created, also over a restart with
//! another configuration: those definitions win over the file's until it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Config;
use crate::core::analysis::AlarmJudge;
use crate::core::model::{
    AlarmName, AlarmSource, AlarmState, MonoTime, ServiceName, Side, Span, WallTime,
};
use crate::core::rollout::{Spec, WatchedAlarm};
use crate::telemetry::Recorder;

use super::record::AlarmRecord;

/// Every alarm with its state.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    own: BTreeMap<(ServiceName, AlarmName), Own>,
    pushed: BTreeMap<AlarmName, Pushed>,
}

#[derive(Debug)]
struct Own {
    /// What it was made from.
    source: AlarmSource,
    side: Side,
    judge: AlarmJudge,
    state: AlarmState,
    since: Option<WallTime>,
}

#[derive(Debug)]
struct Pushed {
    /// `None` until the first push.
    record: Option<AlarmRecord>,
    expires_after: Option<Span>,
}

/// An alarm that says something else than before.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) service: ServiceName,
    pub(super) alarm: AlarmName,
    pub(super) from: AlarmState,
    pub(super) to: AlarmState,
}

impl Alarms {
    /// The alarms of a configuration, and those that the active rollouts of services were created
    /// with; what is known of those that stay is kept.
    pub(super) fn configure(&mut self, config: &Config, active: &BTreeMap<ServiceName, Arc<Spec>>) {
        let mut before = std::mem::take(&mut self.own);
        for key in of_services(config, active) {
            let kept = before.remove(&key);
            let bound = active.get(&key.0).and_then(|spec| watched(spec, &key.1));
            let present = || kept.as_ref().map(|own| own.source.clone());
            let source = bound.and_then(|alarm| alarm.source.clone().or_else(present));
            let declared = || config.alarms.get(&key.1).map(|alarm| alarm.source.clone());
            let Some(source) = source.or_else(declared) else {
                continue;
            };
            let kept = kept.filter(|own| own.source == source);
            if let Some(own) = kept.or_else(|| Own::new(source)) {
                self.own.insert(key, own);
            }
        }
        let before = std::mem::take(&mut self.pushed);
        let of_rollouts = active.values().flat_map(|spec| &spec.alarms);
        let of_rollouts =
            of_rollouts.filter_map(|alarm| Some((&alarm.name, alarm.source.as_ref()?)));
        let declared = config.alarms.iter().map(|(name, alarm)| (name, &alarm.source));
        for (name, source) in of_rollouts.chain(declared) {
            if let AlarmSource::Pushed { expires_after } = source {
                let record = before.get(name).and_then(|pushed| pushed.record.clone());
                let pushed = Pushed { record, expires_after: *expires_after };
                self.pushed.insert(name.clone(), pushed);
            }
        }
    }

    /// Begins the alarms of a service anew: the datapoints of another revision are not its own.
    pub(super) fn begin_anew(&mut self, config: &Config, service: &ServiceName) {
        for ((of, name), own) in &mut self.own {
            if of == service
                && let Some(alarm) = config.alarms.get(name)
                && let Some(fresh) = Own::new(alarm.source.clone())
            {
                *own = fresh;
            }
        }
    }

    /// Judges the alarms on own numbers.
    pub(super) fn judge(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        recorder: &Recorder,
    ) -> Vec<Changed> {
        let mut changed = Vec::new();
        for ((service, alarm), own) in &mut self.own {
            let to = own.judge.observe(now, &recorder.present(service, own.side));
            let from = std::mem::replace(&mut own.state, to);
            if from != to {
                own.since = Some(wall);
                let (service, alarm) = (service.clone(), alarm.clone());
                changed.push(Changed { service, alarm, from, to });
            }
        }
        changed
    }

    /// Whether each alarm on own numbers that a rollout is judged by was evaluated once.
    pub(super) fn have_judged(&self, spec: &Spec) -> bool {
        let own = |alarm: &WatchedAlarm| self.own.get(&(spec.service.clone(), alarm.name.clone()));
        spec.alarms.iter().filter_map(own).all(|own| own.judge.has_judged())
    }

    /// Whether an alarm is one that is pushed.
    pub(super) fn is_pushed(&self, alarm: &AlarmName) -> bool {
        self.pushed.contains_key(alarm)
    }

    /// Takes a pushed state.
    pub(super) fn push(&mut self, alarm: &AlarmName, record: AlarmRecord) {
        if let Some(pushed) = self.pushed.get_mut(alarm) {
            pushed.record = Some(record);
        }
    }

    /// What an alarm says about a service.
    pub(super) fn state(
        &self,
        service: &ServiceName,
        alarm: &AlarmName,
        now: WallTime,
    ) -> AlarmState {
        if let Some(own) = self.own.get(&(service.clone(), alarm.clone())) {
            return own.state;
        }
        self.pushed_state(alarm, now)
    }

    /// What an alarm says about a rollout of a service, by what it was when that was created.
    pub(super) fn watched_state(
        &self,
        service: &ServiceName,
        alarm: &WatchedAlarm,
        now: WallTime,
    ) -> AlarmState {
        match &alarm.source {
            Some(AlarmSource::Pushed { expires_after }) => {
                self.pushed_within(&alarm.name, *expires_after, now)
            }
            Some(AlarmSource::Own { .. }) | None => self.state(service, &alarm.name, now),
        }
    }

    /// What a pushed alarm says; nothing once it has expired.
    pub(super) fn pushed_state(&self, alarm: &AlarmName, now: WallTime) -> AlarmState {
        let expires_after = self.pushed.get(alarm).and_then(|pushed| pushed.expires_after);
        self.pushed_within(alarm, expires_after, now)
    }

    fn pushed_within(
        &self,
        alarm: &AlarmName,
        expires_after: Option<Span>,
        now: WallTime,
    ) -> AlarmState {
        let Some(record) = self.pushed_record(alarm) else {
            return AlarmState::InsufficientData;
        };
        match expires_after {
            Some(limit) if now.since(record.at) > limit => AlarmState::InsufficientData,
            Some(_) | None => record.state,
        }
    }

    /// Why a pushed alarm says so, and since when.
    pub(super) fn pushed_record(&self, alarm: &AlarmName) -> Option<&AlarmRecord> {
        self.pushed.get(alarm).and_then(|pushed| pushed.record.as_ref())
    }

    /// Since when an alarm on own numbers says what it says.
    pub(super) fn own_since(&self, service: &ServiceName, alarm: &AlarmName) -> Option<WallTime> {
        self.own.get(&(service.clone(), alarm.clone())).and_then(|own| own.since)
    }
}

impl Own {
    /// A judge without data; `None` for an alarm that is pushed.
    fn new(source: AlarmSource) -> Option<Self> {
        let side = match &source {
            AlarmSource::Own { side, .. } => *side,
            AlarmSource::Pushed { .. } => return None,
        };
        let judge = AlarmJudge::new(&source)?;
        Some(Self { source, side, judge, state: AlarmState::InsufficientData, since: None })
    }
}

/// Every alarm with a service that it is about: by the file, or by what a rollout was created with.
fn of_services(
    config: &Config,
    active: &BTreeMap<ServiceName, Arc<Spec>>,
) -> BTreeSet<(ServiceName, AlarmName)> {
    let declared = config.services.values().flat_map(|service| {
        service.alarms.iter().map(move |alarm| (service.name.clone(), alarm.clone()))
    });
    let watched = active.values().flat_map(|spec| {
        spec.alarms.iter().map(move |alarm| (spec.service.clone(), alarm.name.clone()))
    });
    declared.chain(watched).collect()
}

fn watched<'a>(spec: &'a Spec, name: &AlarmName) -> Option<&'a WatchedAlarm> {
    spec.alarms.iter().find(|alarm| alarm.name == *name)
}
