//! What `gate new` makes builds and keeps its cases, with the tools that `make plugins` has fetched.
//! JavaScript is the language of the guide, whose commands are tried as they stand there.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::kit::report;

#[test]
fn a_new_gate_in_rust_builds_and_keeps_its_cases() {
    builds_and_keeps_its_cases("rust", "plugins/target/tools/bin");
}

#[test]
fn a_new_gate_in_python_builds_and_keeps_its_cases() {
    builds_and_keeps_its_cases("python", "plugins/target/python/venv/bin");
}

#[test]
fn a_new_gate_in_c_builds_and_keeps_its_cases() {
    builds_and_keeps_its_cases("c", "plugins/target/tools/bin");
}

/// A language needs its tools, which are in this folder where they are not installed.
fn builds_and_keeps_its_cases(language: &str, tools: &str) {
    if env::var_os("TIDEGATE_GATES").is_none_or(|which| which != "all") {
        return report(&format!("left out, a new gate in {language}: `make plugins` tries it"));
    }
    let desk = tempfile::tempdir().expect("a folder");
    let path = path_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join(tools));
    let run = |arguments: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .current_dir(desk.path())
            .env("PATH", &path)
            .env("XDG_CACHE_HOME", desk.path())
            .output()
            .expect("run");
        let (shown, said) =
            (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{arguments:?}:\n{shown}{said}");
    };
    run(&["gate", "new", "--lang", language, "own"]);
    run(&["gate", "build", "own"]);
    run(&["gate", "test", "own/own.wasm", "--cases", "own/cases.yaml"]);
}

/// Where programs are looked for, this folder first.
fn path_with(folder: &Path) -> OsString {
    let present = env::var_os("PATH").unwrap_or_default();
    let folders = [folder.to_owned()].into_iter().chain(env::split_paths(&present));
    env::join_paths(folders).expect("no colon in a name")
}
