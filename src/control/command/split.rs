//! Splits by hand.

use serde_json::json;

use crate::core::model::{Exposure, ServiceName, Split, Weight};
use crate::store::Transaction;

use super::super::change::After;
use super::super::draft::{About, EntryKind, entry};
use super::super::outbox::Purpose;
use super::super::record::{key, text};
use super::super::{Refusal, Reply, Request, World};
use super::Done;

impl World {
    pub(super) fn set_split(
        &mut self,
        request: &Request,
        name: &ServiceName,
        green: Weight,
    ) -> Result<Done, Refusal> {
        let state = self.service_for(request, name)?;
        self.no_rollout(name)?;
        let from = state.exposure.split.green();
        let split = Split::with_green(green);
        let mut record = state.record.clone();
        record.split = split;
        record.version += 1;
        let detail = json!({ "from": from, "to": green });
        let by = (&request.actor, request.reason.as_ref());
        let draft = entry(EntryKind::SplitSet, About::service(name), &detail, by, self.now.wall);
        let transaction = Transaction {
            puts: vec![(key("service", name.as_str()), text(&record))],
            entries: vec![draft],
            ..Transaction::default()
        };
        if green > from {
            let after = After::Split { service: name.clone(), split };
            return Ok(Done::Saving(Box::new((transaction, after))));
        }
        if let Some(state) = self.services.get_mut(name) {
            state.record = record;
            state.exposure = Exposure { split, ..state.exposure };
            self.publish();
        }
        // Lowered already: the record follows, and is not lost if the store fails now.
        let persisted = false;
        self.outbox.push(Purpose::Note, transaction);
        self.service_reply(name, persisted).map(Done::Answered)
    }

    pub(super) fn split_saved(
        &mut self,
        name: &ServiceName,
        split: Split,
    ) -> Result<Reply, Refusal> {
        if let Some(state) = self.services.get_mut(name) {
            state.record.split = split;
            state.record.version += 1;
            state.exposure = Exposure { split, ..state.exposure };
            self.publish();
        }
        self.service_reply(name, true)
    }
}
