//! What gates keep, saved: they write into memory, and the writer brings it to the store.
//!
//! A gate may write with every call. It is saved at most once a second, and only when nothing else
//! waits for the store: a flood of it delays no rollout's save.

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
