//! The record of one rollout's calls of gates, as the task that writes it knows it: what of it is
//! kept, and what is left out so that it stays within its bound.

use std::collections::BTreeMap;
use std::io;

use crate::core::model::{GateName, GateStage, RolloutId};
use crate::core::rollout::GateAnswer;
use crate::gate::GateCalls;
use crate::store::EvidenceFolder;

/// A call that is to be kept.
#[derive(Debug)]
pub(super) struct KeptCall {
    /// Whose answer it is, and where in the rollout.
    pub(super) of: (GateName, GateStage, u32),
    /// What it said.
    pub(super) answer: GateAnswer,
    /// Its line.
    pub(super) line: Vec<u8>,
}

/// What is known of a record.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    /// How long it is; `None` before it was looked at.
    length: Option<u64>,
    is_thinned: bool,
    is_full: bool,
    /// What each gate said last where it was asked last: hours of the same answer say no more than
    /// its first.
    last: BTreeMap<GateName, (GateStage, u32, GateAnswer)>,
}

impl CallLog {
    /// The longest record in bytes.
    const MOST: u64 = 8 << 20;
    /// From here on only what says something new is kept.
    const THINNED_FROM: u64 = 6 << 20;

    /// Appends a call, unless there is no room for it.
    pub(super) fn append(
        &mut self,
        folder: &EvidenceFolder,
        rollout: &RolloutId,
        call: KeptCall,
    ) -> io::Result<()> {
        let length = match self.length {
            Some(length) => length,
            None => self.look(folder, rollout)?,
        };
        let KeptCall { of: (gate, stage, step), answer, line } = call;
        let said = (stage, step, answer);
        let is_new = self.last.get(&gate) != Some(&said);
        self.last.insert(gate, said);
        if self.is_full || (self.is_thinned && !is_new) {
            return Ok(());
        }
        let mut lines = line;
        if length + (lines.len() + GateCalls::FULL.len()) as u64 > Self::MOST {
            lines = GateCalls::FULL.to_vec();
            self.is_full = true;
        } else if !self.is_thinned && length + lines.len() as u64 > Self::THINNED_FROM {
            lines.extend_from_slice(GateCalls::THINNED);
            self.is_thinned = true;
        }
        // What is good is looked for again if this fails.
        self.length = None;
        self.length = Some(folder.append_calls(rollout, Some(length), &lines)?);
        Ok(())
    }

    /// Finds out what there is: the process may have been started anew, or a write has failed.
    fn look(&mut self, folder: &EvidenceFolder, rollout: &RolloutId) -> io::Result<u64> {
        let found = folder.read_calls(rollout)?.unwrap_or_default();
        let lines = || found.split_inclusive(|byte| *byte == b'\n');
        self.is_thinned = lines().any(|line| line == GateCalls::THINNED);
        self.is_full = lines().any(|line| line == GateCalls::FULL);
        let whole = lines().filter(|line| line.ends_with(b"\n"));
        let length = whole.map(|line| line.len() as u64).sum();
        self.length = Some(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 1 << 16;

    fn id() -> RolloutId {
        "d-ABCDEFGHI".parse().expect("an id")
    }

    fn call(step: u32, length: usize) -> KeptCall {
        let of = ("budget".parse().expect("a name"), GateStage::DuringStep, step);
        let mut line = vec![b'x'; length - 1];
        line.push(b'\n');
        KeptCall { of, answer: GateAnswer::Pass, line }
    }

    fn size(folder: &EvidenceFolder) -> u64 {
        folder.read_calls(&id()).expect("readable").expect("there").len() as u64
    }

    #[test]
    fn a_long_record_keeps_what_is_new_and_then_nothing_and_says_both() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let mut log = CallLog::default();
        let append = |log: &mut CallLog, step| {
            log.append(&folder, &id(), call(step, LINE)).expect("written");
            size(&folder)
        };
        for _ in 0..96 {
            append(&mut log, 0);
        }
        let thinned = append(&mut log, 0);
        let expected = 97 * LINE as u64 + GateCalls::THINNED.len() as u64;
        assert_eq!(thinned, expected);
        assert_eq!(append(&mut log, 0), thinned, "it says nothing new");
        let mut log = CallLog::default();
        assert_eq!(append(&mut log, 0), thinned + LINE as u64, "after a start it may be new");
        assert_eq!(append(&mut log, 0), thinned + LINE as u64);
        for step in 1..100 {
            append(&mut log, step);
        }
        let full = size(&folder);
        assert!(full <= CallLog::MOST && full > CallLog::MOST - LINE as u64, "{full}");
        let record = folder.read_calls(&id()).expect("readable").expect("there");
        assert!(record.ends_with(GateCalls::FULL));
        let mut log = CallLog::default();
        assert_eq!(append(&mut log, 200), full, "it stays full after a start");
    }

    #[test]
    fn a_record_that_was_removed_begins_anew() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let mut log = CallLog::default();
        log.append(&folder, &id(), call(0, 10)).expect("written");
        folder.remove(&id()).expect("removed");
        log.append(&folder, &id(), call(0, 10)).expect_err("it is gone");
        log.append(&folder, &id(), call(0, 10)).expect("begun anew");
        assert_eq!(size(&folder), 10);
    }
}
