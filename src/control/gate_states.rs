//! What gates keep, saved: they write into memory, and the writer brings it to the store.
//!
//! A gate may write with every call. It is saved at most once a second, and only when nothing else
//! waits for the store: a flood of it delays no rollout's save. What belongs to a service or a gate
//! that is not declared any more goes at a start and at a reload.

use crate::core::model::{GateName, ServiceName};
use crate::store::Transaction;

use super::World;
use super::record::{GateStateRecord, key, text};

/// The most states of one transaction: with all they may hold, it is one that any store takes.
const STATES: usize = 16;

impl World {
    /// Queues what gates have changed, if the store has nothing else to do.
    pub(super) fn save_gate_states(&self) {
        if self.outbox.is_empty() {
            self.queue_gate_states();
        }
    }

    /// Forgets what gates keep where the service or the gate is not declared any more, unless a
    /// rollout still asks: nobody else would ever come back to it, and its place is needed.
    pub(super) fn forget_gate_states(&self) {
        let is_asked = |service: &ServiceName, gate: &GateName| {
            self.rollouts.values().map(|active| active.rollout.spec()).any(|spec| {
                spec.service == *service && spec.gates.iter().any(|bound| bound.usage.gate == *gate)
            })
        };
        let config = &self.config;
        let is_declared = |service: &ServiceName, gate: &GateName| {
            config.services.contains_key(service)
                && (config.gates.contains_key(gate) || config.uploaded_gates.contains_key(gate))
        };
        let gone = self.gates.retain_states(&|service: &ServiceName, gate: &GateName| {
            is_declared(service, gate) || is_asked(service, gate)
        });
        if gone > 0 {
            tracing::info!(states = gone, "forgot what gates kept that are not declared any more");
        }
    }

    /// Queues all that gates have changed: the writer ends.
    pub(super) fn save_all_gate_states(&self) {
        while self.queue_gate_states() {}
    }

    /// Queues some of what gates have changed; gives whether there was something.
    fn queue_gate_states(&self) -> bool {
        let changed = self.gates.take_changed_states(STATES);
        if changed.is_empty() {
            return false;
        }
        let mut transaction = Transaction::default();
        for state in changed {
            let key = key("gate-state", &format!("{}/{}", state.service, state.gate));
            if state.values.is_empty() {
                transaction.deletes.push(key);
            } else {
                transaction.puts.push((key, text(&GateStateRecord::from(state))));
            }
        }
        self.outbox.keep(None, transaction);
        true
    }
}
