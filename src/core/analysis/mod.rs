//! What the counters say: the comparison of green with blue, counts and their latency histogram,
//! alarms on them, burn rates, and the weight that was observed.
//!
//! Everything here works on *cumulative* counts, which only grow. Whoever needs a window subtracts
//! an earlier snapshot from a later one, so that a slow or missed reading loses no request, and
//! counts of several proxies merge by addition. Silence is never taken for health: a rate of
//! nothing is `None`, an alarm without data says INSUFFICIENT_DATA, and a comparison without enough
//! requests says how many are missing.

mod alarm;
mod burn_rate;
mod burn_watch;
pub mod comparison;
mod counts;
mod datapoints;
mod decision;
mod histogram;
mod log_gamma;
mod observed;
mod query;
pub mod replay;
mod sketch;
mod split_check;
mod staying;
mod thresholds;
mod trial;
pub mod verdict;
mod window;

pub use alarm::AlarmJudge;
pub use burn_rate::{Burn, BurnRate, Urgency};
pub use burn_watch::{BurnChange, BurnWatch, Burning};
pub use counts::Counts;
pub use decision::{Action, Findings, FreezeReason, OnSharedDegradation, RollbackReason};
pub use histogram::{BUCKETS, LARGEST_US, bucket_of, quantile_us, upper_bound_us};
pub use observed::{Observed, ObservedWindow};
pub use query::QueryJudge;
pub use sketch::{LatencySketch, SKETCH_BUCKETS};
pub use split_check::{Drawn, SplitCheck};
pub use staying::Staying;
pub use thresholds::{LatencyTolerance, Threshold, ThresholdBook, Thresholds};
pub use trial::{Answer, AnswerKind, Arrival, Trial, TrialReport, TrialRun};
pub use window::CountsHistory;
