//! The arrivals of the present cohort: one word, which is all that a request changes when it
//! arrives.
//!
//! It holds green's and blue's arrivals and which cohort they are of, so that one addition both
//! counts a request and tells its cohort: whatever happens at the same moment, it is in exactly the
//! cohort that was open when it was counted. Opening the next one takes the final counts away in
//! one step, so that none is lost between two cohorts, and none is counted in both.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::model::Side;

/// Green's and blue's arrivals of the present cohort, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Arrivals(AtomicU64);

impl Arrivals {
    /// The most arrivals of a cohort, of both sides together: at 100 ms that is 80 million requests
    /// a second. What comes after them is not counted, whichever side it is of.
    const MOST: u32 = 1 << 23;

    /// Begins a cohort; green's and blue's arrivals in the one before. By one task alone.
    pub(super) fn begin(&self, number: u64) -> (u32, u32) {
        split(self.0.swap(tag(number) << TAG, Ordering::AcqRel))
    }

    /// Counts a request; in which cohort: in `seen`, which was open a moment ago, or in a later
    /// one. `None` if there are too many.
    pub(super) fn count(&self, side: Side, seen: u64) -> Option<u64> {
        let before = self.0.fetch_add(one_of(side), Ordering::AcqRel);
        let number = seen + ((before >> TAG).wrapping_sub(tag(seen)) & TAGS);
        let (green, blue) = split(before);
        // Of both sides, or those that are not counted would be of one side.
        if green + blue >= Self::MOST {
            // One that stays is in flight for ever, which is counted against whatever is shown.
            let _ = self.take_back(side, number);
            return None;
        }
        Some(number)
    }

    /// Takes a request back that was just counted; `false` if its cohort was closed in between,
    /// which has it among its final counts.
    pub(super) fn take_back(&self, side: Side, number: u64) -> bool {
        let back = |word: u64| (word >> TAG == tag(number)).then(|| word - one_of(side));
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, back).is_ok()
    }

    /// Green's and blue's arrivals in a cohort; `None` if another one is open.
    pub(super) fn read(&self, number: u64) -> Option<(u32, u32)> {
        let word = self.0.load(Ordering::Acquire);
        (word >> TAG == tag(number)).then_some(split(word))
    }
}

/// A cohort's number in short; 0 is also that of no cohort.
fn tag(number: u64) -> u64 {
    (number + 1) & TAGS
}

fn one_of(side: Side) -> u64 {
    match side {
        Side::Green => 1 << COUNT,
        Side::Blue => 1,
    }
}

fn split(word: u64) -> (u32, u32) {
    (((word >> COUNT) & COUNTS) as u32, (word & COUNTS) as u32)
}

/// Bits of a count: twice the most arrivals, so that one which is too many is in no other's bits
/// until it is taken back.
const COUNT: u32 = 24;
const COUNTS: u64 = (1 << COUNT) - 1;
/// Where the cohort's number begins. Numbers repeat after 65 536 cohorts, which is 109 minutes.
const TAG: u32 = 2 * COUNT;
const TAGS: u64 = u64::MAX >> TAG;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_the_cohort_that_was_open_when_it_was_counted() {
        let arrivals = Arrivals::default();
        assert_eq!(arrivals.begin(65_534), (0, 0));
        assert_eq!(arrivals.count(Side::Green, 65_534), Some(65_534));
        assert_eq!(arrivals.count(Side::Blue, 65_534), Some(65_534));
        assert_eq!(arrivals.begin(65_535), (1, 1), "what was counted is taken along");
        assert_eq!(arrivals.count(Side::Blue, 65_534), Some(65_535), "it was closed meanwhile");
        arrivals.begin(65_536);
        assert_eq!(arrivals.count(Side::Blue, 65_534), Some(65_536));
        assert!(!arrivals.take_back(Side::Blue, 65_535), "that one is closed");
        assert_eq!(arrivals.read(65_536), Some((0, 1)));
        assert!(arrivals.take_back(Side::Blue, 65_536));
        assert_eq!((arrivals.read(65_536), arrivals.read(65_535)), (Some((0, 0)), None));
    }

    #[test]
    fn a_full_cohort_takes_neither_side_and_overflows_into_nothing() {
        let arrivals = Arrivals::default();
        arrivals.begin(7);
        let full = tag(7) << TAG | 1 << COUNT | u64::from(Arrivals::MOST - 1);
        arrivals.0.store(full, Ordering::Release);
        for side in [Side::Green, Side::Blue, Side::Green] {
            assert_eq!(arrivals.count(side, 7), None);
        }
        assert_eq!(arrivals.read(7), Some((1, Arrivals::MOST - 1)));
    }

    #[test]
    fn no_arrival_is_lost_or_counted_twice_while_cohorts_are_opened() {
        const EACH: u64 = 50_000;
        let arrivals = Arrivals::default();
        arrivals.begin(0);
        let mut closed = vec![(0, 0)];
        let counted: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let work: Vec<_> = [Side::Green, Side::Blue, Side::Green]
                .map(|side| {
                    let arrivals = &arrivals;
                    scope.spawn(move || {
                        let mut each = vec![0; 2_001];
                        let mut seen = 0;
                        for _ in 0..EACH {
                            seen = arrivals.count(side, seen).expect("there is room");
                            each[usize::try_from(seen).expect("small")] += 1;
                        }
                        each
                    })
                })
                .into_iter()
                .collect();
            for number in 1..=2_000 {
                closed.push(arrivals.begin(number));
                std::thread::yield_now();
            }
            work.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        closed.push(arrivals.read(2_000).expect("it is open"));
        for number in 0..=2_000_usize {
            let (green, blue) = closed[number + 1];
            let of = |thread: usize| counted[thread][number];
            assert_eq!(u64::from(green), of(0) + of(2), "cohort {number}");
            assert_eq!(u64::from(blue), of(1), "cohort {number}");
        }
        assert!(counted.iter().all(|each| each.iter().sum::<u64>() == EACH));
    }
}
