//! One count that many threads add to, in a place that is used by one cohort after the other.
//!
//! Who counts may be held up for as long as it takes the ring to come round, so every count also
//! says which turn of the ring it is of. Counting is one addition, which tells the turn that it
//! found. If that is another one, it came too late and is taken back; unless the place was taken
//! once more in between, which has undone it (C5).

use std::sync::atomic::{AtomicU32, Ordering};

/// One turn of the ring, as the counts remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn(u32);

impl Turn {
    #[cfg(test)]
    pub(super) const FIRST: Self = Self(0);

    /// The turn of a number in a ring of so many places.
    pub(super) fn of(number: u64, ring: u64) -> Self {
        Self(((number / ring) & TURNS) as u32)
    }
}

/// One count that may reach 2^24 - 1, and the turn that it is of. A cohort has no more than half as
/// many arrivals ([`Arrivals`](super::arrivals::Arrivals)), so that it cannot overflow.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU32);

impl Count {
    /// Begins a turn with nothing counted.
    pub(super) fn begin(&self, turn: Turn) {
        self.0.store(turn.0 << BITS, Ordering::Release);
    }

    /// Counts one more; `false` if the turn is over, and nothing was counted.
    pub(super) fn add(&self, turn: Turn) -> bool {
        let found = self.0.fetch_add(1, Ordering::Release) >> BITS;
        if found == turn.0 {
            return true;
        }
        let back = |word: u32| (word >> BITS == found && word & MOST > 0).then(|| word - 1);
        // An error says that the place was taken once more, with nothing counted.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
        false
    }

    /// What was counted in a turn; `None` if it is over.
    pub(super) fn read(&self, turn: Turn) -> Option<u32> {
        let word = self.0.load(Ordering::Acquire);
        (word >> BITS == turn.0).then_some(word & MOST)
    }

    /// What was counted in the present turn, whichever it is.
    pub(super) fn present(&self) -> u32 {
        self.0.load(Ordering::Acquire) & MOST
    }
}

/// Bits of a count; the turn lies above them.
const BITS: u32 = 24;
const MOST: u32 = (1 << BITS) - 1;
/// Turns are told apart modulo one more: at 640 cohorts of 100 ms they repeat after 4.5 hours.
const TURNS: u64 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_another_turn_are_left_as_they_were() {
        let count = Count::default();
        let (first, second) = (Turn::of(5, 4), Turn::of(9, 4));
        count.begin(first);
        assert!(count.add(first) && count.add(first));
        assert!(!count.add(second));
        assert_eq!((count.read(first), count.read(second)), (Some(2), None));
        count.begin(second);
        assert!(!count.add(first), "late");
        assert_eq!((count.read(second), count.read(first)), (Some(0), None));
        assert!(count.add(second));
        assert_eq!((count.read(second), count.present()), (Some(1), 1));
    }

    #[test]
    fn turns_are_told_apart_for_hours() {
        assert_eq!(Turn::of(3, 4), Turn::of(0, 4));
        assert!((1..=TURNS).all(|turn| Turn::of(turn * 4, 4) != Turn::of(0, 4)));
        assert_eq!(Turn::of((TURNS + 1) * 4, 4), Turn::of(0, 4));
    }

    #[test]
    fn what_comes_late_under_load_leaves_nothing_behind() {
        let count = Count::default();
        let turns = [Turn::of(0, 1), Turn::of(1, 1)];
        count.begin(turns[1]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let count = &count;
                scope.spawn(move || {
                    let of_turn = turns[thread % 2];
                    (0..10_000).for_each(|_| assert_eq!(count.add(of_turn), thread % 2 == 1));
                });
            }
        });
        assert_eq!(count.read(turns[1]), Some(20_000));
    }
}
