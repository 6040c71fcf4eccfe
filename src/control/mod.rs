//! The single writer: the one task that changes anything while the process runs.
//!
//! It takes one message at a time (a command, a gate's answer, the store's word, a tick), lets
//! [`crate::core::rollout`] decide, and performs the effects: the routing table is swapped inside
//! the handler, everything that takes time (saving, asking gates, writing the table file) is handed
//! to tasks of its own behind bounded queues and comes back as a message. **The writer never awaits
//! I/O**, so a store that blocks delays no abort of any service.
//!
//! Others see the state through [`Handle::view`], a snapshot that never queues behind the writer.

mod alarms;
mod analysis_view;
mod assignment;
mod attempts;
mod burns;
mod call_log;
mod change;
mod close;
mod command;
mod compare;
mod comparing;
mod draft;
mod ejection;
mod evidence_reader;
mod evidence_tap;
mod evidence_writer;
mod failures;
mod gate_list;
mod gate_states;
mod gates;
mod group;
mod handle;
mod history;
mod kept;
mod latencies;
mod links;
mod lists;
mod names;
mod observe;
mod outbox;
mod past;
mod perform;
mod publish;
mod questions;
mod record;
mod records;
mod recover;
mod refusal;
mod reload;
mod remainder;
mod request;
mod resume;
mod service;
mod settle;
mod snapshot;
mod suspects;
mod table_writer;
mod tally;
mod totals;
mod uploads;
mod view;
mod watchdog;
mod world;
mod writer;

#[cfg(test)]
mod tests;

pub use analysis_view::{AnalysisView, BurnView, MetricView};
pub use evidence_reader::EvidenceReader;
pub use evidence_writer::{EvidenceOrders, EvidenceWriter};
pub use gate_list::GateSummary;
pub use gates::Gates;
pub use handle::{Handle, Prepare};
pub use kept::Kept;
pub use outbox::{Outbox, Stored};
pub use recover::{RecoverError, Recovered};
pub use refusal::Refusal;
pub use request::{
    Alert, Command, GroupRef, HookReport, IdempotencyKey, ReloadReport, Reply, Request, RoleChange,
    StartRollout,
};
pub use table_writer::TableWriter;
pub use tally::Tally;
pub use uploads::{GateView, Upload};
pub use view::{
    AlarmView, HealthView, RollbackOf, RolloutView, ServiceView, SideView, StoreState, TargetView,
    UnresolvedView, View,
};
pub use watchdog::Watchdog;
pub use world::{AskGates, GateReply, World};
pub use writer::{Message, Writer};
