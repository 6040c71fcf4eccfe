//! Every gate that ships keeps its cases, whatever language it is written in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kit::report;

#[test]
fn every_committed_gate_keeps_its_cases() {
    let components = components(&root().join("plugins/dist"));
    let tried: BTreeSet<_> = components.iter().map(|component| cases_of(component)).collect();
    assert_eq!(tried, all_cases(), "each has a component, and each component has cases");
    for component in &components {
        keeps_its_cases(component);
    }
}

/// They are some megabytes each and are not committed: `make plugins` builds them, and where it did
/// not run there is none to try. They run on the host that `serve` has, in the same pool and within
/// the default limits, but for the deadline.
#[test]
fn gates_in_other_languages_keep_the_same_cases() {
    let components = components(&root().join("target/plugins"));
    if components.is_empty() {
        return report("left out, gates in JavaScript and Python: `make plugins` builds them");
    }
    let names: Vec<_> = components.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(names, ["error-budget-js.wasm", "freeze-calendar-py.wasm"], "run make plugins");
    for component in &components {
        keeps_its_cases(component);
    }
}

fn keeps_its_cases(component: &Path) {
    let cache = tempfile::tempdir().expect("a folder");
    let tried = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["gate", "test"])
        .arg(component)
        .arg("--cases")
        .arg(cases_of(component))
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .expect("run");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&tried.stdout),
        String::from_utf8_lossy(&tried.stderr)
    );
    assert!(tried.status.success(), "{}:\n{said}", component.display());
}

/// The components in a folder; none if it is not there.
fn components(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    found.sort();
    found
}

/// The cases of a component. A gate in another language has those of the one in Rust.
fn cases_of(component: &Path) -> PathBuf {
    let name = component.file_stem().and_then(|name| name.to_str()).expect("a name");
    let of = LANGUAGES.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    root().join("plugins").join(of).join("cases.yaml")
}

fn all_cases() -> BTreeSet<PathBuf> {
    let folders = fs::read_dir(root().join("plugins")).expect("the folder");
    let cases = folders.map(|folder| folder.expect("readable").path().join("cases.yaml"));
    cases.filter(|cases| cases.is_file()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const LANGUAGES: [&str; 3] = ["-c", "-js", "-py"];
