//! An entry of the ledger, complete enough to check its hash.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;
use crate::core::ledger::Entry;
use crate::core::model::{RolloutId, ServiceName, Sha256};

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The service it is about; absent if it is about no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "shop")]
    pub service: Option<ServiceName>,
    /// The rollout it is about; absent if it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "d-7Q2K9XW4A")]
    pub rollout: Option<RolloutId>,
    /// Who did it.
    pub actor: String,
    /// Where it came from.
    #[schema(example = "api 127.0.0.1")]
    pub origin: String,
    /// Why, in the actor's words; absent if none were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happened.
    #[schema(example = "green_raised")]
    pub kind: String,
    /// The facts: JSON in a text, byte for byte as it was sealed.
    #[schema(example = r#"{"from":"0%","to":"10%"}"#)]
    pub detail: String,
    /// The hash of the entry before.
    #[schema(value_type = String)]
    pub prev: Sha256,
    /// The hash of everything above.
    #[schema(value_type = String)]
    pub hash: Sha256,
}

impl From<Entry> for LedgerEntry {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at: Timestamp(entry.at),
            service: entry.service,
            rollout: entry.rollout,
            actor: entry.actor,
            origin: entry.origin,
            reason: entry.reason,
            kind: entry.kind,
            detail: entry.detail,
            prev: entry.prev,
            hash: entry.hash,
        }
    }
}

impl From<LedgerEntry> for Entry {
    fn from(entry: LedgerEntry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at.0,
            service: entry.service,
            rollout: entry.rollout,
            actor: entry.actor,
            origin: entry.origin,
            reason: entry.reason,
            kind: entry.kind,
            detail: entry.detail,
            prev: entry.prev,
            hash: entry.hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::{Chain, Draft, Head};
    use crate::core::model::WallTime;

    #[test]
    fn an_entry_can_still_be_checked_after_the_trip_through_json() {
        let draft = Draft {
            at: WallTime::from_ms(1_769_860_800_257),
            service: Some("shop".parse().expect("valid")),
            rollout: None,
            actor: "admin".to_owned(),
            origin: "api 127.0.0.1".to_owned(),
            reason: Some("ü\n".to_owned()),
            kind: "split_set".to_owned(),
            detail: r#"{"green":"10%"}"#.to_owned(),
        };
        let json = LedgerEntry::from(draft.seal(Head::GENESIS));
        let text = serde_json::to_string(&json).expect("serialises");
        let back: LedgerEntry = serde_json::from_str(&text).expect("reads");
        assert_eq!(Chain::new().append(&back.into()), Ok(()));
    }
}
