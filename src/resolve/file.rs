//! What keeps one file of targets read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::core::model::{Target, TargetGroupName, TargetList};

use super::board::Board;

/// What one task needs.
#[derive(Debug)]
pub(super) struct FileJob {
    pub(super) group: TargetGroupName,
    pub(super) path: PathBuf,
    pub(super) board: Arc<Board>,
}

/// How a file that is another one is told from one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// What a look at a file shows.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// It is as it was.
    Same,
    /// It is another one, and good.
    Good(Stamp, Vec<Target>),
    /// It is another one and cannot be used; without a stamp it cannot be looked at.
    Bad(Option<Stamp>, String),
}

impl FileJob {
    /// Looks again and again whether the file is another one, and reads it then. One that cannot be
    /// used changes nothing and is told once.
    pub(super) async fn run(self) {
        let mut seen = None;
        let mut told = None;
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let path = self.path.clone();
            let look = tokio::task::spawn_blocking(move || Look::at(&path, seen)).await;
            match look.unwrap_or_else(|panicked| Look::Bad(None, panicked.to_string())) {
                Look::Same => {}
                Look::Good(stamp, targets) => {
                    (seen, told) = (Some(stamp), None);
                    self.board.listed(&self.group, &self.path, targets);
                }
                Look::Bad(stamp, why) => {
                    seen = stamp;
                    if told.as_ref() != Some(&why) {
                        let (group, file) = (&self.group, self.path.display());
                        tracing::error!(%group, %file, why, "the last good list of targets stays");
                    }
                    told = Some(why);
                }
            }
        }
    }
}

impl Look {
    fn at(path: &Path, seen: Option<Stamp>) -> Self {
        let stamp = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Stamp::of(&metadata),
            Ok(_) => return Self::Bad(None, "is not a file".to_owned()),
            Err(error) => return Self::Bad(None, error.to_string()),
        };
        if seen == Some(stamp) {
            return Self::Same;
        }
        // What is put there from now on has another stamp at the next look.
        let read = bytes(path).map_err(|error| error.to_string());
        let list = read.and_then(|bytes| TargetList::parse(&bytes).map_err(|e| e.to_string()));
        match list {
            Ok(list) => Self::Good(stamp, list.into_targets()),
            Err(why) => Self::Bad(Some(stamp), why),
        }
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A file's content, and one byte more than a list may have if there are more.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TargetList::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How often a file is looked at.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_when_it_is_another_one_and_a_bad_one_says_where() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.targets");
        assert!(matches!(Look::at(&path, None), Look::Bad(None, _)));
        let replace = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, &path).expect("renamed");
        };
        replace("127.0.0.1:9001\n");
        let Look::Good(first, targets) = Look::at(&path, None) else { panic!("a good file") };
        assert_eq!(targets.len(), 1);
        assert_eq!(Look::at(&path, Some(first)), Look::Same);
        replace("127.0.0.1:9002\n");
        let Look::Good(second, _) = Look::at(&path, Some(first)) else { panic!("another file") };
        replace("127.0.0.1:9002\nnowhere\n");
        let Look::Bad(Some(third), why) = Look::at(&path, Some(second)) else { panic!("bad") };
        assert!(why.starts_with("line 2: \"nowhere\""), "{why}");
        assert_eq!(Look::at(&path, Some(third)), Look::Same);
    }
}
