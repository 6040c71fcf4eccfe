//! A model of the routing table and of the small file beside the store that follows it.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tidegate::core::model::{Exposure, Salt, Split, Weight};

/// The table in force, and the file that may be some tables behind.
#[derive(Debug)]
pub(crate) struct Table {
    /// The last ones that were published, the one in force at the end.
    published: Vec<Exposure>,
    /// Which of those the file holds.
    file: usize,
    swapped: bool,
}

/// How many tables the file may be behind.
const LAG: usize = 2;

impl Table {
    /// As the rollout before left it.
    pub(crate) fn new() -> Self {
        let idle =
            Exposure { split: Split::ALL_BLUE, salt: Salt { k0: 0, k1: 0 }, green_exists: false };
        Self { published: vec![idle], file: 0, swapped: false }
    }

    /// What requests are answered by.
    pub(crate) fn in_force(&self) -> Exposure {
        *self.published.last().expect("there is always a table")
    }

    /// Green's weight in force.
    pub(crate) fn green(&self) -> Weight {
        self.in_force().split.green()
    }

    /// What the file says.
    pub(crate) fn file(&self) -> Exposure {
        self.published[self.file]
    }

    /// Whether green became blue.
    pub(crate) fn swapped(&self) -> bool {
        self.swapped
    }

    /// Puts a table in force; the file follows at its own pace, never backwards.
    pub(crate) fn publish(&mut self, exposure: Exposure, rng: &mut SmallRng) {
        self.published.push(exposure);
        let newest = self.published.len() - 1;
        self.file = self.file.max(newest.saturating_sub(rng.random_range(0..=LAG)));
    }

    /// The file holds the table in force.
    pub(crate) fn write_file(&mut self) {
        self.file = self.published.len() - 1;
    }

    /// Green is blue from now on.
    pub(crate) fn swap(&mut self, rng: &mut SmallRng) {
        self.swapped = true;
        let exposure = Exposure { split: Split::ALL_BLUE, green_exists: false, ..self.in_force() };
        self.publish(exposure, rng);
    }
}
