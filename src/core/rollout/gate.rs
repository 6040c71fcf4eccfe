//! What a gate is asked, and what it may answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::model::{
    GateName, GateStage, GateUse, OnGateError, Revision, RolloutId, ServiceName, Sha256, Side,
    Span, Weight,
};

/// One question to one gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateCall {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its service.
    pub service: ServiceName,
    /// Which gate, with its parameters and policies.
    pub gate: GateUse,
    /// The component's digest when the rollout was created.
    pub digest: Sha256,
    /// Where in the rollout.
    pub stage: GateStage,
    /// The step's number, from 0.
    pub step: u32,
    /// Which asking this is, from 1, over the whole rollout: an answer to another one is dropped.
    pub attempt: u32,
    /// What blue runs; `None` if no deploy tool ever said so.
    pub blue_revision: Option<Revision>,
    /// What green runs.
    pub green_revision: Revision,
    /// Green's weight in force.
    pub weight: Weight,
    /// The weight that a pass leads to; the same where it leads to none.
    pub next_weight: Weight,
    /// Time since the rollout was created, downtime included.
    pub elapsed: Span,
}

impl GateCall {
    /// The gate's name.
    #[must_use]
    pub fn name(&self) -> &GateName {
        &self.gate.gate
    }
}

/// What went wrong in a gate, as opposed to what it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateErrorKind {
    /// The component trapped.
    Trap,
    /// It did not answer in time.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// It answered or logged more than it may.
    Limit,
    /// It returned an error of its own.
    Guest,
    /// Too many calls were waiting.
    Busy,
    /// It could not be loaded or is not there.
    Unavailable,
    /// It was not asked: it failed again and again.
    CircuitOpen,
}

impl GateErrorKind {
    /// The word in labels, logs and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Limit => "limit",
            Self::Guest => "guest",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::CircuitOpen => "circuit_open",
        }
    }

    /// What an error of this kind does to the rollout that uses the gate.
    #[must_use]
    pub fn leads_to(self, usage: &GateUse) -> OnGateError {
        match self {
            Self::Deadline => usage.on_timeout.unwrap_or(usage.on_error),
            Self::Trap
            | Self::Memory
            | Self::Limit
            | Self::Guest
            | Self::Busy
            | Self::Unavailable
            | Self::CircuitOpen => usage.on_error,
        }
    }
}

/// What came of a question to a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateAnswer {
    /// Go on.
    Pass,
    /// Take it back.
    Fail {
        /// Why.
        reason: String,
    },
    /// Not now.
    Hold {
        /// Why.
        reason: String,
        /// When to ask again; `None` leaves that to the host.
        retry_after: Option<Span>,
    },
    /// It did not come to a verdict.
    Error {
        /// What went wrong.
        kind: GateErrorKind,
        /// In words.
        text: String,
    },
}

/// What the comparison of green with blue says, in the words of `wit/`; it goes with a question,
/// so that what a gate sees of it does not change while it thinks.
#[derive(Clone, Debug, PartialEq)]
pub struct GateEvidence {
    /// The answer in a word.
    pub verdict: &'static str,
    /// The answer in words.
    pub reason: String,
    /// The largest evidence against green so far; 1 is none.
    pub evidence: f64,
    /// The evidence at which green is found worse.
    pub needed: f64,
    /// At most this likely was so much evidence against a green that is within tolerance.
    pub p_value: f64,
    /// Green fails at least so many times as often as blue; `None` if that is not shown.
    pub lower_bound: Option<f64>,
    /// How many green requests a pass misses; `None` where that is not known.
    pub missing: Option<u64>,
    /// Metric by metric.
    pub metrics: Vec<GateMetric>,
}

/// One metric of a comparison, as gates see it.
#[derive(Clone, Debug, PartialEq)]
pub struct GateMetric {
    /// Its name.
    pub name: String,
    /// Settled requests of blue, and the bad ones of them.
    pub blue: (u64, u64),
    /// Those of green.
    pub green: (u64, u64),
    /// Its part of the evidence, 0..=1.
    pub share: f64,
}

/// How requests ended, as gates see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatuses {
    /// Answered requests by class of status, from 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Requests that were not answered.
    pub no_answer: u64,
    /// Requests whose client went away before there was an answer.
    pub client_gone: u64,
}

/// What gates may read of the telemetry; implemented by `telemetry`, called by `gate`.
pub trait TelemetryView: Send + Sync {
    /// One number over the window that ends now, under the names that `wit/` lists.
    ///
    /// `None` if there is no data or no such metric. Must neither block nor take long: no deadline
    /// of the gate can interrupt it.
    fn metric(&self, service: &ServiceName, side: Side, name: &str, window: Span) -> Option<f64>;

    /// How the requests of the window that ends now ended; `None` if there is no data.
    fn statuses(&self, service: &ServiceName, side: Side, window: Span) -> Option<GateStatuses> {
        let _ = (service, side, window);
        None
    }

    /// The latency in milliseconds that the share `q` (0..=1) of the window's requests did not
    /// exceed; `None` if there is no data.
    fn latency(&self, service: &ServiceName, side: Side, q: f64, window: Span) -> Option<f64> {
        let _ = (service, side, q, window);
        None
    }
}

/// The reason why a gate's state was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateStateError {
    /// The key is empty or too long.
    #[error("a key has 1 to {limit} bytes, this one has {length}")]
    Key {
        /// The longest permitted length.
        limit: usize,
        /// The length found.
        length: usize,
    },
    /// The value is too long.
    #[error("a value has at most {limit} bytes, this one has {length}")]
    Value {
        /// The longest permitted length.
        limit: usize,
        /// The length found.
        length: usize,
    },
    /// There is no place for another key.
    #[error("the state is full: at most {limit} keys")]
    Full {
        /// The most keys a gate may have for one service.
        limit: usize,
    },
    /// Keys and values of the gate would be too long together.
    #[error("the state is full: at most {limit} bytes")]
    TooLong {
        /// The most bytes that a gate may have for one service.
        limit: usize,
    },
    /// There is no place for the state of another service and gate.
    #[error("the state is full: at most {limit} pairs of service and gate")]
    TooManyPairs {
        /// The most pairs that are kept.
        limit: usize,
    },
}

/// The small store that a gate has for each service. Must not block, as [`TelemetryView`].
pub trait GateState: Send + Sync {
    /// The value of a key; `None` if it was never set.
    fn value(&self, service: &ServiceName, gate: &GateName, key: &str) -> Option<String>;

    /// Sets a key; an empty value removes it.
    ///
    /// # Errors
    /// The key, the value or the state as a whole would be too large.
    fn set_value(
        &self,
        service: &ServiceName,
        gate: &GateName,
        key: &str,
        value: &str,
    ) -> Result<(), GateStateError>;

    /// Every key that has a value, sorted.
    fn keys(&self, service: &ServiceName, gate: &GateName) -> Vec<String>;

    /// Every key with its value.
    fn values(&self, service: &ServiceName, gate: &GateName) -> BTreeMap<String, String> {
        let pair = |key: String| Some((self.value(service, gate, &key)?, key));
        let pairs = self.keys(service, gate).into_iter().filter_map(pair);
        pairs.map(|(value, key)| (key, value)).collect()
    }
}
