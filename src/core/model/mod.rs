//! The vocabulary as types: names, weights, times, targets, rules, services, strategies.
//!
//! A value of one of these types is valid by construction: each has private fields and one
//! fallible constructor, so nothing past the configuration parser or the admin API needs to check
//! it again. This module knows no other module of the project.

mod access_log;
mod alarm;
mod exposure;
mod gate;
mod health;
mod listener;
mod name;
mod rule;
mod service;
mod span;
mod strategy;
mod target;
mod weight;

pub use access_log::AccessLogSpec;
pub use alarm::{
    AlarmBound, AlarmSource, AlarmSpec, AlarmState, MissingData, OnInsufficient, OwnMetric,
};
pub use exposure::{Exposure, Salt, Side};
pub use gate::{
    GateLimits, GateMode, GateSpec, GateStage, GateUse, OnGateError, ParamsText, Sha256,
    Sha256Error,
};
pub use health::{
    GroupHealth, HealthCheck, HealthFloor, Probe, StatusRange, StatusRangeError, TargetHealth,
};
pub use listener::{ListenerSpec, WhenIdle};
pub use name::{
    AlarmName, GateName, ListenerName, NameError, Revision, RolloutId, ServiceName, StrategyName,
    TargetGroupName,
};
pub use rule::{HostMatch, PathMatch, Rule, RuleError};
pub use service::{
    Balance, OnRegression, Panic, Policies, ServiceSpec, Stickiness, StickyFallback, Timeouts,
};
pub use span::{MonoTime, Now, Span, SpanError, WallTime};
pub use strategy::{
    Approval, Deadline, DeadlineAction, Deadlines, FinalBake, OnApprovalTimeout, OnMissingEvidence,
    Shift, Step, Strategy, StrategyError,
};
pub use target::{Target, TargetAddress, TargetError, TargetGroup};
pub use weight::{Split, Weight, WeightError};
