//! What a control side leaves to the next one of the same process.
//!
//! An upgrade that fails ends one and begins another, while requests and streams go on: what they
//! hang on must be the same afterwards. A process that starts has nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::core::model::{RolloutId, ServiceName, TargetGroupName};
use crate::core::routing::LiveTargets;

use super::burns::Burns;
use super::ejection::GroupWatch;
use super::latencies::Latencies;
use super::links::Links;
use super::remainder::Remainder;
use super::tally::Running;
use super::totals::Totals;

/// Belongs to the process and is locked by the control side that runs, from its beginning to its
/// end: there is one writer at a time.
#[derive(Debug, Default)]
pub struct Kept {
    /// Streams are told through it to leave, and connections are pooled by its numbers.
    pub(super) live: LiveTargets,
    /// Connections are pooled by their numbers, too: none may be used twice.
    pub(super) links: Links,
    /// What is remembered of each group's targets from tick to tick.
    pub(super) watches: BTreeMap<TargetGroupName, GroupWatch>,
    /// Counters of the services, which only grow.
    pub(super) totals: BTreeMap<ServiceName, Totals>,
    /// What the requests of each rollout had come to when it was saved last: they go on without a
    /// control side, and are still the rollout's.
    pub(super) counted: BTreeMap<RolloutId, Running>,
    /// Blue's latencies, for thresholds.
    pub(super) latencies: Latencies,
    /// That of the last table; `None` before the first one.
    pub(super) config: Option<Arc<Config>>,
    /// What is left of rollouts that are over.
    pub(super) remainders: BTreeMap<RolloutId, Remainder>,
    /// How fast services use up what their objectives permit.
    pub(super) burns: BTreeMap<ServiceName, Burns>,
}

impl Kept {
    /// The configuration that was in force last; `None` if none ever was.
    #[must_use]
    pub fn config(&self) -> Option<Arc<Config>> {
        self.config.clone()
    }
}
