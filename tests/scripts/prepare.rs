//! `scripts/prepare.sh`: what is missing is installed by root on Debian, and named elsewhere.

use std::process::Command;

use crate::kit::{Programs, Ran, run};

const CARGO: (&str, &str) = ("cargo", "");
const MAKE: (&str, &str) = ("make", "");
const CMAKE: (&str, &str) = ("cmake", "");
const COMPILER: (&str, &str) = ("cc", "");
/// A compiler without the C library's headers.
const BARE_COMPILER: (&str, &str) = ("cc", "exit 1");
const ROOT: (&str, &str) = ("id", "echo 0");
const SOMEBODY: (&str, &str) = ("id", "echo 1000");
const APT: (&str, &str) =
    ("apt-get", "echo \"$DEBIAN_FRONTEND$SYSTEMD_OFFLINE $*\" >>\"$PATH/calls\"");
const BROKEN_APT: (&str, &str) = ("apt-get", "exit 100");

/// Prepares a machine that has just these programs; gives the calls of `apt-get` as well.
fn prepared(programs: &[(&str, &str)]) -> (Ran, Vec<String>) {
    prepared_for(&[], programs)
}

/// The same with arguments.
fn prepared_for(arguments: &[&str], programs: &[(&str, &str)]) -> (Ran, Vec<String>) {
    let programs = Programs::new(programs);
    let mut command = Command::new("/bin/sh");
    command.arg("scripts/prepare.sh").args(arguments);
    command
        .env("PATH", programs.path())
        .env_remove("DEBIAN_FRONTEND")
        .env_remove("SYSTEMD_OFFLINE");
    let ran = run(&mut command);
    (ran, programs.calls())
}

#[test]
fn where_nothing_is_missing_nothing_is_done_or_said() {
    let (ran, calls) = prepared(&[CARGO, MAKE, CMAKE, COMPILER, ROOT, APT]);
    assert_eq!((ran.code, ran.shown.as_str(), ran.said.as_str()), (Some(0), "", ""));
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn without_rust_it_says_where_to_get_it() {
    let (ran, calls) = prepared(&[MAKE, CMAKE, COMPILER, ROOT, APT]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.said.contains("cargo is missing: install Rust"), "{ran:?}");
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn root_gets_what_is_missing_and_is_told_so() {
    let check = |programs: &[(&str, &str)], missing: &str| {
        let (ran, calls) = prepared(&[programs, &[CARGO, ROOT, APT]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.shown.contains(&format!("installing: {missing}\n")), "{ran:?}");
        let install = format!("noninteractive1 install -y --no-install-recommends {missing}");
        assert_eq!(calls, [" update".to_owned(), install]);
    };
    check(&[MAKE, COMPILER], "cmake");
    check(&[CMAKE, COMPILER], "make");
    check(&[CMAKE, MAKE], "gcc libc6-dev");
    check(&[CMAKE, MAKE, BARE_COMPILER], "gcc libc6-dev");
    check(&[], "cmake make gcc libc6-dev");
}

#[test]
fn who_may_not_install_is_told_what_to_install_and_how() {
    let (ran, calls) = prepared(&[CARGO, MAKE, COMPILER, SOMEBODY, APT]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in ["missing: cmake\n", "apt-get install --no-install-recommends cmake\n"] {
        assert!(ran.said.contains(part), "{part:?} is not in {ran:?}");
    }
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn without_apt_get_the_packages_are_named() {
    let (ran, _) = prepared(&[CARGO, MAKE, COMPILER, ROOT]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.said.contains("missing: cmake (the names of Debian's packages)"), "{ran:?}");
}

#[test]
fn an_installation_that_fails_is_a_failure() {
    let (ran, _) = prepared(&[CARGO, MAKE, COMPILER, ROOT, BROKEN_APT]);
    assert_eq!(ran.code, Some(100), "{ran:?}");
}

#[test]
fn the_tests_need_servers_for_metrics_and_alerts_and_nothing_that_is_there_is_installed() {
    const BUILD: [(&str, &str); 4] = [CARGO, MAKE, CMAKE, COMPILER];
    const TESTS: [(&str, &str); 5] =
        [("curl", ""), ("h2load", ""), ("npm", ""), ("openssl", ""), ("python3", "")];
    const SERVERS: [(&str, &str); 2] = [("prometheus", ""), ("prometheus-alertmanager", "")];
    // Without apt-get they are named, and nothing is made.
    let check = |programs: &[(&str, &str)], missing: &str| {
        let (ran, _) = prepared_for(&["test"], &[&BUILD[..], programs].concat());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.said.contains(&format!("missing: {missing} (the names")), "{ran:?}");
    };
    check(&TESTS, "prometheus prometheus-alertmanager");
    check(&[&TESTS[..], &SERVERS[..1]].concat(), "prometheus-alertmanager");
    check(&[&TESTS[1..], &SERVERS[..]].concat(), "curl");
    let (ran, calls) = prepared(&BUILD);
    assert_eq!((ran.code, calls.len()), (Some(0), 0), "a build needs none of them: {ran:?}");
}
