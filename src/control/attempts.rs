//! Attempts: how often each revision of a service was rolled out.
//!
//! Who tries the same revision again and again would have it rolled back, or waved through, by
//! chance one day; so every attempt has a smaller part of alpha. The count must not forget what the
//! history forgets, and it must have a bound. The revisions beyond that bound are remembered by a
//! filter that never forgets one of them, and now and then takes another for one: what it knows may
//! have had as many attempts as any of them. So a count is right or too high, never too low, and
//! too high means more careful.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::model::{Revision, ServiceName, Sha256};
use crate::core::rollout::Spec;
use crate::store::Key;

use super::World;
use super::record::{key, text};

/// The attempts at the revisions of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// By a part of the revision's digest.
    known: BTreeMap<u64, Known>,
    /// How many rollouts were counted.
    counted: u64,
    /// The filter of those that are not known any more; empty while there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<u64>,
    /// The most attempts at one of them.
    #[serde(default)]
    most_gone: u32,
}

/// What is known of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    attempts: u32,
    /// The number of the last rollout among all of the service.
    last: u64,
}

impl Attempts {
    /// How many revisions are known one by one.
    const LIMIT: usize = 512;
    /// The words of the filter: a bit for each part of a key. It takes one new revision in a
    /// hundred for an old one when there were some 6 000.
    const WORDS: usize = (1 << 16) / 64;

    /// Which attempt at a revision the next one is, from 1.
    pub(super) fn next(&self, revision: &Revision) -> u32 {
        let key = key_of(revision);
        let before = match self.known.get(&key) {
            Some(known) => known.attempts,
            None if self.may_be_gone(key) => self.most_gone,
            None => 0,
        };
        before.saturating_add(1)
    }

    /// Counts an attempt.
    pub(super) fn count(&mut self, revision: &Revision) {
        let attempts = self.next(revision);
        self.counted += 1;
        self.known.insert(key_of(revision), Known { attempts, last: self.counted });
        while self.known.len() > Self::LIMIT {
            self.forget_one();
        }
    }

    /// Forgets the one with the fewest attempts, of those the one whose last was the longest ago:
    /// what the filter takes for one of them is then the least too high.
    fn forget_one(&mut self) {
        let fewest = self.known.iter().min_by_key(|(_, known)| (known.attempts, known.last));
        let Some((key, known)) = fewest.map(|(key, known)| (*key, *known)) else {
            return;
        };
        self.known.remove(&key);
        self.most_gone = self.most_gone.max(known.attempts);
        self.gone.resize(Self::WORDS, 0);
        for (word, bit) in places(key) {
            self.gone[word] |= bit;
        }
    }

    fn may_be_gone(&self, key: u64) -> bool {
        let is_set = |(word, bit): (usize, u64)| self.gone.get(word).is_some_and(|w| w & bit > 0);
        places(key).into_iter().all(is_set)
    }
}

/// Where a key is in the filter: four words, and the bit in each.
fn places(key: u64) -> [(usize, u64); 4] {
    std::array::from_fn(|part| {
        let place = (key >> (16 * part)) & 0xffff;
        let word = usize::try_from(place / 64).expect("there are 1024 words");
        (word, 1 << (place % 64))
    })
}

fn key_of(revision: &Revision) -> u64 {
    let digest = Sha256::of(revision.as_str().as_bytes());
    let (key, _) = digest.as_bytes().split_first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_be_bytes(*key)
}

impl World {
    /// Which rollout of its revision the next one of a service is, from 1. Those that had no
    /// traffic count too: that can only make the next one more careful.
    pub(super) fn attempt(&self, service: &ServiceName, revision: &Revision) -> u32 {
        self.attempts.get(service).map_or(1, |attempts| attempts.next(revision))
    }

    /// The record of a service's attempts as it is with a rollout that begins.
    pub(super) fn attempts_with(&self, spec: &Spec) -> (Key, String) {
        let mut attempts = self.attempts.get(&spec.service).cloned().unwrap_or_default();
        attempts.count(&spec.green_revision);
        (key("attempts", spec.service.as_str()), text(&attempts))
    }

    /// Counts a rollout that begins.
    pub(super) fn count_attempt(&mut self, spec: &Spec) {
        self.attempts.entry(spec.service.clone()).or_default().count(&spec.green_revision);
    }

    /// Takes the counts that the store has. Where an earlier release has left none, what is in the
    /// history is counted.
    pub(super) fn restore_attempts(&mut self, stored: BTreeMap<ServiceName, Attempts>) {
        let ended = self.history.iter().filter_map(|view| view.spec.clone());
        let running = self.rollouts.values().map(|active| Arc::clone(active.rollout.spec()));
        let mut specs: Vec<Arc<Spec>> = ended.chain(running).collect();
        specs.retain(|spec| !stored.contains_key(&spec.service));
        specs.sort_by_key(|spec| spec.created);
        self.attempts = stored;
        for spec in &specs {
            self.count_attempt(spec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: usize) -> Revision {
        format!("v{number}").parse().expect("a revision")
    }

    #[test]
    fn each_attempt_at_a_revision_is_one_more() {
        let mut attempts = Attempts::default();
        for expected in 1..=3 {
            assert_eq!(attempts.next(&revision(1)), expected);
            attempts.count(&revision(1));
            attempts.count(&revision(expected as usize + 1));
        }
        assert_eq!((attempts.next(&revision(2)), attempts.next(&revision(9))), (2, 1));
    }

    #[test]
    fn no_revision_is_ever_given_fewer_attempts_than_it_had() {
        let mut attempts = Attempts::default();
        let mut had = BTreeMap::<usize, u32>::new();
        // Each is tried again at once, long after, or never.
        for number in 0..6_000 {
            let tries =
                if number % 3 == 0 { vec![number] } else { vec![number, number / 7, number] };
            for tried in tries {
                let before = had.entry(tried).or_default();
                assert!(attempts.next(&revision(tried)) > *before, "v{tried}: {before}");
                attempts.count(&revision(tried));
                *before += 1;
            }
            assert!(attempts.known.len() <= Attempts::LIMIT && attempts.gone.len() <= 1_024);
        }
        // And a new one hardly ever more.
        let new = (10_000..11_000).filter(|number| attempts.next(&revision(*number)) > 1).count();
        assert!(new <= 50, "{new} of 1000");
        // What is kept of it is bounded, and read back as it was.
        let kept = text(&attempts);
        assert!(kept.len() < 64_000, "{}", kept.len());
        assert_eq!(serde_json::from_str::<Attempts>(&kept).expect("readable"), attempts);
    }
}
