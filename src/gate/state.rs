//! The state of gates: bounded in every direction, in memory, where no call waits for a disk.
//!
//! Whoever owns it takes out what has changed, saves it, and puts it back after a start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::model::{GateName, ServiceName};
use crate::core::rollout::{GateState, GateStateError};

type Pair = (ServiceName, GateName);
type Values = BTreeMap<String, String>;

/// A small map for each service and gate.
#[derive(Debug, Default)]
pub struct MemoryState {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pairs: BTreeMap<Pair, Values>,
    /// What was changed since it was taken.
    changed: BTreeSet<Pair>,
}

/// What one gate keeps for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptState {
    /// The service.
    pub service: ServiceName,
    /// The gate.
    pub gate: GateName,
    /// Every key with its value; empty if nothing is kept any more.
    pub values: BTreeMap<String, String>,
}

impl MemoryState {
    /// The most pairs of service and gate that have a state.
    pub const PAIRS: usize = 1_024;
    /// The most keys of one pair.
    pub const KEYS: usize = 64;
    /// The longest key in bytes.
    pub const KEY_BYTES: usize = 128;
    /// The longest value in bytes.
    pub const VALUE_BYTES: usize = 4_096;
    /// The most bytes of one pair, keys and values together.
    pub const PAIR_BYTES: usize = 64 << 10;

    /// Takes what has changed since it was taken last, at most so many pairs.
    pub fn take_changed(&self, most: usize) -> Vec<KeptState> {
        let mut inner = self.lock();
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(pair) = inner.changed.pop_first() else { break };
            let values = inner.pairs.get(&pair).cloned().unwrap_or_default();
            let (service, gate) = pair;
            taken.push(KeptState { service, gate, values });
        }
        taken
    }

    /// Replaces everything by what was saved; what is beyond the bounds is left out.
    pub fn restore(&self, saved: Vec<KeptState>) {
        let mut inner = Inner::default();
        for KeptState { service, gate, values } in saved.into_iter().take(Self::PAIRS) {
            if !values.is_empty() && values.len() <= Self::KEYS {
                inner.pairs.insert((service, gate), values);
            }
        }
        *self.lock() = inner;
    }

    /// Forgets what is not to be kept, which counts as a change; gives how many pairs that were.
    pub fn retain(&self, is_kept: impl Fn(&ServiceName, &GateName) -> bool) -> usize {
        let mut inner = self.lock();
        let pairs = inner.pairs.keys();
        let gone: Vec<Pair> =
            pairs.filter(|(service, gate)| !is_kept(service, gate)).cloned().collect();
        for pair in &gone {
            inner.pairs.remove(pair);
            inner.changed.insert(pair.clone());
        }
        gone.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(key: &str, value: &str) -> Result<(), GateStateError> {
        if key.is_empty() || key.len() > Self::KEY_BYTES {
            return Err(GateStateError::Key { limit: Self::KEY_BYTES, length: key.len() });
        }
        if value.len() > Self::VALUE_BYTES {
            return Err(GateStateError::Value { limit: Self::VALUE_BYTES, length: value.len() });
        }
        Ok(())
    }
}

impl Inner {
    fn remove(&mut self, pair: Pair, key: &str) {
        let Some(values) = self.pairs.get_mut(&pair) else { return };
        if values.remove(key).is_none() {
            return;
        }
        if values.is_empty() {
            self.pairs.remove(&pair);
        }
        self.changed.insert(pair);
    }

    fn set(&mut self, pair: Pair, key: &str, value: &str) -> Result<(), GateStateError> {
        if !self.pairs.contains_key(&pair) && self.pairs.len() >= MemoryState::PAIRS {
            return Err(GateStateError::TooManyPairs { limit: MemoryState::PAIRS });
        }
        let values = self.pairs.entry(pair.clone()).or_default();
        let before = values.get(key);
        if before.is_none() && values.len() >= MemoryState::KEYS {
            return Err(GateStateError::Full { limit: MemoryState::KEYS });
        }
        if before.is_some_and(|before| before == value) {
            return Ok(());
        }
        let others = values.iter().filter(|(known, _)| known.as_str() != key);
        let others: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        if others + key.len() + value.len() > MemoryState::PAIR_BYTES {
            return Err(GateStateError::TooLong { limit: MemoryState::PAIR_BYTES });
        }
        values.insert(key.to_owned(), value.to_owned());
        self.changed.insert(pair);
        Ok(())
    }
}

impl GateState for MemoryState {
    fn value(&self, service: &ServiceName, gate: &GateName, key: &str) -> Option<String> {
        self.lock().pairs.get(&(service.clone(), gate.clone()))?.get(key).cloned()
    }

    fn set_value(
        &self,
        service: &ServiceName,
        gate: &GateName,
        key: &str,
        value: &str,
    ) -> Result<(), GateStateError> {
        Self::check(key, value)?;
        let pair = (service.clone(), gate.clone());
        if value.is_empty() {
            self.lock().remove(pair, key);
            return Ok(());
        }
        self.lock().set(pair, key, value)
    }

    fn keys(&self, service: &ServiceName, gate: &GateName) -> Vec<String> {
        let inner = self.lock();
        let values = inner.pairs.get(&(service.clone(), gate.clone()));
        values.map(|values| values.keys().cloned().collect()).unwrap_or_default()
    }

