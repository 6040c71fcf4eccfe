//! Rollouts that are over, a bounded number of them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::model::{RolloutId, Span, WallTime};

use super::{RolloutView, Tally};

/// Ended rollouts, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    ended: VecDeque<Arc<RolloutView>>,
}

impl History {
    /// How many are kept.
    const LIMIT: usize = 1_000;
    /// How long they are kept.
    const AGE: Span = Span::from_hours(90 * 24);

    /// Adds one that has just ended; gives those that have to go.
    pub(super) fn add(&mut self, view: Arc<RolloutView>, now: WallTime) -> Vec<RolloutId> {
        self.ended.push_back(view);
        self.prune(now)
    }

    /// Takes what the store has, in any order.
    pub(super) fn restore(&mut self, mut views: Vec<Arc<RolloutView>>) {
        views.sort_by_key(|view| (view.ended, view.id.clone()));
        self.ended = views.into();
    }

    /// Corrects what the requests of one came to; whether it is still there.
    pub(super) fn restate(&mut self, id: &RolloutId, tally: Tally) -> bool {
        let Some(view) = self.ended.iter_mut().rev().find(|view| view.id == *id) else {
            return false;
        };
        if view.tally != tally {
            Arc::make_mut(view).tally = tally;
        }
        true
    }

    fn prune(&mut self, now: WallTime) -> Vec<RolloutId> {
        let mut gone = Vec::new();
        let old = |view: &RolloutView| view.ended.is_some_and(|at| now.since(at) > Self::AGE);
        while self.ended.len() > Self::LIMIT || self.ended.front().is_some_and(|view| old(view)) {
            gone.extend(self.ended.pop_front().map(|view| view.id.clone()));
        }
        gone
    }

    /// Everyone.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<RolloutView>> {
        self.ended.iter()
    }
}
