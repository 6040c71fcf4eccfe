//! The component of the gate that the demo asks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::core::model::Sha256;

use super::DemoError;

/// A component with the digest that it is pinned by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GateFile {
    /// The file's absolute path.
    pub(super) path: PathBuf,
    pub(super) digest: Sha256,
}

impl GateFile {
    /// The component in the repository's folder, pinned by the digest that was committed with it;
    /// or another build of it, pinned by its own.
    pub(super) fn find(other: Option<&Path>) -> Result<Self, DemoError> {
        let path = other.unwrap_or(Path::new(COMPONENT));
        let absolute = path
            .canonicalize()
            .map_err(|error| DemoError::NoGate { path: path.to_owned(), error })?;
        let read = |path: &Path| {
            fs::read(path).map_err(|error| DemoError::Io {
                what: format!("reading {}", path.display()),
                error,
            })
        };
        let digest = if other.is_some() {
            Sha256::of(&read(&absolute)?)
        } else {
            let sums = String::from_utf8_lossy(&read(Path::new(SUMS))?).into_owned();
            committed(&sums).ok_or_else(|| DemoError::NoDigest { path: PathBuf::from(SUMS) })?
        };
        Ok(Self { path: absolute, digest })
    }
}

/// The component's digest in the list of digests.
fn committed(sums: &str) -> Option<Sha256> {
    sums.lines()
        .filter_map(|line| line.split_once("  "))
        .find(|(_, path)| *path == COMPONENT)
        .and_then(|(digest, _)| digest.parse().ok())
}

const COMPONENT: &str = "plugins/dist/error-budget.wasm";
const SUMS: &str = "plugins/dist/SHA256SUMS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_of_the_repository_is_pinned_by_its_committed_digest() {
        // Tests run in the repository's folder.
        let found = GateFile::find(None).unwrap();
        assert!(found.path.is_absolute());
        assert_eq!(found.digest, Sha256::of(&fs::read(&found.path).unwrap()));
        assert_eq!(GateFile::find(Some(&found.path)).unwrap(), found);
    }

    #[test]
    fn a_digest_is_found_by_the_components_path_alone() {
        let (one, other) = ("1".repeat(64), "2".repeat(64));
        let sums = format!("{one}  plugins/dist/other.wasm\n{other}  {COMPONENT}\n");
        assert_eq!(committed(&sums), other.parse().ok());
        assert_eq!(committed("short  plugins/dist/error-budget.wasm\n"), None);
        assert_eq!(committed(""), None);
    }

    #[test]
    fn a_component_that_is_not_there_says_what_to_do() {
        let error = GateFile::find(Some(Path::new("/nowhere/gate.wasm"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/gate.wasm"), "{error}");
        assert!(error.contains("run it from the repository's folder"), "{error}");
    }
}
