//! Alarms: named conditions with three states.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AlarmName, PrometheusName, QueryTemplate, Side, Span};

/// What an alarm says. No data is never "OK".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmState {
    /// The condition does not hold.
    Ok,
    /// The condition holds.
    Alarm,
    /// There is not enough data to say.
    InsufficientData,
}

impl AlarmState {
    /// The word in the API and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

impl fmt::Display for AlarmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A number that the proxy measures itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnMetric {
    /// Share of requests answered 5xx or not at all, in percent.
    ErrorRate,
    /// Share of requests answered 4xx, in percent.
    ClientErrorRate,
    /// Median latency in milliseconds.
    LatencyP50,
    /// 90th percentile of latency in milliseconds.
    LatencyP90,
    /// 99th percentile of latency in milliseconds.
    LatencyP99,
    /// Requests per second.
    RequestsPerSecond,
}

impl OwnMetric {
    /// Every metric with its word in files and the API.
    pub const ALL: [(&'static str, Self); 6] = [
        ("error_rate", Self::ErrorRate),
        ("client_error_rate", Self::ClientErrorRate),
        ("latency_p50", Self::LatencyP50),
        ("latency_p90", Self::LatencyP90),
        ("latency_p99", Self::LatencyP99),
        ("requests_per_second", Self::RequestsPerSecond),
    ];
}

/// Where an alarm's state comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmSource {
    /// The proxy's own numbers of the service that lists the alarm.
    Own {
        /// Which number.
        metric: OwnMetric,
        /// Of which side.
        side: Side,
        /// When it is bad.
        bound: AlarmBound,
        /// How many of the last `of` datapoints must be bad.
        bad: u32,
        /// How many datapoints are looked at.
        of: u32,
        /// The length of a datapoint.
        period: Span,
        /// What a datapoint without requests counts as.
        missing: MissingData,
    },
    /// Pushed over the admin API; INSUFFICIENT_DATA until the first push.
    Pushed {
        /// A push older than this counts as INSUFFICIENT_DATA; `None` keeps it for ever.
        expires_after: Option<Span>,
    },
    /// A query of a Prometheus server.
    Prometheus {
        /// Which server.
        server: PrometheusName,
        /// The query, whose answer is one number.
        query: QueryTemplate,
        /// How long an answer may take.
        timeout: Span,
        /// When it is bad.
        bound: AlarmBound,
        /// How many of the last `of` datapoints must be bad.
        bad: u32,
        /// How many datapoints are looked at.
        of: u32,
        /// From one query to the next.
        period: Span,
        /// What an answer without a number counts as.
        missing: MissingData,
        /// So many failures in a row, and the server counts as unavailable.
        unavailable_after: u32,
        /// What it says then.
        on_unavailable: OnUnavailable,
    },
    /// Alertmanager's webhook; INSUFFICIENT_DATA until it first tells of the alarm.
    Alertmanager {
        /// The labels of an alert that is about this alarm; never none.
        matchers: Labels,
        /// The labels of an alert that always fires while all is well with whoever tells; empty
        /// without one.
        heartbeat: Labels,
        /// What was told longer ago than this counts as INSUFFICIENT_DATA.
        stale_after: Span,
    },
}

/// Labels with their values.
pub type Labels = BTreeMap<String, String>;

impl AlarmSource {
    /// The word in files and the API.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Own { .. } => "own",
            Self::Pushed { .. } => "pushed",
            Self::Prometheus { .. } => "prometheus",
            Self::Alertmanager { .. } => "alertmanager",
        }
    }
}

/// What an alarm says whose server is unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    /// INSUFFICIENT_DATA, which holds a rollout.
    #[default]
    Hold,
    /// INSUFFICIENT_DATA, which rollouts do not see.
    Ignore,
    /// ALARM.
    Rollback,
}

/// The threshold of an alarm on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmBound {
    /// Bad above this: percent for own rates, milliseconds for own latencies, and what a query
    /// gives.
    Above(f64),
    /// Bad below this.
    Below(f64),
}

/// A threshold is a number: the configuration refuses what is none.
impl Eq for AlarmBound {}

impl AlarmBound {
    /// Whether a value is bad.
    #[must_use]
    pub fn is_broken_by(self, value: f64) -> bool {
        match self {
            Self::Above(bound) => value > bound,
            Self::Below(bound) => value < bound,
        }
    }
}

impl fmt::Display for AlarmBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(bound) => write!(f, "above {bound}"),
            Self::Below(bound) => write!(f, "below {bound}"),
        }
    }
}

/// What a datapoint without data counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingData {
    /// As neither: with no datapoint at all the alarm says INSUFFICIENT_DATA.
    #[default]
    Insufficient,
    /// As bad.
    Bad,
    /// As not there: the datapoints before it stay in view.
    Ignore,
}

/// What INSUFFICIENT_DATA does to a rollout whose green has weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInsufficient {
    /// Holds it.
    #[default]
    Hold,
    /// Nothing.
    Ignore,
}

/// An alarm as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmSpec {
    /// Its name.
    pub name: AlarmName,
    /// Where its state comes from.
    pub source: AlarmSource,
    /// What INSUFFICIENT_DATA does.
    pub on_insufficient: OnInsufficient,
}
