//! What a gate was told in one call, and what it said: enough to ask it again.
//!
//! Without anything granted a gate has nothing else to go by, so the same component comes to the
//! same verdict. What was granted is in here as the gate saw it, and is played back.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::model::{GateGrants, GateLimits, Sha256, Side, Span, WallTime};

use super::{GateAnswer, GateCall, GateEvidence, GateMetric, GateStatuses};

/// A call as it was, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateTranscript {
    /// What the gate was told.
    pub hearing: GateHearing,
    /// What it said.
    pub answer: GateAnswer,
}

/// Everything that a gate could learn in one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateHearing {
    /// The question; it names the component.
    pub call: GateCall,
    /// The time of day of the call; the gate only knows it if it was granted a clock.
    pub at: WallTime,
    /// What the call might use.
    pub limits: GateLimits,
    /// What it might use of the world outside.
    #[serde(default)]
    pub grants: GateGrants,
    /// What the comparison said; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<HeardEvidence>,
    /// What the gate had kept before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, String>,
    /// What it asked, with the answers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<Heard>,
    /// Why this is not all that it was told; `None` if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<Incomplete>,
}

/// Why a hearing is not complete, so that the call cannot be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// It was told more than is kept of one call.
    Truncated,
    /// Another call of the same gate for the same service changed what it keeps meanwhile.
    StateChanged,
}

impl Incomplete {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "it was told more than is kept of one call",
            Self::StateChanged => "another call changed its state meanwhile",
        }
    }
}

/// One question of a gate to its host, with the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// A number of the telemetry.
    Metric {
        /// Of which side.
        side: Side,
        /// Which.
        name: String,
        /// Over which window.
        window_ms: u32,
        /// The number; `None` if there was none.
        value: Option<Number>,
    },
    /// How requests ended.
    Statuses {
        /// Of which side.
        side: Side,
        /// Over which window.
        window_ms: u32,
        /// The counts; `None` if there were none.
        counts: Option<GateStatuses>,
    },
    /// A quantile of the latency.
    Latency {
        /// Of which side.
        side: Side,
        /// The share, 0..=1.
        q: Number,
        /// Over which window.
        window_ms: u32,
        /// In milliseconds; `None` if there was none.
        value: Option<Number>,
    },
    /// Bytes of chance.
    Chance {
        /// In hexadecimal digits.
        bytes: String,
    },
    /// A request over HTTP that was granted.
    Http {
        /// Method and URL.
        request: String,
        /// Its body.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        body: String,
        /// What came of it.
        answer: HeardAnswer,
    },
}

/// What came of a request over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeardAnswer {
    /// A response.
    Response {
        /// The status.
        status: u16,
        /// Names in lower case and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// A response whose body is too long to be kept.
    Long {
        /// The status.
        status: u16,
        /// The length of the body.
        bytes: u64,
        /// The digest of the body.
        sha256: Sha256,
    },
    /// It was not permitted.
    Denied {
        /// Why.
        reason: String,
    },
    /// It could not be sent.
    Invalid {
        /// Why.
        reason: String,
    },
    /// Nobody was there.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// No answer in time.
    Timeout {
        /// The time it had.
        after: Span,
    },
    /// The answer was longer than the gate may have.
    TooLarge {
        /// How long it might have been.
        bytes: u64,
    },
    /// It was no HTTP.
    Broken {
        /// Why.
        reason: String,
    },
}

/// What the comparison said, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeardEvidence {
    verdict: String,
    reason: String,
    evidence: Number,
    needed: Number,
    p_value: Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lower_bound: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<HeardMetric>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct HeardMetric {
    name: String,
    blue: (u64, u64),
    green: (u64, u64),
    share: Number,
}

impl From<&GateEvidence> for HeardEvidence {
    fn from(evidence: &GateEvidence) -> Self {
        let metric = |metric: &GateMetric| HeardMetric {
            name: metric.name.clone(),
            blue: metric.blue,
            green: metric.green,
            share: Number(metric.share),
        };
        Self {
            verdict: evidence.verdict.to_owned(),
            reason: evidence.reason.clone(),
            evidence: Number(evidence.evidence),
            needed: Number(evidence.needed),
            p_value: Number(evidence.p_value),
            lower_bound: evidence.lower_bound.map(Number),
            missing: evidence.missing,
            metrics: evidence.metrics.iter().map(metric).collect(),
        }
    }
}

impl From<&HeardEvidence> for GateEvidence {
    fn from(heard: &HeardEvidence) -> Self {
        let metric = |metric: &HeardMetric| GateMetric {
            name: metric.name.clone(),
            blue: metric.blue,
            green: metric.green,
            share: metric.share.0,
        };
        let word = VERDICTS.into_iter().find(|word| *word == heard.verdict);
        Self {
            // A later release may have more words; what they mean is not known here.
            verdict: word.unwrap_or("none"),
            reason: heard.reason.clone(),
            evidence: heard.evidence.0,
            needed: heard.needed.0,
            p_value: heard.p_value.0,
            lower_bound: heard.lower_bound.map(|bound| bound.0),
            missing: heard.missing,
            metrics: heard.metrics.iter().map(metric).collect(),
        }
    }
}

/// The words of the contract for what a comparison says.
const VERDICTS: [&str; 5] = ["pass", "fail", "insufficient", "unavailable", "none"];

/// A number that is written as a text: readers of JSON round numbers, and a verdict may hang on the
/// last bit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(pub f64);

impl FromStr for Number {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Number {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        // The shortest text that is read as the same number, large and small ones with an exponent.
        format!("{:?}", number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_to_the_last_bit() {
        for number in [0.0, -0.0, 0.1 + 0.2, 1.0 / 3.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY]
        {
            let text = String::from(Number(number));
            let read = text.parse::<Number>().expect("a number");
            assert_eq!(read.0.to_bits(), number.to_bits(), "{text}");
        }
        assert!("x".parse::<Number>().is_err());
    }

    #[test]
    fn evidence_comes_back_as_it_was() {
        let evidence = GateEvidence {
            verdict: "insufficient",
            reason: "not enough is known".to_owned(),
            evidence: 0.1 + 0.2,
            needed: 20.0,
            p_value: 1.0 / 3.0,
            lower_bound: None,
            missing: Some(312),
            metrics: vec![GateMetric {
                name: "errors".to_owned(),
                blue: (9, 1),
                green: (8, 2),
                share: 1.0,
            }],
        };
        assert_eq!(GateEvidence::from(&HeardEvidence::from(&evidence)), evidence);
    }
}
