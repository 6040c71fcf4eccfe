//! A file that is written beside the one it will replace, and takes its place whole.
//!
//! After a crash or a power cut at any moment the place holds the old file or the new one, never a
//! part of either: the new file is on the disk before it is renamed, and the rename is on the disk
//! before [`Replacement::finish`] returns. The file is its owner's alone from the moment it exists.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A new file that has not taken its place yet; given up, it is removed.
#[derive(Debug)]
pub(super) struct Replacement {
    temporary: PathBuf,
    place: PathBuf,
}

impl Replacement {
    /// Makes an empty file `<place>.new`; one that a crash left there is removed.
    pub(super) fn begin(place: &Path) -> io::Result<Self> {
        let temporary = beside(place, ".new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&temporary)?;
        Ok(Self { temporary, place: place.to_owned() })
    }

    /// Where to write the new contents.
    pub(super) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Puts the file into its place, durably.
    pub(super) fn finish(self) -> io::Result<()> {
        File::open(&self.temporary)?.sync_all()?;
        fs::rename(&self.temporary, &self.place)?;
        let folder = match self.place.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After `finish` there is nothing to remove; after a failure it is a leftover that the
        // next `begin` removes if this cannot.
        drop(fs::remove_file(&self.temporary));
    }
}

/// The path with something added to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Permission bits of every file of the store.
pub(super) const OWNER_ONLY: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("file");
        fs::write(&place, "old").expect("written");
        let leftover = beside(&place, ".new");
        fs::write(&leftover, "left by a crash").expect("written");
        let replacement = Replacement::begin(&place).expect("begun");
        assert_eq!(fs::read(replacement.path()).expect("there"), b"");
        fs::write(replacement.path(), "new").expect("written");
        assert_eq!(fs::read(&place).expect("there"), b"old");
        replacement.finish().expect("finished");
        assert_eq!(fs::read(&place).expect("there"), b"new");
        assert!(!leftover.exists());
        let mode = fs::metadata(&place).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_replacement_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("file");
        drop(Replacement::begin(&place).expect("begun"));
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