    fn values(&self, service: &ServiceName, gate: &GateName) -> BTreeMap<String, String> {
        let inner = self.lock();
        inner.pairs.get(&(service.clone(), gate.clone())).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(service: &str) -> Pair {
        (service.parse().expect("valid"), "g".parse().expect("valid"))
    }

    #[test]
    fn a_value_belongs_to_one_service_and_is_removed_by_an_empty_one() {
        let state = MemoryState::default();
        let ((shop, gate), (blog, _)) = (pair("shop"), pair("blog"));
        assert_eq!(state.set_value(&shop, &gate, "k", "v"), Ok(()));
        assert_eq!(state.value(&shop, &gate, "k"), Some("v".to_owned()));
        assert_eq!(state.value(&blog, &gate, "k"), None);
        assert_eq!(state.set_value(&shop, &gate, "k", ""), Ok(()));
        assert_eq!(state.value(&shop, &gate, "k"), None);
    }

    #[test]
    fn what_is_too_large_is_refused_and_known_keys_can_still_be_set() {
        let state = MemoryState::default();
        let (shop, gate) = pair("shop");
        let set = |key: &str, value: &str| state.set_value(&shop, &gate, key, value);
        assert!(matches!(set("", "v"), Err(GateStateError::Key { .. })));
        assert!(matches!(set(&"k".repeat(129), "v"), Err(GateStateError::Key { .. })));
        assert!(matches!(set("k", &"v".repeat(4_097)), Err(GateStateError::Value { .. })));
        for i in 0..MemoryState::KEYS {
            assert_eq!(set(&i.to_string(), "v"), Ok(()));
        }
        assert!(matches!(set("more", "v"), Err(GateStateError::Full { .. })));
        assert_eq!(set("0", "w"), Ok(()));
    }

    #[test]
    fn the_number_of_pairs_is_bounded() {
        let state = MemoryState::default();
        for i in 0..MemoryState::PAIRS {
            let (service, gate) = pair(&format!("s{i}"));
            assert_eq!(state.set_value(&service, &gate, "k", "v"), Ok(()));
        }
        let (service, gate) = pair("one-more");
        let refused = state.set_value(&service, &gate, "k", "v");
        assert_eq!(refused, Err(GateStateError::TooManyPairs { limit: MemoryState::PAIRS }));
    }

    #[test]
    fn what_a_pair_keeps_is_bounded_in_bytes() {
        let state = MemoryState::default();
        let (shop, gate) = pair("shop");
        let long = "v".repeat(MemoryState::VALUE_BYTES);
        let fit = MemoryState::PAIR_BYTES / (MemoryState::VALUE_BYTES + 2);
        for i in 10..10 + fit {
            assert_eq!(state.set_value(&shop, &gate, &i.to_string(), &long), Ok(()));
        }
        let refused = state.set_value(&shop, &gate, "99", &long);
        assert_eq!(refused, Err(GateStateError::TooLong { limit: MemoryState::PAIR_BYTES }));
        assert_eq!(state.set_value(&shop, &gate, "10", "short"), Ok(()));
        assert_eq!(state.set_value(&shop, &gate, "99", "short"), Ok(()));
        assert_eq!(state.keys(&shop, &gate).len(), fit + 1);
    }

    #[test]
    fn what_is_not_to_be_kept_is_forgotten_and_makes_room() {
        let state = MemoryState::default();
        for i in 0..MemoryState::PAIRS {
            let (service, gate) = pair(&format!("s{i}"));
            assert_eq!(state.set_value(&service, &gate, "k", "v"), Ok(()));
        }
        assert_eq!(state.take_changed(usize::MAX).len(), MemoryState::PAIRS);
        let gone = state.retain(|service, _| service.as_str() != "s7");
        assert_eq!(gone, 1);
        let ((service, gate), (other, _)) = (pair("s7"), pair("s8"));
        assert_eq!(state.value(&service, &gate, "k"), None);
        assert_eq!(state.value(&other, &gate, "k"), Some("v".to_owned()));
        let taken = state.take_changed(usize::MAX);
        assert!(taken.len() == 1 && taken[0].values.is_empty(), "{taken:?}");
        assert_eq!(state.set_value(&pair("one-more").0, &gate, "k", "v"), Ok(()));
        assert_eq!(state.retain(|_, _| true), 0);
    }

    #[test]
    fn what_has_changed_is_taken_once_and_can_be_put_back() {
        let state = MemoryState::default();
        let ((shop, gate), (blog, _)) = (pair("shop"), pair("blog"));
        let set = |service: &ServiceName, key: &str, value: &str| {
            assert_eq!(state.set_value(service, &gate, key, value), Ok(()));
        };
        set(&shop, "b", "1");
        set(&shop, "a", "2");
        set(&blog, "k", "v");
        let taken = state.take_changed(1);
        assert_eq!((taken.len(), &taken[0].service), (1, &blog));
        let taken = state.take_changed(9);
        assert_eq!(taken.len(), 1);
        assert_eq!(state.keys(&shop, &gate), ["a", "b"]);
        set(&shop, "a", "2");
        assert_eq!(state.take_changed(9), [], "the same again is no change");
        set(&shop, "a", "");
        set(&shop, "b", "");
        let gone = state.take_changed(9);
        assert!(gone.len() == 1 && gone[0].values.is_empty(), "{gone:?}");
        set(&blog, "k", "");
        let other = MemoryState::default();
        other.restore(taken);
        assert_eq!(other.value(&shop, &gate, "a"), Some("2".to_owned()));
        assert_eq!(other.take_changed(9), [], "what is saved has not changed");
    }
}
