//! Pushed alarms: they act at once, and are saved in the background.

use std::collections::BTreeSet;

use serde_json::json;

use crate::core::model::{AlarmName, AlarmState};
use crate::store::Transaction;

use super::super::draft::{About, EntryKind, entry};
use super::super::record::{AlarmRecord, key, text};
use super::super::{Refusal, Reply, Request, World};
use super::Done;

impl World {
    pub(super) fn push_alarm(
        &mut self,
        request: &Request,
        alarm: &AlarmName,
        state: AlarmState,
    ) -> Result<Done, Refusal> {
        if !self.alarms.is_pushed(alarm) {
            return Err(Refusal::NoPushedAlarm(alarm.clone()));
        }
        let at = self.now.wall;
        // What a person says counts for all alerts that were told of.
        let firing = BTreeSet::new();
        let record = AlarmRecord { state, reason: request.reason.clone(), at, firing };
        let detail = json!({ "alarm": alarm, "state": state });
        let by = (&request.actor, request.reason.as_ref());
        let draft = entry(EntryKind::AlarmPushed, About::default(), &detail, by, at);
        let transaction = Transaction {
            puts: vec![(key("alarm", alarm.as_str()), text(&record))],
            entries: vec![draft],
            ..Transaction::default()
        };
        self.alarms.push(alarm, record);
        self.outbox.keep(None, transaction);
        // Every rollout sees it now, not at the next tick.
        self.look();
        Ok(Done::Answered(Reply::AlarmPushed))
    }
}
