//! The state of gates in memory: bounded in every direction, lost with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::core::model::{GateName, ServiceName};
use crate::core::rollout::{GateState, GateStateError};

type Pair = (ServiceName, GateName);

/// A small map for each service and gate.
#[derive(Debug, Default)]
pub struct MemoryState {
    pairs: Mutex<BTreeMap<Pair, BTreeMap<String, String>>>,
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
}

impl GateState for MemoryState {
    fn value(&self, service: &ServiceName, gate: &GateName, key: &str) -> Option<String> {
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.get(&(service.clone(), gate.clone()))?.get(key).cloned()
    }

    fn set_value(
        &self,
        service: &ServiceName,
        gate: &GateName,
        key: &str,
        value: &str,
    ) -> Result<(), GateStateError> {
        if key.is_empty() || key.len() > Self::KEY_BYTES {
            return Err(GateStateError::Key { limit: Self::KEY_BYTES, length: key.len() });
        }
        if value.len() > Self::VALUE_BYTES {
            return Err(GateStateError::Value { limit: Self::VALUE_BYTES, length: value.len() });
        }
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (service.clone(), gate.clone());
        if value.is_empty() {
            if let Some(keys) = pairs.get_mut(&pair) {
                keys.remove(key);
                if keys.is_empty() {
                    pairs.remove(&pair);
                }
            }
            return Ok(());
        }
        if !pairs.contains_key(&pair) && pairs.len() >= Self::PAIRS {
            return Err(GateStateError::TooManyPairs { limit: Self::PAIRS });
        }
        let keys = pairs.entry(pair).or_default();
        if !keys.contains_key(key) && keys.len() >= Self::KEYS {
            return Err(GateStateError::Full { limit: Self::KEYS });
        }
        keys.insert(key.to_owned(), value.to_owned());
        Ok(())
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
}
