//! A model of the store: writes in order, late, sometimes not for a while, several at once.

use std::collections::VecDeque;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tidegate::core::rollout::Rollout;

use crate::ledger::Entry;

/// How long a store blocks that blocks.
pub(crate) const BLOCKED_MS: u64 = 30_000;
const RETRY_MS: u64 = 500;

/// A store with its queue of writes.
#[derive(Debug, Default)]
pub(crate) struct Store {
    queue: VecDeque<Write>,
    stored: Option<Rollout>,
    facts: Vec<Entry>,
    /// When the write at the head of the queue is tried.
    next: u64,
    /// Until when every write fails.
    fails_until: u64,
    /// Until when no write comes back.
    blocks_until: u64,
}

#[derive(Debug)]
struct Write {
    seq: u64,
    rollout: Rollout,
    facts: Vec<Entry>,
}

/// What came of a write.
#[derive(Debug)]
pub(crate) enum News {
    /// This number and all before it are stored.
    Written(u64),
    /// Nothing was stored; it will be tried again.
    Failed,
}

impl Store {
    /// Takes a write.
    pub(crate) fn enqueue(
        &mut self,
        (seq, rollout, facts): (u64, Rollout, Vec<Entry>),
        now: u64,
        rng: &mut SmallRng,
    ) {
        if self.queue.is_empty() {
            self.next = now + rng.random_range(1..300);
        }
        self.queue.push_back(Write { seq, rollout, facts });
    }

    /// When it does something next; `None` while it has nothing to do.
    pub(crate) fn due(&self) -> Option<u64> {
        (!self.queue.is_empty()).then(|| self.next.max(self.blocks_until))
    }

    /// Tries to write: one record, or several that wait at once, the last of which is kept.
    pub(crate) fn work(&mut self, now: u64, rng: &mut SmallRng) -> News {
        if now < self.fails_until {
            self.next = now + RETRY_MS;
            return News::Failed;
        }
        let count = rng.random_range(1..=self.queue.len());
        let seq = self.write(count).expect("it works only when something waits");
        self.next = now + rng.random_range(1..300);
        News::Written(seq)
    }

    fn write(&mut self, count: usize) -> Option<u64> {
        let mut last = None;
        for write in self.queue.drain(..count) {
            self.facts.extend(write.facts);
            self.stored = Some(write.rollout);
            last = Some(write.seq);
        }
        last
    }

    /// The process ends: some of what waited may have been written, in order; the rest is lost.
    pub(crate) fn crash(&mut self, now: u64, rng: &mut SmallRng) {
        if now >= self.blocks_until.max(self.fails_until) {
            let count = rng.random_range(0..=self.queue.len());
            self.write(count);
        }
        self.queue.clear();
    }

    /// Fails from now on.
    pub(crate) fn fail_for(&mut self, now: u64, ms: u64) {
        self.fails_until = now + ms;
    }

    /// Blocks from now on.
    pub(crate) fn block(&mut self, now: u64) {
        self.blocks_until = now + BLOCKED_MS;
    }

    /// Works again.
    pub(crate) fn heal(&mut self) {
        self.fails_until = 0;
        self.blocks_until = 0;
    }

    /// The rollout as last written; `None` before the first write.
    pub(crate) fn stored(&self) -> Option<&Rollout> {
        self.stored.as_ref()
    }

    /// Every fact that was written.
    pub(crate) fn facts(&self) -> &[Entry] {
        &self.facts
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }
}
