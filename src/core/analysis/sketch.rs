//! A sketch of latencies from which any quantile can be read to 1 %.
//!
//! It is a DDSketch (Masson, Rim and Lee, arXiv 1908.10693) with the linearly interpolated mapping:
//! every octave from 64 µs to 134 s is cut into 64 equal parts, so that the middle of a bucket is
//! at most 0.8 % away from anything in it, finding the bucket takes a count of leading zeros and
//! two shifts, and the size is fixed. Sketches merge by addition and lose nothing by it.

/// How many buckets a sketch has.
pub const SKETCH_BUCKETS: usize = 2 + ((LAST_OCTAVE - FIRST_OCTAVE) as usize) * PARTS;

const PART_BITS: u32 = 6;
const PARTS: usize = 1 << PART_BITS;
/// 2^6 µs: below it a network tells more about itself than about a target.
const FIRST_OCTAVE: u32 = 6;
/// 2^27 µs = 134 s: above it a request is lost.
const LAST_OCTAVE: u32 = 27;

/// Latencies by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencySketch {
    counts: Box<[u64]>,
    total: u64,
}

impl LatencySketch {
    /// No latencies.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: vec![0; SKETCH_BUCKETS].into_boxed_slice(), total: 0 }
    }

    /// The bucket of a latency in microseconds, below [`SKETCH_BUCKETS`]: for whoever counts in
    /// atomics and adds the buckets here afterwards.
    #[must_use]
    pub fn bucket_of(latency_us: u64) -> usize {
        match latency_us.checked_ilog2() {
            None => 0,
            Some(octave) if octave < FIRST_OCTAVE => 0,
            Some(octave) if octave >= LAST_OCTAVE => SKETCH_BUCKETS - 1,
            Some(octave) => {
                let part = (latency_us >> (octave - PART_BITS)) as usize % PARTS;
                1 + (octave - FIRST_OCTAVE) as usize * PARTS + part
            }
        }
    }

    /// Counts a latency in microseconds.
    pub fn record(&mut self, latency_us: u64) {
        self.add(Self::bucket_of(latency_us), 1);
    }

    /// Counts so many latencies in a bucket; those past the last are counted in the last.
    pub fn add(&mut self, bucket: usize, count: u64) {
        self.counts[bucket.min(SKETCH_BUCKETS - 1)] += count;
        self.total += count;
    }

    /// Takes in the latencies of another sketch.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// How many latencies there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latency in microseconds that the share `q` (0..=1) does not exceed, to 1 %; `None`
    /// without latencies. Below 64 µs it reads 64 µs, above 134 s 134 s.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> Option<u64> {
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(middle_us(bucket))
    }
}

impl Default for LatencySketch {
    fn default() -> Self {
        Self::new()
    }
}

fn middle_us(bucket: usize) -> u64 {
    match bucket.checked_sub(1) {
        None => 1 << FIRST_OCTAVE,
        Some(inner) if inner >= SKETCH_BUCKETS - 2 => 1 << LAST_OCTAVE,
        Some(inner) => {
            let (octave, part) = ((inner / PARTS) as u32 + FIRST_OCTAVE, (inner % PARTS) as u64);
            let width = 1_u64 << (octave - PART_BITS);
            (1 << octave) + part * width + width / 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_reads_within_one_percent() {
        for latency in (64..1 << 20).chain((0..10_000).map(|i| (1 << 20) + i * 13_001)) {
            let read = middle_us(LatencySketch::bucket_of(latency));
            let error = (read as f64 / latency as f64 - 1.0).abs();
            assert!(error <= 0.01, "{latency} reads {read}");
        }
        assert_eq!(middle_us(LatencySketch::bucket_of(0)), 64);
        assert_eq!(middle_us(LatencySketch::bucket_of(u64::MAX)), 1 << 27);
    }

    #[test]
    fn quantiles_survive_a_merge() {
        let (mut one, mut other, mut both) =
            (LatencySketch::new(), LatencySketch::new(), LatencySketch::new());
        for latency in 1..=10_000_u64 {
            let into = if latency.is_multiple_of(3) { &mut one } else { &mut other };
            into.record(latency * 100);
            both.record(latency * 100);
        }
        one.merge(&other);
        assert_eq!(one, both);
        for (q, wanted) in [(0.5, 500_000.0), (0.9, 900_000.0), (0.99, 990_000.0)] {
            let read = both.quantile_us(q).unwrap() as f64;
            assert!((read / wanted - 1.0).abs() < 0.01, "{q}: {read}");
        }
        assert_eq!(LatencySketch::new().quantile_us(0.5), None);
    }
}
