//! The folder that holds the native code of components: the cache of wasmtime, and beside it a
//! digest of every entry.
//!
//! An entry is native code that runs in the proxy without further proof, so the folder belongs to
//! the user of the process and nobody else may write there, an entry arrives whole or not at all,
//! and one that differs from its digest is removed before it is looked at.

use std::fs::{self, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use wasmtime::Engine;

use crate::core::model::Sha256;
use crate::gate::private_folder::{make, ours};

/// The folder within that of a compilation where the native code is left.
pub(super) const CACHE: &str = "cache";

/// How much native code is kept, as it lies on the disk.
const MOST_BYTES: u64 = 512 << 20;
/// The largest entry.
const LARGEST: u64 = 128 << 20;

const MODULES: &str = "modules";
const DIGESTS: &str = "digests";
const STAGING: &str = "compiling-";

/// Tells folders of one process apart.
static FOLDERS: AtomicU64 = AtomicU64::new(0);

/// The name under which wasmtime's cache looks for the native code of a component: the digest of
/// the engine's settings, the component, and two options of `CodeBuilder` that are not used.
///
/// This repeats what wasmtime does. Should it do something else one day, then nothing is found
/// under this name and gates are refused, which the tests of this module would show.
pub(super) fn key(engine: &Engine, component: &[u8]) -> String {
    let (no_dwarf, no_intrinsics): (Option<&[u8]>, Option<&str>) = (None, None);
    let mut state = Collected(Vec::with_capacity(component.len() + 1_024));
    engine.precompile_compatibility_hash().hash(&mut state);
    (component, no_dwarf, no_intrinsics).hash(&mut state);
    base64(Sha256::of(&state.0).as_bytes())
}

/// Collects what a hasher would digest.
struct Collected(Vec<u8>);

impl Hasher for Collected {
    /// The digest is made of what was collected, not here.
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The variant of base64 for names of files, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(group.get(i).copied().unwrap_or(0)));
        let bits = (a << 16) | (b << 8) | c;
        for digit in 0..=group.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

/// The cache.
#[derive(Debug)]
pub(super) struct Artefacts {
    root: PathBuf,
    /// Whether it goes with this value.
    is_temporary: bool,
}

/// A folder for one compilation, removed with all that is in it.
#[derive(Debug)]
pub(super) struct Staging(PathBuf);

impl Staging {
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left over is removed by the next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Artefacts {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

impl Artefacts {
    /// Opens a folder, which is made if it is missing; without one, a new one for the moment.
    pub(super) fn open(folder: Option<&Path>) -> io::Result<Self> {
        let (root, is_temporary) = match folder {
            Some(folder) => (ours(folder)?, false),
            None => (fresh(&std::env::temp_dir(), "tidegate-gates-")?, true),
        };
        let artefacts = Self { root, is_temporary };
        for folder in [MODULES, DIGESTS] {
            make(&artefacts.root.join(folder), true)?;
        }
        artefacts.clear_leftovers()?;
        Ok(artefacts)
    }

    /// The folder, which wasmtime's cache must be given.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is an entry that is what it was when it was made; another one is removed.
    pub(super) fn has(&self, key: &str) -> bool {
        let Some(entry) = self.entry(key) else { return false };
        let expected = fs::read_to_string(self.digest(key)).unwrap_or_default();
        let is_sound =
            digest_of(&entry).is_ok_and(|found| expected.trim().parse::<Sha256>() == Ok(found));
        if !is_sound {
            tracing::warn!(entry = %entry.display(), "native code of a gate was damaged: it is made anew");
            self.forget(key);
        }
        is_sound
    }

    /// Removes an entry.
    pub(super) fn forget(&self, key: &str) {
        let entry = self.entry(key);
        let statistics = entry.as_ref().map(|entry| entry.with_extension(STATISTICS));
        for path in entry.into_iter().chain(statistics).chain([self.digest(key)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "not removed from the cache of gates");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// A folder for a compilation.
    pub(super) fn stage(&self) -> io::Result<Staging> {
        let staging = Staging(fresh(&self.root, STAGING)?);
        make(&staging.0.join(CACHE), false)?;
        Ok(staging)
    }

    /// Takes in what a compilation left, under this name.
    pub(super) fn keep(&self, key: &str, staging: &Staging) -> io::Result<()> {
        let made = entries(&staging.0.join(CACHE))?;
        let [made] = &made[..] else {
            let text = format!("the compiler left {} entries instead of one", made.len());
            return Err(io::Error::other(text));
        };
        let build = made.path.parent().and_then(Path::file_name).unwrap_or_default();
        let folder = self.root.join(MODULES).join(build);
        make(&folder, true)?;
        fs::set_permissions(&made.path, fs::Permissions::from_mode(0o600))?;
        let digest = staging.0.join("digest");
        fs::write(&digest, digest_of(&made.path)?.to_string())?;
        // The digest comes first: an entry without one is not looked at.
        fs::rename(digest, self.digest(key))?;
        fs::rename(&made.path, folder.join(key))?;
        self.make_room(key)
    }

    /// Removes what was not used for longest until the rest is within the bound.
    fn make_room(&self, newest: &str) -> io::Result<()> {
        let mut entries = entries(&self.root)?;
        entries.sort_by_key(|entry| entry.used);
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if bytes <= MOST_BYTES {
                break;
            }
            let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name != newest {
                bytes -= entry.bytes;
                self.forget(name);
            }
        }
        Ok(())
    }

    /// Removes the folders of compilations that nobody is at any more.
    fn clear_leftovers(&self) -> io::Result<()> {
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?;
            let name = folder.file_name();
            let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(STAGING)) else {
                continue;
            };
            let process = owner.split('-').next().and_then(|process| process.parse().ok());
            let is_another = process.and_then(Pid::from_raw).is_some_and(|process| {
                process != getpid() && test_kill_process(process) != Err(Errno::SRCH)
            });
            if !is_another {
                fs::remove_dir_all(folder.path())?;
            }
        }
        Ok(())
    }

    fn entry(&self, key: &str) -> Option<PathBuf> {
        let builds = fs::read_dir(self.root.join(MODULES)).ok()?;
        let mut paths = builds.filter_map(|build| Some(build.ok()?.path().join(key)));
        paths.find(|path| path.is_file())
    }

    fn digest(&self, key: &str) -> PathBuf {
        self.root.join(DIGESTS).join(key)
    }
}

/// The extension of a file of wasmtime's beside an entry, which it writes at each use.
const STATISTICS: &str = "stats";

/// Native code in a cache of wasmtime's.
struct Entry {
    path: PathBuf,
    bytes: u64,
    /// When it was used last, in seconds.
    used: i64,
}

/// Every entry of a cache. What has an extension is no entry.
fn entries(cache: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for build in fs::read_dir(cache.join(MODULES))? {
        for file in fs::read_dir(build?.path())? {
            let path = file?.path();
            let metadata = fs::metadata(&path)?;
            if metadata.is_file() && path.extension().is_none() {
                let used = fs::metadata(path.with_extension(STATISTICS));
                let used = used.map_or(metadata.mtime(), |used| used.mtime());
                entries.push(Entry { path, bytes: metadata.len(), used });
            }
        }
    }
    Ok(entries)
}

fn digest_of(path: &Path) -> io::Result<Sha256> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for native code"));
    }
    Ok(Sha256::of(&bytes))
}

