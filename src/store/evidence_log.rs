//! A log of evidence, or another file, that is being read: piece by piece, so that a reader takes no more memory than
//! one of them, however long the log is and however slow whoever it is for.
//!
//! Everything here blocks, as in the folder of logs.

use std::fs::File;
use std::io::{self, Read as _};

use crate::core::analysis::replay::Limit;

/// A log, from its beginning to the end that it had when it was opened.
#[derive(Debug)]
pub struct EvidenceLog {
    file: File,
    /// How many bytes were not read yet, at most.
    left: u64,
}

impl EvidenceLog {
    /// The most bytes that are read at once: 32 KiB.
    pub const PIECE: usize = 32 << 10;

    /// A file that was opened, from where that stands.
    ///
    /// # Errors
    /// The system does not say how long it is.
    pub fn new(file: File) -> io::Result<Self> {
        let left = file.metadata()?.len().min(Limit::MOST);
        Ok(Self { file, left })
    }

    /// The next bytes; `None` at the end, also where somebody cut the log meanwhile.
    ///
    /// # Errors
    /// The system said no.
    pub fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let most = self.left.min(Self::PIECE as u64);
        let mut piece = Vec::with_capacity(most as usize);
        let read = self.file.by_ref().take(most).read_to_end(&mut piece)?;
        self.left -= read as u64;
        Ok((read > 0).then_some(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A log of so many bytes, none of which takes room on the disk; and a second hold on it.
    fn log(bytes: u64) -> (EvidenceLog, File) {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(bytes).expect("grown");
        let other = file.try_clone().expect("a second hold");
        (EvidenceLog::new(file).expect("its length is known"), other)
    }

    fn lengths(log: &mut EvidenceLog) -> Vec<usize> {
        std::iter::from_fn(|| log.next_piece().expect("readable"))
            .map(|piece| piece.len())
            .collect()
    }

    #[test]
    fn no_piece_is_longer_than_the_bound() {
        let (mut log, _) = log(2 * EvidenceLog::PIECE as u64 + 1);
        assert_eq!(lengths(&mut log), [EvidenceLog::PIECE, EvidenceLog::PIECE, 1]);
        let (mut empty, _) = self::log(0);
        assert_eq!(lengths(&mut empty), [0; 0]);
    }

    #[test]
    fn nothing_is_read_beyond_the_longest_log() {
        let (mut log, _) = log(Limit::MOST + 1);
        let pieces = lengths(&mut log);
        assert!(pieces.iter().all(|length| *length <= EvidenceLog::PIECE));
        assert_eq!(pieces.iter().sum::<usize>() as u64, Limit::MOST);
    }

    #[test]
    fn a_log_that_grows_or_is_cut_while_it_is_read_ends() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("log");
        let mut file = File::create(&path).expect("made");
        file.write_all(&vec![7; EvidenceLog::PIECE + 9]).expect("written");
        let open = || EvidenceLog::new(File::open(&path).expect("opened")).expect("its length");
        let (mut grown, mut cut) = (open(), open());
        file.write_all(b"more").expect("written");
        assert_eq!(lengths(&mut grown), [EvidenceLog::PIECE, 9], "as it was when it was opened");
        assert!(cut.next_piece().expect("readable").is_some());
        file.set_len(3).expect("cut");
        assert_eq!(lengths(&mut cut), [0; 0]);
    }
}
