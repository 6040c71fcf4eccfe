//! The folder with the evidence of rollouts, beside the store: one log each of what was compared,
//! and one record of what gates were told.
//!
//! Both are appended to and never changed. Evidence is for looking at afterwards: nothing is
//! decided by it, so that an append is not durable when it returns, and what a crash cut off at the
//! end is cut off for good by the next append.
//!
//! Everything here blocks: call it from a thread that may.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::EvidenceLog;
use super::replacement::OWNER_ONLY;
use crate::core::analysis::replay::{Limit, whole_frames};
use crate::core::model::RolloutId;

/// A folder of logs.
#[derive(Clone, Debug)]
pub struct EvidenceFolder {
    path: PathBuf,
}

impl EvidenceFolder {
    /// Names the folder; touches nothing.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Appends to a rollout's log, which is made if there is none; gives how long it is now.
    /// `length` is how much of it is good; `None` if that has to be found out.
    ///
    /// # Errors
    /// The system said no; a part may have been written.
    pub fn append(
        &self,
        rollout: &RolloutId,
        length: Option<u64>,
        bytes: &[u8],
    ) -> io::Result<u64> {
        self.append_to(&self.file(rollout), length, bytes, whole_frames)
    }

    /// Appends lines to the record of a rollout's calls of gates, in the same way.
    ///
    /// # Errors
    /// The system said no; a part may have been written.
    pub fn append_calls(
        &self,
        rollout: &RolloutId,
        length: Option<u64>,
        lines: &[u8],
    ) -> io::Result<u64> {
        self.append_to(&self.calls_file(rollout), length, lines, whole_lines)
    }

    fn append_to(
        &self,
        path: &Path,
        length: Option<u64>,
        bytes: &[u8],
        whole: fn(&[u8]) -> u64,
    ) -> io::Result<u64> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY);
        let mut file = options.open(path)?;
        let good = match length {
            Some(length) => length,
            None => whole(&read(&mut file)?),
        };
        let found = file.metadata()?.len();
        if found < good {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the log was cut or removed"));
        }
        if found > good {
            file.set_len(good)?;
        }
        file.seek(SeekFrom::Start(good))?;
        file.write_all(bytes)?;
        Ok(good + bytes.len() as u64)
    }

    /// Opens a rollout's log, to be read; `None` if there is none.
    ///
    /// # Errors
    /// The system said no.
    pub fn open(&self, rollout: &RolloutId) -> io::Result<Option<EvidenceLog>> {
        open_file(&self.file(rollout))
    }

    /// Opens the record of a rollout's calls of gates, to be read; `None` if there is none.
    ///
    /// # Errors
    /// The system said no.
    pub fn open_calls(&self, rollout: &RolloutId) -> io::Result<Option<EvidenceLog>> {
        open_file(&self.calls_file(rollout))
    }

    /// The record of a rollout's calls of gates; `None` if there is none.
    ///
    /// # Errors
    /// The system said no.
    pub fn read_calls(&self, rollout: &RolloutId) -> io::Result<Option<Vec<u8>>> {
        read_file(&self.calls_file(rollout))
    }

    /// Removes a rollout's log and record, where there are any.
    ///
    /// # Errors
    /// The system said no.
    pub fn remove(&self, rollout: &RolloutId) -> io::Result<()> {
        let log = remove_file(&self.file(rollout));
        remove_file(&self.calls_file(rollout)).and(log)
    }

    /// Removes the logs and records of all other rollouts.
    ///
    /// # Errors
    /// The system said no; some may have been removed.
    pub fn keep_only(&self, rollouts: &BTreeSet<RolloutId>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            // What is no log is somebody else's.
            let id = name.to_str().and_then(|name| {
                name.strip_suffix(SUFFIX).or_else(|| name.strip_suffix(CALLS_SUFFIX))
            });
            let Some(id) = id.and_then(|id| id.parse::<RolloutId>().ok()) else { continue };
            if !rollouts.contains(&id) {
                self.remove(&id)?;
            }
        }
        Ok(())
    }

    fn file(&self, rollout: &RolloutId) -> PathBuf {
        self.path.join(format!("{rollout}{SUFFIX}"))
    }

    fn calls_file(&self, rollout: &RolloutId) -> PathBuf {
        self.path.join(format!("{rollout}{CALLS_SUFFIX}"))
    }
}

