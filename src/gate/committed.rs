//! The components under `plugins/dist` are the ones that their sources say, and those of released
//! versions of the contract are the ones of then.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::core::model::Sha256;

const REBUILD: &str = "run plugins/build.sh and commit plugins/dist";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A list below `plugins/dist`.
fn list(name: &str) -> BTreeMap<PathBuf, Sha256> {
    list_at(&Path::new("plugins/dist").join(name))
}

/// A list as `sha256sum` writes it: digest, two spaces, path from the root of the repository.
fn list_at(path: &Path) -> BTreeMap<PathBuf, Sha256> {
    let text = fs::read_to_string(root().join(path)).expect("committed");
    text.lines()
        .map(|line| {
            let (digest, path) = line.split_once("  ").expect("digest and path");
            (path.into(), digest.parse().expect("a digest"))
        })
        .collect()
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).expect("a folder") {
        let entry = entry.expect("readable");
        let path = folder.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The digests of the components in a folder.
fn components_below(folder: &str) -> BTreeMap<PathBuf, Sha256> {
    let mut components = Vec::new();
    files_below(Path::new(folder), &mut components);
    components.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    digests(components)
}

fn digests(files: Vec<PathBuf>) -> BTreeMap<PathBuf, Sha256> {
    files
        .into_iter()
        .map(|path| {
            let digest = Sha256::of(&fs::read(root().join(&path)).expect("a file"));
            (path, digest)
        })
        .collect()
}

#[test]
fn every_component_has_the_digest_that_is_listed() {
    assert_eq!(list("SHA256SUMS"), components_below("plugins/dist"), "{REBUILD}");
}

/// A component that was built anew shows nothing about those that others have built.
#[test]
fn the_component_of_a_released_version_is_the_one_of_then() {
    let listed = list_at(Path::new("tests/gates/released/SHA256SUMS"));
    let why = "a new version gets a component of its own; those of old ones are never built again";
    assert_eq!(listed, components_below("tests/gates/released"), "{why}");
    assert!(listed.contains_key(Path::new("tests/gates/released/1.0.0.wasm")));
}

#[test]
fn no_component_is_older_than_its_source() {
    let mut sources = vec!["plugins/Cargo.toml".into(), "plugins/Cargo.lock".into()];
    files_below(Path::new("wit"), &mut sources);
    files_below(Path::new("plugins/kit"), &mut sources);
    for component in list("SHA256SUMS").keys() {
        let folder = Path::new("plugins").join(component.file_stem().expect("a name"));
        files_below(&folder, &mut sources);
    }
    // What people read and what a gate is tried with goes into no component.
    sources.retain(|path| !path.ends_with("README.md") && !path.ends_with("cases.yaml"));
    assert_eq!(list("SOURCES"), digests(sources), "{REBUILD}");
}
