//! One entry of the ledger, and how it is sealed.
//!
//! The hash is SHA-256 over the entry's fields in this order: the tag `tidegate-ledger-1`, `seq`,
//! `at`, `service`, `rollout`, `actor`, `origin`, `reason`, `kind`, `detail`, `prev`. Numbers are
//! eight bytes, big-endian; texts (the tag too) are their length in bytes as such a number, then
//! their UTF-8; an optional text is one byte, 0 for absent, or 1 and then the text; `prev` is its
//! 32 bytes. So no two different entries have the same bytes.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::core::model::{RolloutId, ServiceName, Sha256, WallTime};

/// What is to be recorded: an entry that has no place in the chain yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// When it happened.
    pub at: WallTime,
    /// The service it is about; `None` if it is about no single one.
    pub service: Option<ServiceName>,
    /// The rollout it is about; `None` if it is about none.
    pub rollout: Option<RolloutId>,
    /// Who did it.
    pub actor: String,
    /// Where it came from, for example `api 127.0.0.1`.
    pub origin: String,
    /// Why, in the actor's words; `None` if none was given.
    pub reason: Option<String>,
    /// What happened: past tense, `snake_case`, for example `weight_raised`.
    pub kind: String,
    /// The facts, as canonical JSON.
    pub detail: String,
}

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: WallTime,
    /// The service it is about; `None` if it is about no single one.
    pub service: Option<ServiceName>,
    /// The rollout it is about; `None` if it is about none.
    pub rollout: Option<RolloutId>,
    /// Who did it.
    pub actor: String,
    /// Where it came from.
    pub origin: String,
    /// Why, in the actor's words; `None` if none was given.
    pub reason: Option<String>,
    /// What happened.
    pub kind: String,
    /// The facts, as canonical JSON.
    pub detail: String,
    /// The hash of the entry before; of the first one, [`Head::GENESIS`]'s.
    pub prev: Sha256,
    /// The hash of everything above.
    pub hash: Sha256,
}

/// The end of a chain: its last entry's number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last entry's number; 0 if there is none.
    pub seq: u64,
    /// The last entry's hash; all zeros if there is none.
    pub hash: Sha256,
}

impl Head {
    /// The end of the empty chain.
    pub const GENESIS: Self = Self { seq: 0, hash: Sha256::from_bytes([0; 32]) };
}

impl Draft {
    /// Makes the entry that follows `head`.
    #[must_use]
    pub fn seal(self, head: Head) -> Entry {
        let mut entry = Entry {
            seq: head.seq + 1,
            at: self.at,
            service: self.service,
            rollout: self.rollout,
            actor: self.actor,
            origin: self.origin,
            reason: self.reason,
            kind: self.kind,
            detail: self.detail,
            prev: head.hash,
            hash: Head::GENESIS.hash,
        };
        entry.hash = entry.contents_hash();
        entry
    }
}

impl Entry {
    /// The chain's end when this is its last entry.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// The hash that its fields ask for, whatever [`Self::hash`] says.
    #[must_use]
    pub fn contents_hash(&self) -> Sha256 {
        let mut preimage = Preimage(sha2::Sha256::new());
        preimage.text(TAG);
        preimage.number(self.seq);
        preimage.number(self.at.ms());
        preimage.optional(self.service.as_ref().map(ServiceName::as_str));
        preimage.optional(self.rollout.as_ref().map(RolloutId::as_str));
        preimage.text(&self.actor);
        preimage.text(&self.origin);
        preimage.optional(self.reason.as_deref());
        preimage.text(&self.kind);
        preimage.text(&self.detail);
        preimage.0.update(self.prev.as_bytes());
        Sha256::from_bytes(preimage.0.finalize().into())
    }
}

/// The bytes under a hash, as they are fed to it.
struct Preimage(sha2::Sha256);

impl Preimage {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(u64::try_from(text.len()).expect("a length fits 64 bits"));
        self.0.update(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.text(text);
            }
        }
    }
}

const TAG: &str = "tidegate-ledger-1";

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            at: WallTime::from_ms(1),
            service: None,
            rollout: None,
            actor: "ab".to_owned(),
            origin: "c".to_owned(),
            reason: None,
            kind: "weight_raised".to_owned(),
            detail: "{}".to_owned(),
        }
    }

    #[test]
    fn an_entry_follows_the_head_it_was_sealed_after() {
        let first = draft().seal(Head::GENESIS);
        assert_eq!((first.seq, first.prev), (1, Head::GENESIS.hash));
        let second = draft().seal(first.head());
        assert_eq!((second.seq, second.prev), (2, first.hash));
        assert_eq!(second.hash, second.contents_hash());
    }

    #[test]
    fn text_moved_from_one_field_to_the_next_is_another_entry() {
        let moved = Draft { actor: "a".to_owned(), origin: "bc".to_owned(), ..draft() };
        assert_ne!(draft().seal(Head::GENESIS).hash, moved.seal(Head::GENESIS).hash);
        let empty = Draft { reason: Some(String::new()), ..draft() };
        assert_ne!(draft().seal(Head::GENESIS).hash, empty.seal(Head::GENESIS).hash);
    }

    #[test]
    fn the_hash_of_a_known_entry_never_changes() {
        let hash = draft().seal(Head::GENESIS).hash.to_string();
        assert_eq!(hash, "92ff063010c456747e125210984aa233a9d978a796643a9ef69ad73b8e77e308");
    }
}
