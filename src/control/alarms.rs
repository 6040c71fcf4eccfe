//! The alarms of all services: judged on own numbers and on answers of Prometheus at every tick, or
//! told from outside.
//!
//! A rollout is judged by its alarms as they were when it was created, also over a restart with
//! another configuration: those definitions win over the file's until it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Config;
use crate::core::analysis::{AlarmJudge, QueryJudge};
use crate::core::model::{
    AlarmName, AlarmSource, AlarmState, Labels, MonoTime, ServiceName, Side, Span, WallTime,
};
use crate::core::rollout::{Spec, WatchedAlarm};
use crate::promql::{Asker, Question};
use crate::telemetry::Recorder;

use super::record::AlarmRecord;

/// Every alarm with its state.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    pub(super) judged: BTreeMap<(ServiceName, AlarmName), Judged>,
    pushed: BTreeMap<AlarmName, Pushed>,
    /// What Prometheus servers are asked; `None` if the servers or the alarms may be others now.
    pub(super) asked: Option<BTreeSet<Question>>,
}

/// An alarm that is judged here, for each service that it is about.
#[derive(Debug)]
pub(super) struct Judged {
    /// What it was made from.
    pub(super) source: AlarmSource,
    pub(super) judge: Judge,
    state: AlarmState,
    since: Option<WallTime>,
}

#[derive(Debug)]
pub(super) enum Judge {
    /// By the counts of a side.
    Own { side: Side, judge: Box<AlarmJudge> },
    /// By the answers to a question, or why there is none to ask.
    Query { judge: Box<QueryJudge>, question: Result<Question, String> },
}

#[derive(Debug)]
struct Pushed {
    /// `None` until the first push.
    record: Option<AlarmRecord>,
    expires_after: Option<Span>,
    /// Which alerts it is told by; `None` for one that is pushed by its name alone.
    hook: Option<Hook>,
}

/// Which alerts tell an alarm.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) matchers: Labels,
    pub(super) heartbeat: Labels,
}

/// An alarm that says something else than before.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) service: ServiceName,
    pub(super) alarm: AlarmName,
    pub(super) from: AlarmState,
    pub(super) to: AlarmState,
    /// Why it says so; `None` for an alarm on own numbers.
    pub(super) why: Option<String>,
}

impl Alarms {
    /// The alarms of a configuration, and those that the active rollouts of services were created
    /// with; what is known of those that stay is kept.
    pub(super) fn configure(&mut self, config: &Config, active: &BTreeMap<ServiceName, Arc<Spec>>) {
        self.asked = None;
        let mut before = std::mem::take(&mut self.judged);
        for key in of_services(config, active) {
            let kept = before.remove(&key);
            let bound = active.get(&key.0).and_then(|spec| watched(spec, &key.1));
            let present = || kept.as_ref().map(|judged| judged.source.clone());
            let source = bound.and_then(|alarm| alarm.source.clone().or_else(present));
            let declared = || config.alarms.get(&key.1).map(|alarm| alarm.source.clone());
            let Some(source) = source.or_else(declared) else {
                continue;
            };
            let kept = kept.filter(|judged| judged.source == source);
            if let Some(judged) = kept.or_else(|| Judged::new(source)) {
                self.judged.insert(key, judged);
            }
        }
        let before = std::mem::take(&mut self.pushed);
        let of_rollouts = active.values().flat_map(|spec| &spec.alarms);
        let of_rollouts =
            of_rollouts.filter_map(|alarm| Some((&alarm.name, alarm.source.as_ref()?)));
        let declared = config.alarms.iter().map(|(name, alarm)| (name, &alarm.source));
        for (name, source) in of_rollouts.chain(declared) {
            let record = before.get(name).and_then(|pushed| pushed.record.clone());
            if let Some(pushed) = Pushed::new(source, record) {
                self.pushed.insert(name.clone(), pushed);
            }
        }
    }

    /// Begins the alarms of a service anew: the datapoints of another revision are not its own.
    pub(super) fn begin_anew(&mut self, service: &ServiceName) {
        for ((of, _), judged) in &mut self.judged {
            if of == service {
                judged.begin_anew();
            }
        }
    }

    /// Judges the alarms on numbers.
    pub(super) fn judge(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        recorder: &Recorder,
        asker: &Asker,
    ) -> Vec<Changed> {
        let mut changed = Vec::new();
        for ((service, alarm), judged) in &mut self.judged {
            let to = match &mut judged.judge {
                Judge::Own { side, judge } => judge.observe(now, &recorder.present(service, *side)),
                Judge::Query { judge, question } => match question {
                    Ok(question) => judge.observe(now, asker.reading(question).as_ref()),
                    Err(_) => AlarmState::InsufficientData,
                },
            };
            let from = std::mem::replace(&mut judged.state, to);
            if from != to {
                judged.since = Some(wall);
                let (service, alarm) = (service.clone(), alarm.clone());
                let why = judged.why();
                changed.push(Changed { service, alarm, from, to, why });
            }
        }
        changed
    }

