//! `scripts/test.sh`: every test runs once, and the faults have a bound.

use std::fs;
use std::process::Command;

use crate::kit::{Programs, Ran, run};

/// Runs the tests with a `cargo` that does this when it comes to the faults; gives its calls as well.
fn tested(faults: &str, limit: &str) -> (Ran, Vec<String>) {
    let cargo = format!(
        "echo \"$*\" >>\"${{0%/*}}/calls\"\n\
         case \"$*\" in *'--test faults'*) {faults} ;; esac"
    );
    let programs = Programs::new(&[("cargo", &cargo)]);
    let others = std::env::var("PATH").expect("a search path");
    let mut command = Command::new("bash");
    command
        .arg("scripts/test.sh")
        .env("PATH", format!("{}:{others}", programs.path()))
        .env("TIDEGATE_FAULTS_LIMIT", limit);
    let ran = run(&mut command);
    (ran, programs.calls())
}

#[test]
fn every_test_runs_once() {
    let (ran, calls) = tested("exit 0", "1m");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.shown.contains(" s of at most 1m\n"), "{ran:?}");
    let runs: Vec<&String> = calls.iter().filter(|call| !call.contains("--no-run")).collect();
    assert_eq!(calls.len(), runs.len() + 1, "all is built at once: {calls:?}");
    let words = || runs.iter().flat_map(|call| call.split(' '));
    let times = |word: &str| words().filter(|found| *found == word).count();
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for folder in fs::read_dir(tests).expect("a folder") {
        let path = folder.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let expected = usize::from(path.join("main.rs").exists());
        assert_eq!(times(&name), expected, "{name}: {calls:?}");
    }
    for kind in ["--lib", "--bins", "--examples", "--doc"] {
        assert_eq!(times(kind), 1, "{kind}: {calls:?}");
    }
}

#[test]
fn faults_that_take_longer_than_they_may_are_a_failure() {
    let (ran, _) = tested("exec sleep 60", "1s");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.said.contains("their reduced form may take 1s"), "{ran:?}");
}

#[test]
fn faults_that_fail_are_a_failure() {
    assert_eq!(tested("exit 101", "1m").0.code, Some(101));
}
