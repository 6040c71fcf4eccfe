//! What the names of targets resolved to last.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::model::{TargetAddress, TargetName};

/// The addresses of every name that has any.
///
/// A name never loses its last address here: DNS that fails or answers nothing takes no target away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved(BTreeMap<TargetName, Vec<TargetAddress>>);

impl Resolved {
    /// The most addresses that are kept of a name.
    pub const LIMIT: usize = 64;

    /// The addresses of a target as written; none where a name has none yet.
    #[must_use]
    pub fn of<'a>(&'a self, name: &'a TargetName) -> &'a [TargetAddress] {
        match name {
            TargetName::Address(address) => std::slice::from_ref(address),
            TargetName::Host { .. } | TargetName::Service(_) => {
                self.0.get(name).map_or(&[], Vec::as_slice)
            }
        }
    }

    /// Takes a name's addresses; gives whether they are others than before. No addresses change
    /// nothing.
    pub(super) fn set(&mut self, name: &TargetName, addresses: &[TargetAddress]) -> bool {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(Self::LIMIT);
        if addresses.is_empty() || !name.is_of_dns() || self.of(name) == addresses {
            return false;
        }
        self.0.insert(name.clone(), addresses);
        true
    }

    /// Forgets every other name.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<TargetName>) {
        self.0.retain(|name, _| names.contains(name));
    }

    /// Every name with its addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&TargetName, &[TargetAddress])> {
        self.0.iter().map(|(name, addresses)| (name, addresses.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TargetName {
        text.parse().expect("valid")
    }

    fn address(text: &str) -> TargetAddress {
        text.parse().expect("valid")
    }

    #[test]
    fn a_name_keeps_its_last_addresses_when_an_answer_is_empty() {
        let mut resolved = Resolved::default();
        let shop = name("shop.internal:80");
        assert!(resolved.of(&shop).is_empty());
        let (one, two) = (address("10.0.0.1:80"), address("10.0.0.2:80"));
        assert!(resolved.set(&shop, &[two, one, two]));
        assert!(!resolved.set(&shop, &[one, two]), "the same in another order");
        assert!(!resolved.set(&shop, &[]));
        assert_eq!(resolved.of(&shop), [one, two]);
        resolved.keep_only(&BTreeSet::new());
        assert!(resolved.of(&shop).is_empty());
    }

    #[test]
    fn an_address_is_its_own_and_a_name_has_at_most_so_many() {
        let mut resolved = Resolved::default();
        assert_eq!(resolved.of(&name("10.0.0.1:80")), [address("10.0.0.1:80")]);
        assert!(!resolved.set(&name("10.0.0.1:80"), &[address("10.0.0.2:80")]));
        let many: Vec<_> = (1..=99).map(|n| address(&format!("10.0.0.{n}:80"))).collect();
        assert!(resolved.set(&name("srv:shop.internal"), &many));
        assert_eq!(resolved.of(&name("srv:shop.internal")).len(), Resolved::LIMIT);
        assert_eq!(resolved.iter().count(), 1);
    }
}
