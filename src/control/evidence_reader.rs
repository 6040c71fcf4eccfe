//! Reading a long file for others, such as the evidence of a rollout: piece by piece, and never on
//! the thread that asks.

use std::fs::File;
use std::io;

use crate::store::EvidenceLog;

/// A log, or another file, that is being read.
#[derive(Debug)]
pub struct EvidenceReader(EvidenceLog);

impl EvidenceReader {
    pub(super) fn new(log: EvidenceLog) -> Self {
        Self(log)
    }

    /// Another file than a log, from its beginning. Blocks.
    pub(super) fn of(file: File) -> io::Result<Self> {
        EvidenceLog::new(file).map(Self)
    }

    /// The next bytes, and the reader of what follows; `None` at the end.
    ///
    /// # Errors
    /// The system said no; the rest cannot be read.
    pub async fn next_piece(self) -> io::Result<Option<(Vec<u8>, Self)>> {
        let Self(mut log) = self;
        let work = tokio::task::spawn_blocking(move || {
            let piece = log.next_piece()?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, Self(log))))
        });
        work.await.map_err(io::Error::other)?
    }
}
