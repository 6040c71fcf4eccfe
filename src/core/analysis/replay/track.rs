//! What both ends of a log remember, so that only changes have to be written.

use std::collections::VecDeque;

use crate::core::analysis::Drawn;
use crate::core::analysis::comparison::{Cells, Cohort};

/// The last of everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// The last cohort; `None` at the beginning of a head.
    pub(super) newest: Option<Cohort>,
    /// Open cohorts and what their counters say, in the order of their numbers.
    open: VecDeque<Open>,
    /// How many targets green has.
    pub(super) targets: u64,
    /// What was drawn; `None` if nothing was told, or it does not count any more.
    pub(super) drawn: Option<Drawn>,
}

/// An open cohort.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) number: u64,
    /// What the log says of its counters.
    pub(super) written: Cells,
    /// What they said when they were last read.
    pub(super) seen: Cells,
}

impl Track {
    /// The most cohorts that may be open: more than any comparison keeps.
    pub(super) const MOST_OPEN: usize = 8_192;
    /// The largest number of anything that is counted up.
    pub(super) const LARGEST: u64 = 1 << 53;

    /// The cohort that opens in the ordinary way; `None` if there is none to go on from.
    pub(super) fn next(&self) -> Option<Cohort> {
        let newest = self.newest?;
        (newest.number < Self::LARGEST).then(|| Cohort { number: newest.number + 1, ..newest })
    }

    /// Takes a cohort that opened.
    pub(super) fn open(&mut self, cohort: Cohort) {
        self.newest = Some(cohort);
        if self.open.len() >= Self::MOST_OPEN {
            self.open.pop_front();
        }
        let (written, seen) = (Cells::default(), Cells::default());
        self.open.push_back(Open { number: cohort.number, written, seen });
    }

    /// An open cohort.
    pub(super) fn find(&mut self, number: u64) -> Option<&mut Open> {
        let place = self.open.binary_search_by_key(&number, |open| open.number).ok()?;
        self.open.get_mut(place)
    }

    /// The open cohorts whose counters say something else than the log.
    pub(super) fn changed(&mut self) -> impl Iterator<Item = &mut Open> {
        self.open.iter_mut().filter(|open| open.written != open.seen)
    }

    /// Forgets cohorts that are not open any more, up to the first that the log does not know all
    /// of.
    pub(super) fn forget_before(&mut self, number: u64) {
        let is_done = |open: &Open| open.number < number && open.written == open.seen;
        while self.open.front().is_some_and(is_done) {
            self.open.pop_front();
        }
    }

    /// Whether blue has requests in the newest cohort, by its last reading.
    pub(super) fn blue_arrives(&self) -> bool {
        self.open.back().is_some_and(|open| {
            Some(open.number) == self.newest.map(|newest| newest.number)
                && open.seen.absolute.blue > 0
        })
    }
}