fn open_file(path: &Path) -> io::Result<Option<EvidenceLog>> {
    match File::open(path) {
        Ok(file) => EvidenceLog::new(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match File::open(path) {
        Ok(mut file) => read(&mut file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How much of a text is whole lines.
fn whole_lines(text: &[u8]) -> u64 {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1)
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(Limit::MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const SUFFIX: &str = ".log";
const CALLS_SUFFIX: &str = ".gates";

#[cfg(test)]
impl EvidenceFolder {
    /// The whole of a rollout's log; `None` if there is none.
    pub(crate) fn read(&self, rollout: &RolloutId) -> io::Result<Option<Vec<u8>>> {
        let Some(mut log) = self.open(rollout)? else { return Ok(None) };
        let mut whole = Vec::new();
        while let Some(piece) = log.next_piece()? {
            whole.extend(piece);
        }
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::core::analysis::replay::Recorder;
    use crate::core::model::Now;

    fn id(text: &str) -> RolloutId {
        text.parse().expect("an id")
    }

    /// A frame of a log.
    fn frame() -> Vec<u8> {
        let mut recorder = Recorder::new(Limit::default());
        recorder.begin(Now::default(), b"{}");
        recorder.take()
    }

    #[test]
    fn a_log_grows_and_is_its_owners_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path().join("evidence"));
        let (one, bytes) = (id("d-ABCDEFGHI"), frame());
        assert_eq!(folder.read(&one).expect("readable"), None);
        let length = folder.append(&one, None, &bytes).expect("written");
        assert_eq!(length, bytes.len() as u64);
        assert_eq!(folder.append(&one, Some(length), &bytes).expect("written"), 2 * length);
        let read = folder.read(&one).expect("readable").expect("there");
        assert_eq!(read, [&bytes[..], &bytes].concat());
        let mode = |path: PathBuf| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(folder.file(&one)), 0o600);
        assert_eq!(mode(folder.path.clone()), 0o700);
        folder.remove(&one).expect("removed");
        folder.remove(&one).expect("gone already");
        assert_eq!(folder.read(&one).expect("readable"), None);
    }

    #[test]
    fn what_a_crash_cut_off_is_overwritten() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let (one, bytes) = (id("d-ABCDEFGHI"), frame());
        let torn = [&bytes[..], &bytes[..bytes.len() - 1]].concat();
        fs::write(folder.file(&one), torn).expect("written");
        folder.append(&one, None, &bytes).expect("written");
        let read = folder.read(&one).expect("readable").expect("there");
        assert_eq!(read, [&bytes[..], &bytes].concat());
    }

    #[test]
    fn a_record_of_calls_lies_beside_the_log_and_goes_with_it() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let one = id("d-ABCDEFGHI");
        assert_eq!(folder.read_calls(&one).expect("readable"), None);
        folder.append_calls(&one, None, b"one\ntw").expect("written");
        assert_eq!(folder.append_calls(&one, None, b"two\n").expect("written"), 8);
        assert_eq!(folder.read_calls(&one).expect("readable").as_deref(), Some(&b"one\ntwo\n"[..]));
        assert_eq!(folder.read(&one).expect("readable"), None);
        folder.keep_only(&[one.clone()].into()).expect("kept");
        assert!(folder.read_calls(&one).expect("readable").is_some());
        folder.keep_only(&BTreeSet::new()).expect("removed");
        assert_eq!(folder.read_calls(&one).expect("readable"), None);
        folder.append_calls(&one, None, b"one\n").expect("written");
        folder.remove(&one).expect("removed");
        assert_eq!(folder.read_calls(&one).expect("readable"), None);
    }

    #[test]
    fn only_logs_of_rollouts_that_are_gone_are_removed() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        folder.keep_only(&BTreeSet::new()).expect("nothing to do");
        let (kept, gone) = (id("d-ABCDEFGHI"), id("d-JKLMNOPQR"));
        folder.append(&kept, None, &frame()).expect("written");
        folder.append(&gone, None, &frame()).expect("written");
        fs::write(home.path().join("note.txt"), "mine").expect("written");
        folder.keep_only(&[kept.clone()].into()).expect("removed");
        assert!(folder.read(&kept).expect("readable").is_some());
        assert!(folder.read(&gone).expect("readable").is_none());
        assert!(home.path().join("note.txt").exists());
    }
}
