//! What one meter counted up to a moment.
//!
//! Every number only grows, so that the difference of two snapshots is the window between them,
//! and the snapshots of several meters add up. The fields of a snapshot are read one after the
//! other while requests end: two of them may differ by the requests of that instant.

use super::{BUCKETS, quantile_us};

/// A cumulative snapshot of one meter, or the difference of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Answered requests by class of status, from 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Requests for which no connection came to stand.
    pub connect_errors: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
    /// Requests whose answer broke off or was not HTTP.
    pub broken: u64,
    /// Requests whose client went away before there was an answer.
    pub client_gone: u64,
    /// Failed requests that no user saw fail: a second attempt was answered.
    pub rescued: u64,
    /// All latencies together in microseconds.
    pub latency_sum_us: u64,
    /// Requests by latency; see [`super::upper_bound_us`]. Answered and timed out requests alone
    /// are in here: the others took as long as something else than the target decided.
    pub latency: [u64; BUCKETS],
    /// Every request that was given to the side: those above, and what is in flight. Beginnings are
    /// counted on green alone; of blue these are the requests that ended.
    pub begun: u64,
}

impl Counts {
    /// Every request.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.scored() + self.client_gone
    }

    /// The requests that say something about the target: all but those whose client went away.
    #[must_use]
    pub fn scored(&self) -> u64 {
        let answered: u64 = self.by_class.iter().sum();
        answered + self.connect_errors + self.timeouts + self.broken
    }

    /// The requests that failed: answered 5xx, or not at all.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.by_class[4] + self.connect_errors + self.timeouts + self.broken
    }

    /// The failed share of the scored requests in percent; `None` without scored requests.
    #[must_use]
    pub fn error_rate_percent(&self) -> Option<f64> {
        self.percent_of_scored(self.failed())
    }

    /// The share of the scored requests answered 4xx in percent; `None` without scored requests.
    #[must_use]
    pub fn client_error_rate_percent(&self) -> Option<f64> {
        self.percent_of_scored(self.by_class[3])
    }

    /// The latency in milliseconds that the share `q` (0..=1) of the requests did not exceed, with
    /// the error of [`quantile_us`]; `None` without latencies.
    #[must_use]
    pub fn latency_ms(&self, q: f64) -> Option<f64> {
        quantile_us(&self.latency, q).map(|us| us as f64 / 1_000.0)
    }

    /// What was counted since an earlier snapshot of the same meter.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip_with(earlier, u64::saturating_sub)
    }

    /// The counts of two meters together.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        self.zip_with(other, u64::saturating_add)
    }

    /// Whether these can be later counts of the meter that gave the earlier ones: none is lower.
    #[must_use]
    pub fn continues(&self, earlier: &Self) -> bool {
        earlier.since(self) == Self::default()
    }

    fn percent_of_scored(&self, part: u64) -> Option<f64> {
        let scored = self.scored();
        (scored > 0).then(|| 100.0 * part as f64 / scored as f64)
    }

    fn zip_with(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            by_class: std::array::from_fn(|i| combine(self.by_class[i], other.by_class[i])),
            connect_errors: combine(self.connect_errors, other.connect_errors),
            timeouts: combine(self.timeouts, other.timeouts),
            broken: combine(self.broken, other.broken),
            client_gone: combine(self.client_gone, other.client_gone),
            rescued: combine(self.rescued, other.rescued),
            latency_sum_us: combine(self.latency_sum_us, other.latency_sum_us),
            latency: std::array::from_fn(|i| combine(self.latency[i], other.latency[i])),
            begun: combine(self.begun, other.begun),
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            by_class: [0; 5],
            connect_errors: 0,
            timeouts: 0,
            broken: 0,
            client_gone: 0,
            rescued: 0,
            latency_sum_us: 0,
            latency: [0; BUCKETS],
            begun: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::bucket_of;

    fn counts() -> Counts {
        let mut latency = [0; BUCKETS];
        latency[bucket_of(1_000)] = 90;
        latency[bucket_of(50_000)] = 10;
        Counts {
            by_class: [0, 80, 4, 10, 2],
            connect_errors: 1,
            timeouts: 1,
            broken: 2,
            client_gone: 7,
            rescued: 0,
            latency_sum_us: 590_000,
            latency,
            begun: 107,
        }
    }

    #[test]
    fn a_client_that_went_away_is_counted_and_not_scored() {
        let counts = counts();
        assert_eq!(counts.requests(), 107);
        assert_eq!(counts.scored(), 100);
        assert_eq!(counts.failed(), 6);
        assert_eq!(counts.error_rate_percent(), Some(6.0));
        assert_eq!(counts.client_error_rate_percent(), Some(10.0));
    }

    #[test]
    fn nothing_has_no_rate_and_no_latency() {
        let gone = Counts { client_gone: 3, ..Counts::default() };
        assert_eq!(gone.error_rate_percent(), None);
        assert_eq!(gone.client_error_rate_percent(), None);
        assert_eq!(gone.latency_ms(0.5), None);
    }

    #[test]
    fn a_latency_is_read_in_milliseconds() {
        let counts = counts();
        let check = |q: f64, exact_ms: f64| {
            let read = counts.latency_ms(q).expect("there are latencies");
            assert!(read >= exact_ms && read <= 1.125 * exact_ms, "q {q}: {read}");
        };
        check(0.5, 1.0);
        check(0.9, 1.0);
        check(0.99, 50.0);
    }

    #[test]
    fn what_is_merged_can_be_taken_away_again() {
        let (one, other) = (counts(), Counts { timeouts: 5, ..counts() });
        assert_eq!(one.merge(&other).since(&other), one);
    }

    #[test]
    fn lower_counts_continue_nothing() {
        let earlier = counts();
        let later = earlier.merge(&earlier);
        assert!(later.continues(&earlier) && earlier.continues(&earlier));
        assert!(!earlier.continues(&later));
        let mixed = Counts { broken: 0, ..later };
        assert!(!mixed.continues(&earlier));
        assert_eq!(mixed.since(&earlier).broken, 0);
    }
}
