//! The users of a sticky service in a trial.

use crate::core::analysis::comparison::{Chance, Metric, MetricSet, SeenUnits};

/// What is remembered of the users of a sticky service (B9).
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    /// Those that failed, per metric of events.
    failed: [SeenUnits; 2],
    /// Those that sent anything.
    met: SeenUnits,
}

impl Users {
    /// The metrics in which a user's request is a datum: those of events until the user has failed
    /// once, those of latency for the first request.
    pub(super) fn arrive(&mut self, user: u32) -> MetricSet {
        let mut counted = MetricSet::NONE;
        for (metric, failed) in [Metric::Errors, Metric::Client4xx].iter().zip(&self.failed) {
            if !failed.contains(key(user)) {
                counted = counted.with(*metric);
            }
        }
        if self.met.insert(key(user)) { counted.union(MetricSet::LATENCIES) } else { counted }
    }

    /// Whether a failure is the user's first in this metric; latencies are counted once anyway.
    pub(super) fn is_datum(&mut self, metric: Metric, user: u32) -> bool {
        match metric {
            Metric::Errors => self.failed[0].insert(key(user)),
            Metric::Client4xx => self.failed[1].insert(key(user)),
            Metric::LatencyP50 | Metric::LatencyP90 | Metric::LatencyP99 => true,
        }
    }
}

fn key(user: u32) -> (u64, u64) {
    let mut hash = Chance::new(user.into());
    (hash.bits(), hash.bits())
}
