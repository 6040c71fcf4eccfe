//! Latency buckets: log-linear, as in HdrHistogram.
//!
//! Every octave from 64 µs to 134 s is cut into eight equal parts, so that a bucket is at most
//! 12.5 % wider than its lower bound, whatever the latency. Finding the bucket takes a count of
//! leading zeros and two shifts. One bucket below and one above catch the rest.
//!
//! A bucket includes its upper bound and not its lower one, as Prometheus' `le` does.

/// How many buckets there are.
pub const BUCKETS: usize = 2 + ((LAST_OCTAVE - FIRST_OCTAVE) as usize) * PARTS;

/// The largest latency that is told apart, in microseconds (134 s); longer ones share a bucket.
pub const LARGEST_US: u64 = 1 << LAST_OCTAVE;

const PART_BITS: u32 = 3;
const PARTS: usize = 1 << PART_BITS;
/// 2^6 µs = 64 µs: below it a network tells more about itself than about the target.
const FIRST_OCTAVE: u32 = 6;
/// 2^27 µs = 134 s: above it a request is lost, however long it takes.
const LAST_OCTAVE: u32 = 27;

/// The bucket of a latency in microseconds, below [`BUCKETS`].
#[must_use]
pub fn bucket_of(latency_us: u64) -> usize {
    // One less, because a latency that is a bound belongs to the bucket that ends there.
    let inside = latency_us.saturating_sub(1);
    match inside.checked_ilog2() {
        None => 0,
        Some(octave) if octave < FIRST_OCTAVE => 0,
        Some(octave) if octave >= LAST_OCTAVE => BUCKETS - 1,
        Some(octave) => {
            let part = (inside >> (octave - PART_BITS)) as usize % PARTS;
            1 + (octave - FIRST_OCTAVE) as usize * PARTS + part
        }
    }
}

/// The largest latency of a bucket in microseconds; `u64::MAX` for the last one.
#[must_use]
pub fn upper_bound_us(bucket: usize) -> u64 {
    match bucket.checked_sub(1) {
        None => 1 << FIRST_OCTAVE,
        Some(inner) if inner >= BUCKETS - 2 => u64::MAX,
        Some(inner) => {
            let (octave, part) = (inner / PARTS, inner % PARTS);
            ((PARTS + part + 1) as u64) << (octave + (FIRST_OCTAVE - PART_BITS) as usize)
        }
    }
}

/// The latency in microseconds that the share `q` (0..=1) of all requests did not exceed; `None`
/// without requests.
///
/// It is the upper bound of the bucket in which the exact quantile lies: never too small, and too
/// large by at most 12.5 %. Two ends are blunt: what is below 64 µs reads as 64 µs, what is above
/// [`LARGEST_US`] as [`LARGEST_US`].
#[must_use]
pub fn quantile_us(counts: &[u64], q: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    let rank = ((q * total as f64).ceil() as u64).clamp(1, total.max(1));
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= rank
    })?;
    Some(upper_bound_us(bucket).min(LARGEST_US))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_join_without_a_gap_and_are_narrow() {
        for bucket in 1..BUCKETS - 1 {
            let (below, bound) = (upper_bound_us(bucket - 1), upper_bound_us(bucket));
            assert_eq!(bucket_of(bound), bucket);
            assert_eq!(bucket_of(below + 1), bucket);
            assert!((bound - below) * 8 <= below, "bucket {bucket}: {below}..={bound}");
        }
    }

    #[test]
    fn the_ends_catch_the_rest() {
        let check = |latency_us: u64, bucket: usize| assert_eq!(bucket_of(latency_us), bucket);
        check(0, 0);
        check(1, 0);
        check(64, 0);
        check(65, 1);
        check(LARGEST_US, BUCKETS - 2);
        check(LARGEST_US + 1, BUCKETS - 1);
        check(u64::MAX, BUCKETS - 1);
        assert_eq!(upper_bound_us(BUCKETS - 1), u64::MAX);
        const { assert!(LARGEST_US >= 120_000_000) }
    }

    #[test]
    fn nothing_has_no_quantile_and_the_last_bucket_reads_as_the_largest_latency() {
        assert_eq!(quantile_us(&[0; BUCKETS], 0.5), None);
        let mut counts = [0; BUCKETS];
        counts[BUCKETS - 1] = 1;
        assert_eq!(quantile_us(&counts, 0.5), Some(LARGEST_US));
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_too_small_and_at_most_an_eighth_too_large(
            mut latencies in prop::collection::vec(64..LARGEST_US, 1..200),
            q in 0.0..=1.0f64,
        ) {
            let mut counts = [0; BUCKETS];
            for latency_us in &latencies {
                counts[bucket_of(*latency_us)] += 1;
            }
            latencies.sort_unstable();
            let rank = ((q * latencies.len() as f64).ceil() as usize).max(1);
            let exact = latencies[rank - 1];
            let read = quantile_us(&counts, q).expect("there are requests");
            prop_assert!(read >= exact, "{read} < {exact}");
            prop_assert!((read - exact) * 8 <= exact, "{read} is too far above {exact}");
        }
    }
}
