//! Exit codes: what a script can branch on.

use std::process::ExitCode;

use crate::core::rollout::StateName;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked; a rollout that was waited for succeeded.
    Succeeded = 0,
    /// A mistake of ours.
    Internal = 1,
    /// The command line, or a file that it names, is wrong.
    Usage = 2,
    /// It was understood and refused.
    Refused = 3,
    /// The admin API cannot be reached.
    Unreachable = 4,
    /// The rollout was rolled back.
    RolledBack = 10,
    /// The rollout ended before there was traffic.
    Failed = 11,
    /// The rollout ended where it was.
    Stopped = 12,
    /// The rollout was still running when the time for waiting was over.
    TimedOut = 13,
}

impl Exit {
    /// What the end of a rollout means for who waited for it; `None` while it runs.
    #[must_use]
    pub fn of(state: StateName) -> Option<Self> {
        match state {
            StateName::Created
            | StateName::Installing
            | StateName::Testing
            | StateName::Ready
            | StateName::Shifting
            | StateName::Baking => None,
            StateName::Succeeded => Some(Self::Succeeded),
            StateName::RolledBack => Some(Self::RolledBack),
            StateName::Failed => Some(Self::Failed),
            StateName::Stopped => Some(Self::Stopped),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_rollout_has_a_code_of_its_own() {
        let codes: Vec<u8> =
            StateName::ALL.into_iter().filter_map(Exit::of).map(|exit| exit as u8).collect();
        assert_eq!(codes, [0, 10, 12, 11]);
        let others =
            [Exit::Internal, Exit::Usage, Exit::Refused, Exit::Unreachable, Exit::TimedOut];
        assert_eq!(others.map(|exit| exit as u8), [1, 2, 3, 4, 13]);
        assert!(StateName::ALL.iter().all(|s| s.is_terminal() == Exit::of(*s).is_some()));
    }
}
