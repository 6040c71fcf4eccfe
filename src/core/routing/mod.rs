//! The routing table: an immutable snapshot that says where every request goes.
//!
//! A request loads it once and lives wholly in that generation. What changes between two
//! generations is decided elsewhere; what must survive them (a target's requests in flight, its
//! health, its connection pool) hangs on shared state that is carried from table to table.
//!
//! No request takes a lock or allocates here.

mod blue_latencies;
mod cohort;
mod link;
mod live;
mod live_service;
mod passive;
mod resolved;
mod retry_budget;
mod side;
mod slow_start;
mod stand_in;
mod table;

pub use crate::core::model::TargetHealth;
pub use blue_latencies::BlueLatencies;
pub use cohort::{address_position, address_unit, cohort_position, cohort_unit, side_at};
pub use link::Link;
pub use live::{LiveGroup, LiveTarget, LiveTargets};
pub use live_service::{LiveService, MirrorPlace};
pub use resolved::Resolved;
pub use retry_budget::RetryBudget;
pub use side::{MeterId, ServiceRoute, SideRoute};
pub use table::{ListenerRoutes, RouteEnd, RouteMatch, RoutingTable};
