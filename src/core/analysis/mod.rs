//! What the counters say: counts and their latency histogram, alarms on them, and the weight that
//! was observed.
//!
//! Everything here works on *cumulative* counts, which only grow. Whoever needs a window subtracts
//! an earlier snapshot from a later one, so that a slow or missed reading loses no request, and
//! counts of several proxies merge by addition. Silence is never taken for health: a rate of
//! nothing is `None`, and an alarm without data says INSUFFICIENT_DATA.

mod alarm;
mod counts;
mod datapoints;
mod histogram;
mod observed;
mod query;
mod window;

pub use alarm::AlarmJudge;
pub use counts::Counts;
pub use histogram::{BUCKETS, LARGEST_US, bucket_of, quantile_us, upper_bound_us};
pub use observed::{Observed, ObservedWindow};
pub use query::QueryJudge;
pub use window::CountsHistory;
