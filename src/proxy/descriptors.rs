//! Whether there are descriptors for another client.
//!
//! A process that accepts until nothing is left can neither connect to its targets nor answer its
//! operator. So connections are refused while there still are some. The system gives the lowest
//! number that is free: the number of a new connection tells how many are taken.

use rustix::process::{Resource, getrlimit};

/// From which number on a connection takes what others need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    scarce_from: u64,
}

impl Descriptors {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        Self::within(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    fn within(limit: u64) -> Self {
        let reserved = (limit / 4).max(LEAST_RESERVED).min(limit);
        Self { scarce_from: limit - reserved }
    }

    /// Whether a connection with this number is one too many; one without a number never is.
    pub(super) fn are_scarce(self, number: i32) -> bool {
        u64::try_from(number).is_ok_and(|number| number >= self.scarce_from)
    }
}

/// The fewest that are kept for connections to targets, the store, the admin API and logs; where
/// there are many, it is a quarter of them.
const LEAST_RESERVED: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_not_for_new_clients() {
        let check = |limit, last| {
            let descriptors = Descriptors::within(limit);
            assert!(!descriptors.are_scarce(last) && descriptors.are_scarce(last + 1), "{limit}");
        };
        check(128, 63);
        check(256, 191);
        check(1_024, 767);
        check(20_000, 14_999);
        assert!(Descriptors::within(10).are_scarce(0));
        assert!(!Descriptors::within(u64::MAX).are_scarce(i32::MAX));
        assert!(!Descriptors::within(256).are_scarce(-1));
    }
}
