//! `targets_file`: a group's targets, one on a line of a file of their own.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::file_path;
use super::node::Node;
use crate::core::model::{Target, TargetList};

/// Reads the file that a node names; one that is no list of targets is a mistake.
pub(super) fn targets_file(node: &Node<'_>, base_dir: &Path) -> Option<(PathBuf, Vec<Target>)> {
    let path = file_path(node, base_dir)?;
    let shown = path.display();
    let bytes = match bytes(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            node.mistake(format!("{shown} cannot be read: {error}"));
            return None;
        }
    };
    match TargetList::parse(&bytes) {
        Ok(list) => Some((path, list.into_targets())),
        Err(error) => {
            node.mistake(format!("{shown} is no list of targets: {error}"));
            None
        }
    }
}

/// A file's content, and one byte more than a list may have if there are more.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(TargetList::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::BASE;
    use crate::core::model::TargetGroupName;

    #[test]
    fn a_group_s_targets_may_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = BASE.replace("c: {}", "c: { targets_file: ./c.targets }");
        let check = |content: Option<&str>, expected: &str| {
            if let Some(content) = content {
                fs::write(dir.path().join("c.targets"), content).unwrap();
            }
            let found = Config::parse(&text, dir.path()).unwrap_err().to_string();
            let at = format!("line 2: target_groups.c.targets_file: {}", dir.path().display());
            assert!(found.starts_with(&at) && found.contains(expected), "{found}");
        };
        check(None, "c.targets cannot be read: ");
        check(Some(""), "c.targets is no list of targets: lists no target");
        check(Some("127.0.0.1:9003\nnowhere\n"), "c.targets is no list of targets: line 2: ");
        fs::write(dir.path().join("c.targets"), "127.0.0.1:9003\nshop.internal:80\n").unwrap();
        let config = Config::parse(&text, dir.path()).unwrap();
        let name: TargetGroupName = "c".parse().unwrap();
        assert_eq!(config.targets_files[&name], dir.path().join("c.targets"));
        assert_eq!(config.target_groups[&name].targets().len(), 2);
    }

    #[test]
    fn a_group_has_its_targets_here_or_in_a_file() {
        let text = BASE.replace("c: {}", "c: { targets: [], targets_file: c.targets }");
        let found = Config::parse(&text, Path::new("")).unwrap_err().to_string();
        let expected = "line 2: target_groups.c.targets_file: only one of `targets`, \
                        `targets_file` can be here";
        assert_eq!(found, expected);
    }
}
