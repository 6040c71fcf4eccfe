//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub(crate) struct SourceFile {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
    /// Whether its parent declares it for tests alone.
    pub(crate) test_only: bool,
}

impl SourceFile {
    /// A file that is not on the disk.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), test_only: false }
    }

    /// What users run: nothing of a file for tests, else all before the tests at its foot.
    pub(crate) fn production(&self) -> &str {
        if self.test_only { "" } else { before_tests(&self.text) }
    }

    /// The path of its module: `core::model::weight` for `src/core/model/weight.rs`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if path == "lib" { Vec::new() } else { path.split('/').collect() }
    }
}

/// Every Rust file in a folder of the repository, in order.
pub(crate) fn rust_files(folder: &str) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    let rust = paths.into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| SourceFile { text: read(&path), test_only: is_test_only(&path), path })
        .collect()
}

/// Every text file of the repository with its path.
pub(crate) fn text_files() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    let text = |path: String| {
        let bytes = fs::read(root().join(&path)).expect("a listed file can be read");
        String::from_utf8(bytes).ok().map(|text| (path, text))
    };
    paths.into_iter().filter_map(text).collect()
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Lists the files below a folder, leaving out what is built and what git keeps for itself.
fn walk(folder: &Path, paths: &mut Vec<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut entries: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let left_out =
            LEFT_OUT.contains(&&*name) || LEFT_OUT_ENDS.iter().any(|e| name.ends_with(e));
        if left_out || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, paths);
        } else {
            let path = path.strip_prefix(root()).expect("it is below the root");
            paths.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// Whether a `mod.rs` declares the file, or a folder above it, under `#[cfg(test)]`.
fn is_test_only(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    let parent = fs::read_to_string(root().join(folder).join("mod.rs"));
    parent.is_ok_and(|text| declares_for_tests(&text, file.trim_end_matches(".rs")))
        || is_test_only(&format!("{folder}.rs"))
}

fn declares_for_tests(parent: &str, module: &str) -> bool {
    let declared = |visibility: &str| format!("#[cfg(test)]\n{visibility}mod {module};");
    ["", "pub(crate) "].iter().any(|visibility| parent.contains(&declared(visibility)))
}

/// The text before the first module of tests that stands in the file itself.
fn before_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find(TEST_ATTRIBUTE).map(|at| from + at) {
        let line = text[at + TEST_ATTRIBUTE.len()..].lines().next().unwrap_or_default();
        if line.contains("mod ") && line.ends_with('{') {
            return &text[..at];
        }
        from = at + TEST_ATTRIBUTE.len();
    }
    text
}

const TEST_ATTRIBUTE: &str = "#[cfg(test)]\n";
/// Built, private to a tool, or left by a run in the root.
const LEFT_OUT: [&str; 3] = ["target", ".git", "node_modules"];
const LEFT_OUT_ENDS: [&str; 5] = [".db", ".db-wal", ".db-shm", ".token", ".sock"];

#[test]
fn production_ends_where_the_tests_at_the_foot_begin() {
    let file = SourceFile::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\nfn b() {}\n}\n");
    assert_eq!(file.production(), "fn a() {}\n");
}

#[test]
fn a_test_module_in_another_file_ends_nothing() {
    let text = "#[cfg(test)]\nmod testkit;\nfn a() {}\n";
    assert_eq!(SourceFile::new("src/a/mod.rs", text).production(), text);
    assert!(declares_for_tests(text, "testkit"));
    assert!(!declares_for_tests(text, "kit"));
}

#[test]
fn a_file_knows_its_module() {
    let module = |path| SourceFile::new(path, "").module().join("::");
    assert_eq!(module("src/core/model/weight.rs"), "core::model::weight");
    assert_eq!(module("src/core/model/mod.rs"), "core::model");
    assert_eq!(module("src/clock.rs"), "clock");
    assert_eq!(module("src/lib.rs"), "");
}
