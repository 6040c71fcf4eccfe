//! What is changed at once: expectations, records, and entries of the ledger.

use std::collections::BTreeMap;
use std::fmt;

use super::{Key, StoreError};
use crate::core::ledger::Draft;

/// What a record must be for a transaction to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Not there.
    Absent,
    /// Last written at this version.
    Version(u64),
    /// Whatever it is.
    Any,
}

impl Expect {
    /// What holds for a record with this version; `None` for one that is not there.
    #[must_use]
    pub fn from_found(version: Option<u64>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }

    /// Whether a record with this version, or none, is as expected.
    #[must_use]
    pub fn holds(self, found: Option<u64>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Version(version) => found == Some(version),
            Self::Any => true,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Version(version) => write!(f, "at version {version}"),
            Self::Any => f.write_str("anything"),
        }
    }
}

/// A change that is made whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold before; checked in this order.
    pub expect: Vec<(Key, Expect)>,
    /// Records to write, with their JSON text; of two for one key the later counts.
    pub puts: Vec<(Key, String)>,
    /// Records to remove, present or not; wins over a put of the same key.
    pub deletes: Vec<Key>,
    /// What to append to the ledger, in this order.
    pub entries: Vec<Draft>,
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The store's revision after it; the version of every record it wrote.
    pub revision: u64,
    /// The number of the ledger's last entry after it; 0 if there is none.
    pub last_seq: u64,
}

/// What becomes of each key of a transaction: its text, or `None` if it is removed.
pub(super) type Writes = BTreeMap<Key, Option<String>>;

impl Transaction {
    /// The most expectations, keys and entries, each.
    pub const ITEM_LIMIT: usize = 4_096;
    /// The most bytes of text in records and entries together.
    pub const BYTE_LIMIT: usize = 16 << 20;

    /// Refuses what is larger than any engine takes.
    pub(super) fn check_size(&self) -> Result<(), StoreError> {
        let keys = self.puts.len() + self.deletes.len();
        let records = self.puts.iter().map(|(_, value)| value.len()).sum::<usize>();
        let entries = self.entries.iter().map(draft_bytes).sum::<usize>();
        let counts = [
            ("expectations", self.expect.len(), Self::ITEM_LIMIT),
            ("changes", keys, Self::ITEM_LIMIT),
            ("ledger entries", self.entries.len(), Self::ITEM_LIMIT),
            ("bytes", records + entries, Self::BYTE_LIMIT),
        ];
        match counts.into_iter().find(|(_, found, limit)| found > limit) {
            None => Ok(()),
            Some((what, found, limit)) => Err(StoreError::TooLarge { what, limit, found }),
        }
    }
}

/// Folds puts and deletes into one write per key.
pub(super) fn writes(puts: Vec<(Key, String)>, deletes: Vec<Key>) -> Writes {
    let puts = puts.into_iter().map(|(key, value)| (key, Some(value)));
    puts.chain(deletes.into_iter().map(|key| (key, None))).collect()
}

fn draft_bytes(draft: &Draft) -> usize {
    let texts = [&draft.actor, &draft.origin, &draft.kind, &draft.detail];
    texts.into_iter().chain(draft.reason.as_ref()).map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_holds_for_what_it_names() {
        let check = |expect: Expect, found: Option<u64>, expected: bool| {
            assert_eq!(expect.holds(found), expected, "{expect} {found:?}");
        };
        check(Expect::Absent, None, true);
        check(Expect::Absent, Some(1), false);
        check(Expect::Version(2), Some(2), true);
        check(Expect::Version(2), Some(1), false);
        check(Expect::Version(2), None, false);
        check(Expect::Any, None, true);
        check(Expect::Any, Some(1), true);
    }

    #[test]
    fn each_key_is_written_once() {
        let key = |name: &str| Key::new("service", name).expect("valid");
        let puts = vec![
            (key("a"), "1".to_owned()),
            (key("a"), "2".to_owned()),
            (key("b"), "3".to_owned()),
        ];
        let folded = writes(puts, vec![key("b"), key("c")]);
        let expected = [(key("a"), Some("2".to_owned())), (key("b"), None), (key("c"), None)];
        assert_eq!(folded, expected.into_iter().collect());
    }

    #[test]
    fn what_is_too_large_is_refused_by_name() {
        let key = Key::new("service", "a").expect("valid");
        let many = Transaction {
            deletes: vec![key.clone(); Transaction::ITEM_LIMIT + 1],
            ..Default::default()
        };
        assert!(matches!(many.check_size(), Err(StoreError::TooLarge { what: "changes", .. })));
        let long = " ".repeat(Transaction::BYTE_LIMIT + 1);
        let big = Transaction { puts: vec![(key, long)], ..Default::default() };
        assert!(matches!(big.check_size(), Err(StoreError::TooLarge { what: "bytes", .. })));
        assert_eq!(Transaction::default().check_size(), Ok(()));
    }
}
