//! Splits by hand.

use serde_json::json;

use crate::core::model::{Exposure, ServiceName, Split, Weight};
use crate::store::Transaction;

use super::super::change::After;
use super::super::draft::{About, EntryKind, entry};
use super::super::record::{ServiceRecord, key, text};
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
        record.set(ServiceRecord { split, ..record.clone() });
        let detail = json!({ "from": from, "to": green });
        let by = (&request.actor, request.reason.as_ref());
        let draft = entry(EntryKind::SplitSet, About::service(name), &detail, by, self.now.wall);
        let transaction = Transaction {
            puts: vec![(key("service", name.as_str()), text(&record))],
            entries: vec![draft],
            ..Transaction::default()
        };
        if green > from {
            self.not_busy(name)?;
            let after = After::Split { service: name.clone(), split };
            return Ok(Done::Saving(Box::new((transaction, after))));
        }
        // Taking risk away waits for nothing, least of all for a raise that the store is slow with.
        self.withdraw(name)?;
        if let Some(state) = self.services.get_mut(name) {
            state.record = record;
            state.exposure = Exposure { split, ..state.exposure };
            self.publish();
        }
        self.outbox.keep(None, transaction);
        self.service_reply(name, false).map(Done::Answered)
    }

    /// Gives up what is being saved of a service's split or roles. The store may have it for a
    /// moment; what replaces it stands behind it in the queue.
    fn withdraw(&mut self, name: &ServiceName) -> Result<(), Refusal> {
        let Err(busy) = self.not_busy(name) else {
            return Ok(());
        };
        let Some(pending) = self.changes.withdraw(name) else {
            return Err(busy);
        };
        self.set_busy(&pending.after, false);
        if let Some(reply) = pending.reply {
            self.answer(reply, Err(busy));
        }
        Ok(())
    }

    pub(super) fn split_saved(
        &mut self,
        name: &ServiceName,
        split: Split,
    ) -> Result<Reply, Refusal> {
        self.part_from_last(name);
        if let Some(state) = self.services.get_mut(name) {
            state.record.set(ServiceRecord { split, ..state.record.clone() });
            state.exposure = Exposure { split, ..state.exposure };
            self.publish();
        }
        self.service_reply(name, true)
    }
}
