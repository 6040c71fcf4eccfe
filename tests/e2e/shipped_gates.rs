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

/// They are some megabytes each and are not committed: `make test` and `make plugins` build them,
/// and want them to be there. They run on the host that `serve` has, in the same pool and within
/// the default limits, but for the deadline.
#[test]
fn gates_in_other_languages_keep_the_same_cases() {
    let components = components(&root().join("target/plugins"));
    if components.is_empty() && std::env::var_os("TIDEGATE_GATES").is_none() {
        return report("left out, gates in JavaScript and Python: `make plugins` builds them");
    }
    let names: Vec<_> = components.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(names, ["error-budget-js.wasm", "freeze-calendar-py.wasm"], "run make plugins");
    for component in &components {
        keeps_its_cases(component);
    }
}

/// A gate that is there in several languages has one file of cases, and all of them keep it.
#[test]
fn each_of_the_four_languages_has_a_gate_that_is_there_in_rust_as_well() {
    let dist = root().join("plugins/dist");
    for (language, source) in [("-c", "gate.c"), ("-js", "gate.js"), ("-py", "gate.py")] {
        let folders = fs::read_dir(root().join("plugins")).expect("the folder");
        let names = folders.filter_map(|folder| folder.ok()?.file_name().into_string().ok());
        let of: Vec<String> = names
            .filter(|name| root().join("plugins").join(name).join(source).is_file())
            .filter_map(|name| name.strip_suffix(language).map(str::to_owned))
            .collect();
        assert!(!of.is_empty(), "no gate in the language of {source}");
        for name in of {
            assert!(dist.join(format!("{name}.wasm")).is_file(), "{name} is not there in Rust");
            assert!(root().join("plugins").join(&name).join("cases.yaml").is_file(), "{name}");
        }
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
