//! Checking a ledger, entry by entry.

use super::{Entry, Head};

/// Why an entry cannot be the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Entries are missing before it.
    #[error("entry {found} stands in its place")]
    Gap {
        /// The number found.
        found: u64,
    },
    /// It, or one after it, was there already.
    #[error("entry {found} comes again in its place")]
    OutOfOrder {
        /// The number found.
        found: u64,
    },
    /// It was not sealed after the entry before it.
    #[error("it does not follow the entry before it: `prev` is another hash")]
    PrevMismatch,
    /// It was changed after it was sealed.
    #[error("its hash does not match its contents")]
    HashMismatch,
}

/// The first bad entry of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ledger entry {seq}: {fault}")]
pub struct ChainBreak {
    /// The number that the entry in this place must have.
    pub seq: u64,
    /// What is wrong with it.
    pub fault: ChainFault,
}

/// A checked prefix of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    head: Head,
}

impl Chain {
    /// The empty chain.
    #[must_use]
    pub fn new() -> Self {
        Self::after(Head::GENESIS)
    }

    /// A chain of which everything up to `head` was checked before.
    #[must_use]
    pub fn after(head: Head) -> Self {
        Self { head }
    }

    /// Its end.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Adds the next entry.
    ///
    /// # Errors
    /// It is not the next one, or was tampered with; the chain is then as it was.
    pub fn append(&mut self, entry: &Entry) -> Result<(), ChainBreak> {
        let seq = self.head.seq + 1;
        let fault = if entry.seq > seq {
            ChainFault::Gap { found: entry.seq }
        } else if entry.seq < seq {
            ChainFault::OutOfOrder { found: entry.seq }
        } else if entry.prev != self.head.hash {
            ChainFault::PrevMismatch
        } else if entry.hash != entry.contents_hash() {
            ChainFault::HashMismatch
        } else {
            self.head = entry.head();
            return Ok(());
        };
        Err(ChainBreak { seq, fault })
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Draft;
    use crate::core::model::{Sha256, WallTime};

    fn draft(number: u64) -> Draft {
        Draft {
            at: WallTime::from_ms(number),
            service: Some("shop".parse().expect("valid")),
            rollout: Some("d-ABCDEFGHI".parse().expect("valid")),
            actor: "deployer".to_owned(),
            origin: "api 127.0.0.1".to_owned(),
            reason: Some("because".to_owned()),
            kind: "weight_raised".to_owned(),
            detail: format!("{{\"green_bp\":{number}}}"),
        }
    }

    fn ledger(length: u64) -> Vec<Entry> {
        let mut head = Head::GENESIS;
        (1..=length)
            .map(|number| {
                let entry = draft(number).seal(head);
                head = entry.head();
                entry
            })
            .collect()
    }

    fn check(entries: &[Entry]) -> Result<Head, ChainBreak> {
        let mut chain = Chain::new();
        entries.iter().try_for_each(|entry| chain.append(entry))?;
        Ok(chain.head())
    }

    fn broken(entries: &[Entry]) -> (u64, ChainFault) {
        let found = check(entries).expect_err("broken");
        (found.seq, found.fault)
    }

    #[test]
    fn a_sealed_ledger_is_whole() {
        let entries = ledger(9);
        assert_eq!(check(&entries), Ok(entries[8].head()));
        assert_eq!(check(&[]), Ok(Head::GENESIS));
    }

    #[test]
    fn changing_any_field_names_that_entry() {
        let check = |change: fn(&mut Entry), fault: ChainFault| {
            let mut entries = ledger(9);
            change(&mut entries[4]);
            assert_eq!(broken(&entries), (5, fault));
        };
        check(|e| e.seq += 7, ChainFault::Gap { found: 12 });
        check(|e| e.seq -= 2, ChainFault::OutOfOrder { found: 3 });
        check(|e| e.at = WallTime::from_ms(0), ChainFault::HashMismatch);
        check(|e| e.service = None, ChainFault::HashMismatch);
        check(|e| e.rollout = None, ChainFault::HashMismatch);
        check(|e| e.actor.push('x'), ChainFault::HashMismatch);
        check(|e| e.origin.clear(), ChainFault::HashMismatch);
        check(|e| e.reason = None, ChainFault::HashMismatch);
        check(|e| e.kind.push('x'), ChainFault::HashMismatch);
        check(|e| e.detail.push(' '), ChainFault::HashMismatch);
        check(|e| e.prev = Sha256::of(b"other"), ChainFault::PrevMismatch);
        check(|e| e.hash = Sha256::of(b"other"), ChainFault::HashMismatch);
    }

    #[test]
    fn a_changed_entry_that_was_sealed_again_breaks_the_next_one() {
        let mut entries = ledger(9);
        entries[4].actor = "somebody else".to_owned();
        entries[4].hash = entries[4].contents_hash();
        assert_eq!(broken(&entries), (6, ChainFault::PrevMismatch));
    }

    #[test]
    fn dropping_entries_names_the_first_one_missing() {
        let mut one = ledger(9);
        one.remove(3);
        assert_eq!(broken(&one), (4, ChainFault::Gap { found: 5 }));
        let mut several = ledger(9);
        several.drain(3..7);
        assert_eq!(broken(&several), (4, ChainFault::Gap { found: 8 }));
        assert_eq!(broken(&ledger(9)[1..]), (1, ChainFault::Gap { found: 2 }));
    }

    #[test]
    fn swapping_or_repeating_entries_is_found() {
        let mut swapped = ledger(9);
        swapped.swap(3, 5);
        assert_eq!(broken(&swapped), (4, ChainFault::Gap { found: 6 }));
        let mut repeated = ledger(9);
        repeated.insert(4, repeated[3].clone());
        assert_eq!(broken(&repeated), (5, ChainFault::OutOfOrder { found: 4 }));
    }

    #[test]
    fn a_forged_entry_at_the_end_is_found() {
        let mut forged = ledger(9);
        forged.push(draft(10).seal(Head { seq: 9, hash: Sha256::of(b"guess") }));
        assert_eq!(broken(&forged), (10, ChainFault::PrevMismatch));
        forged[9].prev = forged[8].hash;
        assert_eq!(broken(&forged), (10, ChainFault::HashMismatch));
    }

    #[test]
    fn an_end_cut_off_shows_only_against_a_head_kept_elsewhere() {
        let entries = ledger(9);
        let kept = check(&entries).expect("whole");
        assert_ne!(check(&entries[..7]), Ok(kept));
    }

    #[test]
    fn checking_goes_on_where_it_ended() {
        let entries = ledger(9);
        let mut chain = Chain::after(entries[3].head());
        assert_eq!(chain.append(&entries[5]).expect_err("a gap").seq, 5);
        entries[4..].iter().for_each(|entry| chain.append(entry).expect("whole"));
        assert_eq!(chain.head(), entries[8].head());
    }
}