    /// Whether each alarm on numbers that a rollout is judged by was evaluated once.
    pub(super) fn have_judged(&self, spec: &Spec) -> bool {
        let of =
            |alarm: &WatchedAlarm| self.judged.get(&(spec.service.clone(), alarm.name.clone()));
        spec.alarms.iter().filter_map(of).all(Judged::has_judged)
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
        if let Some(judged) = self.judged.get(&(service.clone(), alarm.clone())) {
            return judged.state;
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
            Some(AlarmSource::Alertmanager { stale_after, .. }) => {
                self.pushed_within(&alarm.name, Some(*stale_after), now)
            }
            Some(AlarmSource::Own { .. } | AlarmSource::Prometheus { .. }) | None => {
                let judged = self.judged.get(&(service.clone(), alarm.name.clone()));
                judged
                    .map_or_else(|| self.pushed_state(&alarm.name, now), Judged::state_for_rollouts)
            }
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

    /// Every alarm that alerts tell, with which.
    pub(super) fn hooks(&self) -> impl Iterator<Item = (&AlarmName, &Hook)> {
        self.pushed.iter().filter_map(|(name, pushed)| Some((name, pushed.hook.as_ref()?)))
    }

    /// Since when an alarm on numbers says what it says.
    pub(super) fn judged_since(
        &self,
        service: &ServiceName,
        alarm: &AlarmName,
    ) -> Option<WallTime> {
        self.judged.get(&(service.clone(), alarm.clone())).and_then(|judged| judged.since)
    }

    /// Why an alarm on numbers says so; `None` for one on own numbers.
    pub(super) fn why(&self, service: &ServiceName, alarm: &AlarmName) -> Option<String> {
        self.judged.get(&(service.clone(), alarm.clone())).and_then(Judged::why)
    }
}

impl Judged {
    /// A judge without data; `None` for an alarm whose state is told from outside.
    fn new(source: AlarmSource) -> Option<Self> {
        let judge = Judge::new(&source)?;
        Some(Self { source, judge, state: AlarmState::InsufficientData, since: None })
    }

    fn begin_anew(&mut self) {
        match &mut self.judge {
            // Answers that were there before are passed over, so that the judge stays.
            Judge::Query { judge, .. } => judge.begin_anew(),
            Judge::Own { .. } => {
                if let Some(judge) = Judge::new(&self.source) {
                    self.judge = judge;
                }
            }
        }
        (self.state, self.since) = (AlarmState::InsufficientData, None);
    }

    fn has_judged(&self) -> bool {
        match &self.judge {
            Judge::Own { judge, .. } => judge.has_judged(),
            // What cannot be asked will not be known either.
            Judge::Query { judge, question } => question.is_err() || judge.has_judged(),
        }
    }

    fn state_for_rollouts(&self) -> AlarmState {
        match &self.judge {
            Judge::Query { judge, question: Ok(_) } => judge.state_for_rollouts(),
            Judge::Query { .. } | Judge::Own { .. } => self.state,
        }
    }

    fn why(&self) -> Option<String> {
        match &self.judge {
            Judge::Own { .. } => None,
            Judge::Query { question: Err(why), .. } => Some(format!("nothing is asked: {why}")),
            Judge::Query { judge, question: Ok(_) } => judge.why(),
        }
    }
}

impl Judge {
    fn new(source: &AlarmSource) -> Option<Self> {
        match source {
            AlarmSource::Own { side, .. } => {
                let judge = Box::new(AlarmJudge::new(source)?);
                Some(Self::Own { side: *side, judge })
            }
            AlarmSource::Prometheus { .. } => {
                let question = Err("it is new".to_owned());
                let judge = Box::new(QueryJudge::new(source)?);
                Some(Self::Query { judge, question })
            }
            AlarmSource::Pushed { .. } | AlarmSource::Alertmanager { .. } => None,
        }
    }
}

impl Pushed {
    /// An alarm whose state is told from outside; `None` for one that is judged.
    fn new(source: &AlarmSource, record: Option<AlarmRecord>) -> Option<Self> {
        match source {
            AlarmSource::Pushed { expires_after } => {
                Some(Self { record, expires_after: *expires_after, hook: None })
            }
            AlarmSource::Alertmanager { matchers, heartbeat, stale_after } => {
                let hook = Hook { matchers: matchers.clone(), heartbeat: heartbeat.clone() };
                Some(Self { record, expires_after: Some(*stale_after), hook: Some(hook) })
            }
            AlarmSource::Own { .. } | AlarmSource::Prometheus { .. } => None,
        }
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
