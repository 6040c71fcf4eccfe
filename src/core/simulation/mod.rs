//! Simulations for users: what the comparison and the rollout would do, before anything is
//! released.
//!
//! A [`Scenario`] is a service's rollout, its traffic, and what is wrong with green. Its simulation
//! joins the real comparison ([`Trial`](crate::core::analysis::Trial)) and the real machine
//! ([`Rollout`](crate::core::rollout::Rollout)) on one virtual clock; a [`Distribution`] is what
//! comes of many, a [`Forecast`] what can be detected at a weight. The same seed gives the same
//! result, byte for byte.
//!
//! What is *not* simulated goes well: alarms are OK, gates pass, targets are healthy, the store
//! saves, approvals are given. Failures are independent of each other; those that come together on
//! one target are what the guarantee does not cover (B7), and no simulation here says otherwise.

mod amount;
mod distribution;
mod forecast;
mod judging;
mod minute;
mod objective;
mod release;
mod run;
mod scenario;
#[cfg(test)]
mod testkit;

pub use amount::{AmountError, FailureShare, Slowdown, Traffic};
pub use distribution::{Distribution, Glance, Quantiles};
pub use forecast::{Certificate, Detection, Forecast};
pub use judging::Judging;
pub use minute::{Minute, SideCount};
pub use run::{Caught, Simulated};
pub use scenario::{Scenario, TooMuch};