/// A folder of a name that was not taken.
fn fresh(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    let parent = fs::canonicalize(parent)?;
    let process = getpid().as_raw_nonzero();
    loop {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{prefix}{process}-{number}"));
        match make(&folder, false) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a compilation would leave.
    fn staged(artefacts: &Artefacts, code: &[u8]) -> Staging {
        let staging = artefacts.stage().expect("a folder");
        let build = staging.folder().join(CACHE).join(MODULES).join("wasmtime-1");
        fs::create_dir_all(&build).expect("made");
        fs::write(build.join("another-name"), code).expect("written");
        fs::write(build.join("another-name.stats"), "").expect("written");
        staging
    }

    #[test]
    fn an_entry_counts_until_it_is_touched() {
        let folder = tempfile::tempdir().expect("a directory");
        let artefacts = Artefacts::open(Some(&folder.path().join("cache"))).expect("open");
        assert!(!artefacts.has("key"));
        let staging = staged(&artefacts, b"code");
        artefacts.keep("key", &staging).expect("kept");
        let place = staging.folder().to_owned();
        drop(staging);
        assert!(!place.exists());
        assert!(artefacts.has("key") && !artefacts.has("another-name"));
        let entry = artefacts.entry("key").expect("there");
        assert_eq!(fs::metadata(&entry).expect("there").mode() & 0o777, 0o600);
        fs::write(&entry, b"evil").expect("written");
        assert!(!artefacts.has("key"));
        assert!(!entry.exists() && !artefacts.digest("key").exists());
    }

    #[test]
    fn a_compiler_that_left_nothing_is_found_out() {
        let artefacts = Artefacts::open(None).expect("open");
        let staging = artefacts.stage().expect("a folder");
        fs::create_dir(staging.folder().join(CACHE).join(MODULES)).expect("made");
        let error = artefacts.keep("key", &staging).expect_err("nothing there").to_string();
        assert!(error.contains("0 entries"), "{error}");
    }

    #[test]
    fn leftovers_of_the_dead_are_cleared_and_a_folder_for_the_moment_goes() {
        let folder = tempfile::tempdir().expect("a directory");
        // The first process is there for as long as the system is.
        let (dead, alive) = ("compiling-2147483647-0", "compiling-1-0");
        for name in [dead, alive] {
            fs::create_dir(folder.path().join(name)).expect("made");
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("own folder");
        Artefacts::open(Some(folder.path())).expect("open");
        assert!(!folder.path().join(dead).exists() && folder.path().join(alive).exists());
        let for_now = Artefacts::open(None).expect("open");
        let root = for_now.root().to_owned();
        assert!(root.is_dir());
        drop(for_now);
        assert!(!root.exists());
    }

    #[test]
    fn base64_is_the_one_for_names_of_files() {
        for (text, expected) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "-_8");
    }
}
