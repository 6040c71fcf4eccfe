//! `scripts/simulate.sh`: what the simulation may cost is a limit, not a remark.

use std::process::Command;

use crate::kit::{Programs, Ran, run};

/// A simulation that takes some CPU, and ends with a code.
fn simulated(code: u8, limit_seconds: Option<&str>) -> Ran {
    let cargo = format!(
        "case \"$*\" in *--no-run) exit 0 ;; esac\n\
         echo \"runs: $TIDEGATE_SIM_RUNS\"\n\
         i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done\n\
         exit {code}"
    );
    let programs = Programs::new(&[("cargo", &cargo)]);
    let others = std::env::var("PATH").expect("a search path");
    let mut command = Command::new("bash");
    command
        .arg("scripts/simulate.sh")
        .env("PATH", format!("{}:{others}", programs.path()))
        .env("TIDEGATE_SIM_RUNS", "100000")
        .env_remove("TIDEGATE_SIM_CPU_SECONDS");
    if let Some(seconds) = limit_seconds {
        command.env("TIDEGATE_SIM_CPU_SECONDS", seconds);
    }
    run(&mut command)
}

#[test]
fn a_simulation_within_the_limit_passes_and_says_what_it_cost() {
    let ran = simulated(0, None);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in ["runs: 100000\n", "CPU time: ", " s user, ", " s elapsed"] {
        assert!(ran.shown.contains(part), "{part:?} is not in {ran:?}");
    }
}

#[test]
fn a_simulation_that_costs_more_than_the_limit_fails() {
    let ran = simulated(0, Some("0"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.said.contains("took more than 0 s of CPU"), "{ran:?}");
}

#[test]
fn a_simulation_that_fails_is_a_failure() {
    assert_eq!(simulated(101, None).code, Some(101));
}
