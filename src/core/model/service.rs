//! Services: what a rule leads to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AlarmName, AnalysisSpec, Deadlines, FinalBake, GateUse, HealthCheck, HealthFloor, IssuedCookie,
    MirrorPolicy, Objective, OnMissingEvidence, OutlierSpec, ReleaseTraffic, RetryPolicy,
    ServiceName, Span, StrategyName, TargetGroupName, Weight,
};

/// What a regression of green does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRegression {
    /// Takes the traffic back.
    #[default]
    Rollback,
    /// Keeps the weight until a person decides.
    Freeze,
    /// Tells, and goes on.
    Notify,
}

/// How a target is chosen inside a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The less loaded of two random targets.
    #[default]
    LeastOfTwo,
    /// One after the other.
    RoundRobin,
}

/// What a group does whose targets are all unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Panic {
    /// Tries them all.
    #[default]
    TryAll,
    /// Answers 503.
    Refuse,
}

/// What keeps a user on a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stickiness {
    /// The header that is the cohort key, in lower case; `None` looks at no header.
    pub header: Option<String>,
    /// The cookie that is the cohort key; `None` looks at no cookie.
    pub cookie: Option<String>,
    /// What is used when neither is there.
    pub fallback: StickyFallback,
    /// The cookie of [`StickyFallback::IssuedCookie`].
    #[serde(default)]
    pub issued: IssuedCookie,
}

/// The cohort key of a request that brings none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyFallback {
    /// A random value, handed out as a cookie with the first answer.
    #[default]
    IssuedCookie,
    /// The client's address.
    ClientAddress,
}

/// Bounds on the phases of a request to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Span,
    /// Until the response header is there, and between two parts of the body.
    pub read: Span,
    /// Until the target has taken a part of the request.
    pub write: Span,
    /// How long an idle connection to a target is kept.
    pub idle: Span,
    /// How long nothing may move in a tunnel or a call of gRPC.
    pub stream_idle: Span,
    /// Until a first attempt that may be followed by a second has its response header, instead of
    /// `read`; `None` gives it no less time than the second.
    #[serde(default)]
    pub per_try: Option<Span>,
    /// How long a target's system may acknowledge nothing before its connections count as dead;
    /// zero leaves that to the system. One whose window stays closed counts as dead, too, although
    /// it acknowledges every try: where it is sent a body, after `write` if that is longer.
    #[serde(default = "unacknowledged")]
    pub unacknowledged: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::from_secs(2),
            read: Span::from_secs(60),
            write: Span::from_secs(60),
            idle: Span::from_secs(60),
            stream_idle: Span::from_secs(3_600),
            per_try: None,
            unacknowledged: unacknowledged(),
        }
    }
}

/// A connection is tried every second once half of this is over: a dead one is found in less than
/// ten seconds.
fn unacknowledged() -> Span {
    Span::from_secs(8)
}

/// What a rollback does to the streams on green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamsOnRollback {
    /// Lets them go on for the drain's time.
    #[default]
    Drain,
    /// Ends them at once.
    Cut,
}

/// What becomes of streams when their side loses its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainPolicy {
    /// How long they may go on.
    pub timeout: Span,
    /// What a rollback does to those on green.
    pub on_rollback: StreamsOnRollback,
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self { timeout: Span::from_secs(600), on_rollback: StreamsOnRollback::default() }
    }
}

/// How a service's rollouts are judged and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// What a regression does.
    pub on_regression: OnRegression,
    /// What missing samples or evidence do to a step that asked for them.
    pub on_insufficient: OnMissingEvidence,
    /// How many scored green requests a step needs that asks for nothing; 0 switches that off.
    pub min_green: u64,
    /// The floors of both sides.
    pub health_floor: HealthFloor,
    /// The share of green's targets that must be healthy before `installing` ends.
    pub start_healthy: Weight,
    /// The final bake of strategies that set none.
    pub final_bake: FinalBake,
    /// The deadlines.
    pub deadlines: Deadlines,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            on_regression: OnRegression::default(),
            on_insufficient: OnMissingEvidence::default(),
            min_green: 1,
            health_floor: HealthFloor::default(),
            start_healthy: Weight::FULL,
            final_bake: FinalBake::default(),
            deadlines: Deadlines::default(),
        }
    }
}

/// A service as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// Its two groups; the first is blue at the very first start, after that the store knows.
    pub target_groups: [TargetGroupName; 2],
    /// How targets are checked; `None` counts them as healthy.
    pub health_check: Option<HealthCheck>,
    /// What keeps users on a side; `None` draws for each request.
    pub stickiness: Option<Stickiness>,
    /// How a target is chosen.
    pub balance: Balance,
    /// What an all unhealthy group does.
    pub panic: Panic,
    /// Bounds on requests to targets.
    pub timeouts: Timeouts,
    /// The strategy of rollouts that name none.
    pub strategy: StrategyName,
    /// The alarms that judge its rollouts.
    pub alarms: Vec<AlarmName>,
    /// The gates that its rollouts ask.
    pub gates: Vec<GateUse>,
    /// How its rollouts are judged and bounded.
    pub policies: Policies,
    /// Whether responses tell side, revision and generation in headers.
    pub tell_side: bool,
    /// What becomes of streams when their side loses its weight.
    pub drain: DrainPolicy,
    /// What a release treats apart of its traffic.
    #[serde(default)]
    pub release: Arc<ReleaseTraffic>,
    /// When answers take a target out of its group; `None` never does.
    #[serde(default)]
    pub outlier_ejection: Option<OutlierSpec>,
    /// How long the share of a target grows that has just become able; zero gives it all at once.
    #[serde(default)]
    pub slow_start: Span,
    /// The most requests in flight at one target; `None` sets no limit.
    #[serde(default)]
    pub target_limit: Option<u32>,
    /// Which failures of a target are tried again.
    #[serde(default)]
    pub retries: RetryPolicy,
    /// Which requests green sees before it has any weight; `None` for none.
    #[serde(default)]
    pub mirror: Option<MirrorPolicy>,
    /// How its rollouts are compared; `None` compares nothing.
    #[serde(default)]
    pub analysis: Option<AnalysisSpec>,
    /// Its service level objective; `None` without one.
    #[serde(default)]
    pub slo: Option<Objective>,
}
