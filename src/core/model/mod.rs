//! The vocabulary as types: names, weights, times, targets, rules, services, strategies.
//!
//! A value of one of these types is valid by construction: each has private fields and one
//! fallible constructor, so nothing past the configuration parser or the admin API needs to check
//! it again. This module knows no other module of the project.

mod access_log;
mod alarm;
mod analysis;
mod certificate;
mod dns_name;
mod exposure;
mod field;
mod gate;
mod gate_grants;
mod gate_readiness;
mod health;
mod issued_cookie;
mod listener;
mod memory_limit;
mod mirror;
mod name;
mod objective;
mod outlier;
mod prometheus_server;
mod query_answer;
mod query_template;
mod release;
mod request_match;
mod resolver;
mod retries;
mod rule;
mod rule_actions;
mod service;
mod span;
mod strategy;
mod target;
mod target_list;
mod target_name;
mod transport;
mod uploaded_gate;
mod weight;

pub use access_log::AccessLogSpec;
pub use alarm::{
    AlarmBound, AlarmSource, AlarmSpec, AlarmState, Labels, MissingData, OnInsufficient,
    OnUnavailable, OwnMetric,
};
pub use analysis::{AnalysisSpec, AnalysisTerms, MarginPreset, MarginSpec, SharedDegradation};
pub use certificate::NeverCertified;
pub use dns_name::{DnsName, DnsNameError};
pub use exposure::{Exposure, Salt, Side};
pub use field::{
    CookieDomain, CookieName, CookiePath, EditableField, FieldError, FieldName, FieldValue,
    MethodName, RequestFields, Wanted,
};
pub use gate::{
    GateLimits, GateMode, GateSpec, GateStage, GateUse, OnGateError, ParamsText, Sha256,
    Sha256Error,
};
pub use gate_grants::{GateGrants, HostPort, HostPortError, HttpGrant};
pub use gate_readiness::GateReadiness;
pub use health::{
    FlapDamping, GroupHealth, HealthCheck, HealthFloor, Probe, StatusRange, StatusRangeError,
    TargetHealth,
};
pub use issued_cookie::{CookieAttributes, CookieError, IssuedCookie, SameSite};
pub use listener::{
    CertificateFiles, ClientCertificates, ClientLimits, ListenerProtocol, ListenerSpec,
    ListenerTls, TlsVersion, WhenIdle,
};
pub use memory_limit::MemoryLimit;
pub use mirror::MirrorPolicy;
pub use name::{
    AlarmName, GateName, ListenerName, NameError, PrometheusName, Revision, RolloutId, ServiceName,
    StrategyName, TargetGroupName,
};
pub use objective::{Objective, ObjectiveError};
pub use outlier::OutlierSpec;
pub use prometheus_server::{Credentials, PrometheusServer, ServerUrl, ServerUrlError};
pub use query_answer::{QueryAnswer, Reading};
pub use query_template::{QueryNames, QueryTemplate, QueryTemplateError, UnfilledError};
pub use release::{GreenFor, ReleaseTraffic};
pub use request_match::RequestMatch;
pub use resolver::ResolverSpec;
pub use retries::{RetryMethod, RetryPolicy, RetryStatus};
pub use rule::{Destination, HostMatch, PathMatch, Rule, RuleError};
pub use rule_actions::{HeaderEdits, HostPolicy, RuleActions};
pub use service::{
    Balance, DrainPolicy, OnRegression, Panic, Policies, ServiceSpec, Stickiness, StickyFallback,
    StreamsOnRollback, Timeouts,
};
pub use span::{MonoTime, Now, Span, SpanError, WallTime};
pub use strategy::{
    Approval, Deadline, DeadlineAction, Deadlines, FinalBake, OnApprovalTimeout, OnMissingEvidence,
    Shift, Step, Strategy, StrategyError,
};
pub use target::{Target, TargetAddress, TargetError, TargetGroup};
pub use target_list::{TargetList, TargetListError};
pub use target_name::TargetName;
pub use transport::{ClientIdentity, TargetProtocol, TargetTls, TrailerPolicy, Transport, Verify};
pub use uploaded_gate::{GateKey, GateKeyError, UploadedGate};
pub use weight::{Split, Weight, WeightError};
