//! The comparison of green with blue: evidence that may be looked at as often as one likes.
//!
//! The proxy draws the side of each request with odds that it knows. Given that a request fails,
//! and if green is no worse than blue, it was green's with at most the probability of green's
//! weight, *whatever* the failure rate is at that moment: outages that both sides share, daily
//! cycles and ramps cancel out exactly. Each request multiplies eight bets by one of four
//! constants; that a product ever reaches `1/alpha` has at most the probability `alpha` (Ville
//! 1939), at any traffic, over any time, and however often one looks.
//!
//! **Guarantee.** At most `alpha` of the rollouts for which, at every request, green's failure
//! probability given the labels and final outcomes of all requests that arrived before it is within
//! tolerance, are rolled back by the comparison. A cause that both sides share is covered. A cause
//! local to one target (a crash, a full queue, the reset of a connection that carried many
//! requests) is not: [`ClusterGuard`] and leave-one-out lower its effect (B7). Absolute alarms are
//! outside of it.
//!
//! What has to stay true, each point a way to lose the guarantee:
//! - cohorts are read in order of arrival and folded oldest first ([`Comparator`], B1);
//! - what is in flight or unknown is counted pessimistically and never left out ([`Cells`]); what
//!   is moved before it ends stays as it is, whatever it comes to (`Overdue`);
//! - a request carries cohort, weight and thresholds of its arrival; late outcomes of
//!   folded cohorts are dropped;
//! - metrics that are dormant are so for both sides, decided before a cohort opens
//!   ([`Cohort`], B5);
//! - the metrics are combined at each prefix and the maximum is taken afterwards ([`Point`], B3);
//! - leave-one-out recodes and removes nothing (B4);
//! - in a sticky service a unit counts once per metric and rollout ([`SeenUnits`], B9).
//!
//! Numbers of sections and letters (B1, D1) are those of the specification of the analysis and its
//! corrections. References: Ville 1939; Waudby-Smith and
//! Ramdas, arXiv 2010.09686; Lindon and Malek, arXiv 2011.03567; Turner and Grünwald, arXiv
//! 2302.11401; Vovk and Wang, arXiv 1912.06116; Shin, Ramdas and Rinaldo, arXiv 2203.03532; Lindon
//! and Kallus, arXiv 2603.25971 (why the order of events is not the order of arrival).

mod arrivals;
mod bets;
mod cells;
mod certificate;
mod chance;
mod cohort;
mod comparator;
mod count;
mod counter_slot;
mod counters;
mod epochs;
mod folded;
mod guard;
mod guard_board;
mod latch;
mod leave_one_out;
mod margins;
mod metric;
mod outcome_counts;
mod overdue;
mod ratio;
mod rules;
mod saved;
mod saved_units;
mod standing;
mod tally;
mod unit_filter;
mod units;
mod wealth;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod golden;

pub use bets::{BETS, BetTable, compares};
pub use cells::{Cells, ENDPOINTS, Row};
pub use certificate::{CertificateRule, CertificateTable};
pub use chance::Chance;
pub use cohort::{Calendar, Cohort};
pub use comparator::{Comparator, Evaluation, OutOfOrder};
pub use counters::{Counters, Settled, Ticket};
pub use guard::ClusterGuard;
pub use latch::{AbsoluteAlarm, Crossing};
pub use margins::{CertificateMargins, Level, MarginTable, Margins, MarginsError, Preset};
pub use metric::{METRICS, Metric, MetricSet, PerMetric};
pub use ratio::LADDER;
pub use rules::{AbsoluteRule, Rules};
pub use saved::Saved;
pub use saved_units::SavedUnits;
pub use standing::Point;
pub use tally::Tally;
pub use units::SeenUnits;
pub use wealth::Wealth;
