//! The alarms of all services: judged on own numbers at every tick, or pushed.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::core::analysis::AlarmJudge;
use crate::core::model::{
    AlarmName, AlarmSource, AlarmState, MonoTime, ServiceName, Side, Span, WallTime,
};
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
    /// What it was made from: an edit applies when no rollout is judged by it.
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
    /// The alarms of a configuration; what is known of those that stay is kept, also of edited ones
    /// where the service is `in_use` by a rollout.
    pub(super) fn configure(&mut self, config: &Config, in_use: impl Fn(&ServiceName) -> bool) {
        let mut own = BTreeMap::new();
        for service in config.services.values() {
            for name in &service.alarms {
                let Some(fresh) = Own::fresh(config, name) else {
                    continue;
                };
                let key = (service.name.clone(), name.clone());
                let kept = self.own.remove(&key);
                let stays = |own: &Own| own.source == fresh.source || in_use(&service.name);
                own.insert(key, kept.filter(stays).unwrap_or(fresh));
            }
        }
        self.own = own;
        let mut before = std::mem::take(&mut self.pushed);
        for (name, alarm) in &config.alarms {
            if let AlarmSource::Pushed { expires_after } = &alarm.source {
                let record = before.remove(name).and_then(|pushed| pushed.record);
                let pushed = Pushed { record, expires_after: *expires_after };
                self.pushed.insert(name.clone(), pushed);
            }
        }
    }

    /// Begins the alarms of a service anew: the datapoints of another revision are not its own.
    pub(super) fn begin_anew(&mut self, config: &Config, service: &ServiceName) {
        for ((of, name), own) in &mut self.own {
            if of == service
                && let Some(fresh) = Own::fresh(config, name)
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

    /// What a pushed alarm says; nothing once it has expired.
    pub(super) fn pushed_state(&self, alarm: &AlarmName, now: WallTime) -> AlarmState {
        let Some(Pushed { record: Some(record), expires_after }) = self.pushed.get(alarm) else {
            return AlarmState::InsufficientData;
        };
        match expires_after {
            Some(limit) if now.since(record.at) > *limit => AlarmState::InsufficientData,
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
    fn fresh(config: &Config, alarm: &AlarmName) -> Option<Self> {
        let source = config.alarms.get(alarm)?.source.clone();
        let side = match &source {
            AlarmSource::Own { side, .. } => *side,
            AlarmSource::Pushed { .. } => return None,
        };
        let judge = AlarmJudge::new(&source)?;
        Some(Self { source, side, judge, state: AlarmState::InsufficientData, since: None })
    }
}
