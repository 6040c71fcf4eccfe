//! Simulations: the same seed gives the same bytes, mistakes are named, and nothing is contacted.

use std::process::Command;

use serde_json::{Value, json};

use crate::kit::Home;

/// What a command line wrote and how it ended.
#[derive(Debug, PartialEq)]
struct Ended {
    code: i32,
    shown: String,
    said: String,
}

/// A folder with the example and nothing else: no target of it runs.
fn home() -> Home {
    Home::with(include_str!("../../examples/canary.yaml"))
}

fn run(home: &Home, line: &str) -> Ended {
    let ended = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(line.split(' '))
        .current_dir(home.path())
        .output()
        .expect("it runs");
    Ended {
        code: ended.status.code().expect("no signal ended it"),
        shown: String::from_utf8_lossy(&ended.stdout).into_owned(),
        said: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

const SIMULATE: &str = "simulate --config tidegate.yaml --traffic 200rps";

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_others() {
    let home = home();
    for rest in ["--green-errors 5%", "--green-errors 5% --json", "--green-errors 5% --runs 8"] {
        let line = format!("{SIMULATE} {rest} --seed");
        let first = run(&home, &format!("{line} 3"));
        assert_eq!(first.code, 0, "{first:?}");
        assert_eq!(first, run(&home, &format!("{line} 3")));
        assert_ne!(first.shown, run(&home, &format!("{line} 40")).shown);
    }
    assert_eq!(home.files(), ["tidegate.yaml"], "a simulation leaves nothing behind");
}

#[test]
fn a_bad_green_is_shown_minute_by_minute_until_it_is_caught() {
    let ended = run(&home(), &format!("{SIMULATE} --green-errors 5%"));
    for part in [
        "service shop, strategy careful: 200rps, median latency 50ms, blue fails 0.1%, seed 1; ",
        "; green fails 5%\n",
        "not simulated, and taken to be fine: alarms, gates, health, approvals",
        "MINUTE  WEIGHT  GREEN",
        "\n1       10%",
        "\ncaught after ",
        " at 10%: ",
        " green requests bad, ",
        "the rollout is rolled_back after ",
        "\ngreen failed ",
    ] {
        assert!(ended.shown.contains(part), "{part:?} is not in\n{}", ended.shown);
    }
}

#[test]
fn many_runs_tell_how_many_are_caught_and_how_many_rolled_back_falsely() {
    let home = home();
    let found = |rest: &str| -> Value {
        let ended = run(&home, &format!("{SIMULATE} {rest} --runs 16 --json"));
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str(&ended.shown).expect("an object")
    };
    let bad = found("--green-errors 20% --starts-after 5s");
    assert_eq!((&bad["runs"], &bad["caught"]), (&json!(16), &json!(16)), "{bad}");
    let median = bad["caught_after_ms"]["median"].as_u64().expect("a number");
    assert!(median > 500 && median < 30_000, "{bad}");
    assert_eq!(bad["scenario"]["green_errors"], "20%", "{bad}");
    let good = found("--green-errors 0.1%");
    assert_eq!((&good["false_rollbacks"], &good["succeeded"]), (&json!(0), &json!(16)), "{good}");
}

#[test]
fn a_slower_green_is_caught_at_unchanged_errors() {
    let line = "simulate --config tidegate.yaml --traffic 1000rps --green-latency +100% --json";
    let ended = run(&home(), line);
    let found: Value = serde_json::from_str(&ended.shown).expect("an object");
    let reason = found["caught"]["reason"].as_str().expect("caught");
    assert!(reason.starts_with("lat_"), "{reason}");
}

#[test]
fn a_plan_says_what_can_be_detected_and_what_a_certificate_takes() {
    let home = home();
    let line = "plan --config tidegate.yaml --service shop --traffic 200rps --blue-errors 5%";
    let first = run(&home, line);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(first, run(&home, line));
    for part in [
        "WEIGHT  GREEN FAILS  CAUGHT AFTER",
        "\n10%     100%",
        "\n50%     20%",
        "at 10%: a certificate takes 914 green requests without an error, 46s; the step bakes for \
         30s, which is too short for that",
        "at 10%: a green that fails 100% or more is caught in the step's 30s",
        "at 100% nothing can be compared",
    ] {
        assert!(first.shown.contains(part), "{part:?} is not in\n{}", first.shown);
    }
}

#[test]
fn a_plan_tells_a_program_what_it_tells_people() {
    let line =
        "plan --config tidegate.yaml --service shop --traffic 200rps --blue-errors 5% --json";
    let ended = run(&home(), line);
    assert_eq!(ended.code, 0, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.shown).expect("one object");
    let first = &told["weights"][0];
    assert_eq!((&first["weight"], &first["bake_ms"]), (&json!("10%"), &json!(30_000)), "{told}");
    assert_eq!(first["caught_in_bake"], "100%", "{told}");
    assert_eq!(first["certified_in_bake"], false, "{told}");
    assert_eq!(first["certificate"]["green_requests"], 914, "{told}");
    assert_eq!((&told["weights_left_out"], &told["has_slo"]), (&json!(0), &json!(false)), "{told}");
    assert!(told.get("measured_ms").is_none(), "the traffic was named: {told}");
}

#[test]
fn mistakes_are_named_and_nothing_is_simulated() {
    let home = home();
    let check = |line: &str, expected: &[&str]| {
        let ended = run(&home, line);
        assert_eq!((ended.code, ended.shown.as_str()), (2, ""), "{line}: {ended:?}");
        for part in expected {
            assert!(ended.said.contains(part), "{line}: {part:?} is not in {}", ended.said);
        }
    };
    check("simulate --config tidegate.yaml", &["--traffic <RPS>"]);
    check("simulate --config tidegate.yaml --traffic 200", &["\"200\" is not traffic"]);
    check("simulate --config no.yaml --traffic 1rps", &["no.yaml", "cannot be read"]);
    check(
        &format!("{SIMULATE} --service shoe"),
        &["there is no service shoe in tidegate.yaml", "fix: --service, one of shop"],
    );
    check(
        &format!("{SIMULATE} --strategy bold"),
        &["there is no strategy bold", "the file declares approved, careful"],
    );
    check(&format!("{SIMULATE} --latency 0s"), &["a latency of 0s is not between 1ms and 60s"]);
    check(&format!("{SIMULATE} --users 10"), &["service shop is not sticky"]);
    check(&format!("{SIMULATE} --green-errors 101%"), &["\"101%\" is above 100%"]);
    check(
        "simulate --config tidegate.yaml --traffic 100000rps --runs 100000",
        &["100000 runs of 9000000 requests each are more than 2000000000 requests in all", "fix: "],
    );
    check("plan --config tidegate.yaml --token-file no-such-file", &["no-such-file"]);
}
