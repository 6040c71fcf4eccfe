//! Folders of our own: what lies in them is run, or decides what is.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// A folder that belongs to us and that nobody else may write; it is made if it is missing.
pub(super) fn ours(folder: &Path) -> io::Result<PathBuf> {
    make(folder, true)?;
    let metadata = fs::metadata(folder)?;
    let refused = |why: &str| {
        let text = format!("{}: {why}", folder.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    if metadata.uid() != geteuid().as_raw() {
        return refused("it belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return refused("others than its owner may write there");
    }
    fs::canonicalize(folder)
}

/// Makes a folder for its owner alone; one that is there already may be an error.
pub(super) fn make(folder: &Path, may_be_there: bool) -> io::Result<()> {
    fs::DirBuilder::new().recursive(may_be_there).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let parent = tempfile::tempdir().expect("a directory");
        let folder = parent.path().join("new");
        assert!(ours(&folder).is_ok());
        assert_eq!(fs::metadata(&folder).expect("there").mode() & 0o777, 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("own folder");
        let error = ours(&folder).expect_err("refused").to_string();
        assert!(error.contains("others than its owner"), "{error}");
    }
}
