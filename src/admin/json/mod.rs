//! The JSON that the admin API takes and gives, one noun per file; the command line reads it too.
//!
//! One spelling everywhere: a weight is `"10.25%"` with `green_bp` beside it, a duration `"2m"`
//! with `*_ms`, a time RFC 3339, an id a text. What is taken refuses unknown fields; what is given
//! may gain fields, so readers must not.

mod alarm;
mod analysis;
mod change;
mod explanation;
mod gate;
mod gate_terms;
mod health;
mod hook;
mod ledger;
mod page;
mod problem;
mod prose;
mod reload;
mod rollout;
mod service;
mod share;
mod step;
mod target;
mod time;

pub use alarm::{Alarm, AlarmPush, AlarmPushed};
pub use analysis::{Analysis, BurnRates, MetricEvidence};
pub use change::{NewRollout, NewSplit, Promotion, Reason, Resumption};
pub(super) use explanation::sentence;
pub use explanation::{Explanation, StepSide};
pub use gate::{Gate, GateDetail, GateRemoved, GateUpload};
pub use gate_terms::{GateGrants, GateLimits, HttpGrant};
pub use health::{Health, Readiness, StoreHealth};
pub use hook::{AlertmanagerNotice, AlertsHeard, HeardAlarm, NoticeAlert, NoticeStatus};
pub use ledger::LedgerEntry;
pub use page::Page;
pub use problem::Problem;
pub use prose::{Prose, ProseError};
pub use reload::Reloaded;
pub use rollout::{Bake, HoldText, Rollout};
pub use service::{Service, ServiceSide, ServiceTarget, Weights};
pub use share::{ObservedShare, Share};
pub use step::{ApprovalStep, FinalBake, Step};
pub use target::{GroupTargets, NewTargets};
pub use time::{TimeError, Timestamp};

/// The name of the file with the plain token that the first start makes: where the command line
/// looks for it.
pub const PLAIN_TOKEN_NAME: &str = "admin.token";
