//! What Alertmanager tells: alerts that fire or are resolved become states of alarms.
//!
//! An alarm is in ALARM while any alert about it fires. Which ones do is remembered by their
//! fingerprints, because an alarm may have several, and each is told of on its own.

use std::collections::BTreeMap;

use serde_json::json;

use crate::core::model::{AlarmName, AlarmState, Labels};
use crate::store::Transaction;

use super::super::alarms::Hook;
use super::super::draft::{About, EntryKind, entry};
use super::super::record::{AlarmRecord, key, text};
use super::super::{Alert, HookReport, Refusal, Reply, Request, World};
use super::Done;

impl World {
    pub(super) fn hear_alerts(
        &mut self,
        request: &Request,
        alerts: &[Alert],
    ) -> Result<Done, Refusal> {
        let mut heard: BTreeMap<AlarmName, AlarmRecord> = BTreeMap::new();
        let mut unknown = Vec::new();
        let hooks: Vec<(AlarmName, Hook)> =
            self.alarms.hooks().map(|(name, hook)| (name.clone(), hook.clone())).collect();
        for alert in alerts {
            let mut is_known = false;
            for (alarm, hook) in &hooks {
                let is_about = matches(&hook.matchers, alert);
                let is_heartbeat = !hook.heartbeat.is_empty() && matches(&hook.heartbeat, alert);
                is_known |= is_about || is_heartbeat;
                if is_about || (is_heartbeat && alert.is_firing) {
                    let record = heard.remove(alarm).unwrap_or_else(|| self.last_heard(alarm));
                    let record = if is_about { told(record, alert) } else { record };
                    heard.insert(alarm.clone(), record);
                }
            }
            if !is_known && unknown.len() < MAX_UNKNOWN {
                unknown.push(shown(&alert.labels));
            }
        }
        let mut report = HookReport { heard: Vec::new(), unknown };
        let mut transaction = Transaction::default();
        for (alarm, mut record) in heard {
            record.at = self.now.wall;
            record.state =
                if record.firing.is_empty() { AlarmState::Ok } else { AlarmState::Alarm };
            // What is repeated is nothing new for the ledger.
            if self.alarms.pushed_state(&alarm, self.now.wall) != record.state {
                let detail = json!({ "alarm": alarm, "state": record.state });
                let by = (&request.actor, record.reason.as_ref());
                let kind = EntryKind::AlarmPushed;
                let draft = entry(kind, About::default(), &detail, by, self.now.wall);
                transaction.entries.push(draft);
            }
            transaction.puts.push((key("alarm", alarm.as_str()), text(&record)));
            report.heard.push((alarm.clone(), record.state));
            self.alarms.push(&alarm, record);
        }
        if !transaction.puts.is_empty() {
            self.outbox.keep(None, transaction);
            // Every rollout sees it now, not at the next tick.
            self.look();
        }
        Ok(Done::Answered(Reply::AlertsHeard(report)))
    }

    /// What was heard of an alarm so far.
    fn last_heard(&self, alarm: &AlarmName) -> AlarmRecord {
        self.alarms.pushed_record(alarm).cloned().unwrap_or_else(|| AlarmRecord {
            state: AlarmState::InsufficientData,
            reason: None,
            at: self.now.wall,
            firing: Default::default(),
        })
    }
}

/// The record after an alert that is about its alarm.
fn told(mut record: AlarmRecord, alert: &Alert) -> AlarmRecord {
    if alert.is_firing {
        if record.firing.len() < MAX_FIRING {
            record.firing.insert(alert.fingerprint.clone());
        }
        record.reason = Some(format!("firing: {}", alert.summary));
    } else {
        record.firing.remove(&alert.fingerprint);
        if record.firing.is_empty() {
            record.reason = Some(format!("resolved: {}", alert.summary));
        }
    }
    record
}

/// Whether an alert has all these labels.
fn matches(wanted: &Labels, alert: &Alert) -> bool {
    wanted.iter().all(|(name, value)| alert.labels.get(name) == Some(value))
}

/// Labels as people write them, shortened.
fn shown(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
    let text = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
    text.chars().take(SHOWN).collect()
}

/// The most alerts of one alarm that are told apart.
const MAX_FIRING: usize = 1_000;
/// The most alerts about no alarm that an answer names.
const MAX_UNKNOWN: usize = 100;
const SHOWN: usize = 200;
