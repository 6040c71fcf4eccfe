//! Closing: what a writer leaves before it ends, so that the next one goes on from there.
//!
//! Rollouts are saved when something is decided, and every few seconds otherwise. What was watched
//! and counted since then would be lost with an end that is no crash.

use crate::core::model::RolloutId;

use super::World;

impl World {
    /// Has every rollout that goes on saved as it is now; never waits.
    pub(super) fn close(&mut self) {
        let running = self.rollouts.iter().filter(|(_, active)| active.ended.is_none());
        let ids: Vec<RolloutId> = running.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.count(&id);
            self.save(&id, None);
        }
        self.close_remainders();
        self.save_all_gate_states();
    }
}
