//! The components that were uploaded: a folder with one file for each, and an index that says which
//! of them is a gate's present one.
//!
//! Files come before the index that names them, and the index is replaced whole, so that after a
//! crash at any moment the index is the old one or the new one and every file that it names is
//! there. Whether a file is what its name says is seen when it is loaded, as with any component.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::private_folder;
use crate::core::model::{GateKey, GateName, Sha256, WallTime};

/// One uploaded component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVersion {
    /// When it was uploaded.
    pub uploaded: WallTime,
    /// By whom.
    pub by: String,
    /// The key that signed it; `None` where signatures are not asked for.
    pub signed_by: Option<GateKey>,
    /// What it calls itself.
    pub title: String,
    /// Its own version.
    pub version: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The components of one gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVersions {
    /// The one that was uploaded last.
    pub latest: Sha256,
    /// All that are kept.
    pub kept: BTreeMap<Sha256, GateVersion>,
}

/// What there is, by gate.
pub type GateIndex = BTreeMap<GateName, GateVersions>;

/// The folder.
#[derive(Clone, Debug)]
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// The most gates that are uploaded.
    pub const GATES: usize = 100;
    /// The most components of one gate: as many as rollouts may still ask, and the present one.
    pub const VERSIONS: usize = 20;

    /// Opens the folder, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made, or others may write there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: private_folder::ours(folder)? })
    }

    /// What there is.
    ///
    /// # Errors
    /// The index cannot be read, or is none.
    pub fn index(&self) -> io::Result<GateIndex> {
        match fs::read(self.folder.join(INDEX)) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(GateIndex::new()),
            Err(error) => Err(error),
        }
    }

    /// The file of a component.
    #[must_use]
    pub fn component(&self, digest: Sha256) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    /// Puts the file of a component there, which no gate has yet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_component(&self, bytes: &[u8]) -> io::Result<Sha256> {
        let digest = Sha256::of(bytes);
        replace(&self.component(digest), bytes)?;
        Ok(digest)
    }

    /// Makes a component a gate's present one.
    ///
    /// # Errors
    /// There are too many gates, or the index cannot be written.
    pub fn put(&self, gate: &GateName, digest: Sha256, version: GateVersion) -> io::Result<()> {
        let mut index = self.index()?;
        if !index.contains_key(gate) && index.len() >= Self::GATES {
            return Err(io::Error::other(format!("at most {} gates are kept", Self::GATES)));
        }
        let versions = index
            .entry(gate.clone())
            .or_insert_with(|| GateVersions { latest: digest, kept: BTreeMap::new() });
        if !versions.kept.contains_key(&digest) && versions.kept.len() >= Self::VERSIONS {
            let text = format!("{} versions of the gate are in use", versions.kept.len());
            return Err(io::Error::other(text));
        }
        versions.latest = digest;
        versions.kept.insert(digest, version);
        self.write(&index)
    }

    /// Forgets the components of a gate that are neither its present one nor among these; gives
    /// which they were.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub fn prune(&self, gate: &GateName, in_use: &BTreeSet<Sha256>) -> io::Result<Vec<Sha256>> {
        let mut index = self.index()?;
        let Some(versions) = index.get_mut(gate) else { return Ok(Vec::new()) };
        let latest = versions.latest;
        let is_kept = |digest: &Sha256| *digest == latest || in_use.contains(digest);
        let gone: Vec<Sha256> =
            versions.kept.keys().copied().filter(|digest| !is_kept(digest)).collect();
        if !gone.is_empty() {
            versions.kept.retain(|digest, _| is_kept(digest));
            self.write(&index)?;
            self.clear(&index);
        }
        Ok(gone)
    }

    /// Forgets a gate; gives which components it had.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub fn remove(&self, gate: &GateName) -> io::Result<Vec<Sha256>> {
        let mut index = self.index()?;
        let Some(versions) = index.remove(gate) else { return Ok(Vec::new()) };
        self.write(&index)?;
        self.clear(&index);
        Ok(versions.kept.into_keys().collect())
    }

    /// Removes every file that is in no index: of gates that are gone, of uploads that were refused.
    pub fn clear_leftovers(&self) {
        match self.index() {
            Ok(index) => self.clear(&index),
            Err(error) => tracing::warn!(%error, "the index of uploaded gates cannot be read"),
        }
    }

    fn clear(&self, index: &GateIndex) {
        let kept = index.values().flat_map(|versions| versions.kept.keys());
        let kept: BTreeSet<PathBuf> = kept.map(|digest| self.component(*digest)).collect();
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.file_name().is_some_and(|name| name != INDEX)
                && !kept.contains(&path)
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(%error, path = %path.display(), "an unused component stays");
            }
        }
    }

    fn write(&self, index: &GateIndex) -> io::Result<()> {
        replace(&self.folder.join(INDEX), &serde_json::to_vec_pretty(index)?)
    }
}

const INDEX: &str = "index.json";

/// Puts a file into its place whole, and on the disk.
fn replace(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = place.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, place)?;
    place.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(bytes: &[u8]) -> GateVersion {
        GateVersion {
            uploaded: WallTime::from_ms(1),
            by: "admin".to_owned(),
            signed_by: None,
            title: "budget".to_owned(),
            version: "1.0.0".to_owned(),
            bytes: bytes.len() as u64,
        }
    }

    fn put(library: &Library, gate: &GateName, bytes: &[u8]) -> Sha256 {
        let digest = library.add_component(bytes).expect("written");
        library.put(gate, digest, version(bytes)).expect("kept");
        digest
    }

    #[test]
    fn what_is_in_use_is_kept_and_the_rest_goes() {
        let folder = tempfile::tempdir().expect("a directory");
        let library = Library::open(&folder.path().join("uploads")).expect("open");
        let gate: GateName = "budget".parse().expect("valid");
        let [old, used, new] = [&b"1"[..], &b"2"[..], &b"3"[..]].map(|b| put(&library, &gate, b));
        assert_eq!(library.index().expect("read")[&gate].latest, new);
        let gone = library.prune(&gate, &BTreeSet::from([used])).expect("pruned");
        assert_eq!(gone, [old]);
        assert!(!library.component(old).exists());
        assert!(library.component(used).exists() && library.component(new).exists());
        let again = Library::open(&folder.path().join("uploads")).expect("open");
        assert_eq!(again.index().expect("read")[&gate].kept.len(), 2);
        assert_eq!(library.remove(&gate).expect("removed").len(), 2);
        assert!(!library.component(new).exists());
        assert_eq!(library.index().expect("read"), GateIndex::new());
    }

    #[test]
    fn an_upload_that_came_to_nothing_is_cleared() {
        let folder = tempfile::tempdir().expect("a directory");
        let library = Library::open(folder.path()).expect("open");
        let gate: GateName = "budget".parse().expect("valid");
        let kept = put(&library, &gate, b"1");
        let refused = library.add_component(b"2").expect("written");
        library.clear_leftovers();
        assert!(library.component(kept).exists() && !library.component(refused).exists());
    }

    #[test]
    fn the_number_of_versions_is_bounded() {
        let folder = tempfile::tempdir().expect("a directory");
        let library = Library::open(folder.path()).expect("open");
        let gate: GateName = "budget".parse().expect("valid");
        for i in 0..Library::VERSIONS {
            put(&library, &gate, i.to_string().as_bytes());
        }
        let digest = library.add_component(b"one more").expect("written");
        let error = library.put(&gate, digest, version(b"")).expect_err("too many").to_string();
        assert!(error.contains("20 versions"), "{error}");
    }
}
