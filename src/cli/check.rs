//! `check`: what a configuration file means, or everything that is wrong with it.

use std::path::Path;

use serde::Serialize;

use super::args::CheckArgs;
use super::failure::Failure;
use super::plan;
use super::screen::{Form, remark};
use super::table::table;
use super::{Entry, Exit, style};
use crate::admin::json::Step;
use crate::app::TriedAddresses;
use crate::config::{Config, ConfigErrors};
use crate::core::model::{ServiceSpec, Strategy, StrategyName};

/// What a good file declares.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    listeners: Vec<String>,
    services: Vec<String>,
    strategies: Vec<String>,
}

/// A mistake for programs.
#[derive(Debug, Serialize)]
struct Wrong<'a> {
    file: String,
    line: Option<usize>,
    at: &'a str,
    message: &'a str,
    fix: Option<&'a str>,
}

/// Checks a file, and with the entry points what only the gate host, DNS and the machine can tell.
pub(super) fn check(args: &CheckArgs, entry: &Entry, form: Form) -> Result<Exit, Failure> {
    let file = args.file.as_path();
    match Config::load(file) {
        Ok(config) => {
            let tried = match args.no_bind {
                true => TriedAddresses::default(),
                false => (entry.addresses)(&config),
            };
            let checked = (entry.check)(&config)
                .map_err(|why| Failure::Usage(format!("{}: {why}", file.display()), None));
            if let Some(errors) = ConfigErrors::found_later(file, tried.mistakes) {
                tell(file, &errors, form);
                return checked.and(Ok(Exit::Usage));
            }
            checked?;
            for held in &tried.held {
                remark(&format!("{}: {held}", file.display()));
            }
            let checked = Checked {
                file: file.display().to_string(),
                listeners: config.listeners.iter().map(|l| l.name.to_string()).collect(),
                services: config.services.keys().map(ToString::to_string).collect(),
                strategies: used(&config).iter().map(|s| s.name().to_string()).collect(),
            };
            form.show(&checked, |_| render(file, &config));
            Ok(Exit::Succeeded)
        }
        Err(errors) => {
            tell(file, &errors, form);
            Ok(Exit::Usage)
        }
    }
}

fn tell(file: &Path, errors: &ConfigErrors, form: Form) {
    match form {
        Form::Text => remark(&mistakes(errors)),
        Form::Json => show_each(file, errors, form),
    }
}

fn mistakes(errors: &ConfigErrors) -> String {
    let count = errors.mistakes().len() + errors.unlisted();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    let bad = style::BAD;
    format!("{errors}\n{bad}error:{bad:#} {count} {noun}; nothing was started or changed")
}

fn show_each(file: &Path, errors: &ConfigErrors, form: Form) {
    let wrong: Vec<_> = errors
        .mistakes()
        .iter()
        .map(|mistake| Wrong {
            file: file.display().to_string(),
            line: mistake.line,
            at: &mistake.at,
            message: &mistake.message,
            fix: mistake.fix.as_deref(),
        })
        .collect();
    form.show_all(&wrong, |_| String::new());
}

fn render(file: &Path, config: &Config) -> String {
    let good = style::GOOD;
    let mut shown = format!("{good}ok:{good:#} {}\n\n", file.display());
    let mut rules = Vec::new();
    for listener in &config.listeners {
        for rule in &listener.rules {
            let kind = if listener.test.is_some() { "test" } else { "" };
            rules.push([
                listener.name.to_string(),
                listener.address.to_string(),
                kind.to_owned(),
                rule.to_string(),
            ]);
        }
    }
    shown.push_str(&table(["LISTENER", "ADDRESS", "", "RULE"], &rules));
    let services: Vec<_> = config.services.values().map(|spec| service(config, spec)).collect();
    shown.push_str("\n\n");
    let header = ["SERVICE", "TARGET GROUPS", "STRATEGY", "ALARMS", "GATES", "HEALTH CHECK"];
    shown.push_str(&table(header, &services));
    for strategy in used(config) {
        let steps: Vec<Step> = strategy.steps().iter().map(Step::from).collect();
        let bake = strategy.final_bake().map(Into::into);
        let table = plan::steps(&steps, bake.as_ref());
        shown.push_str(&format!("\n\nstrategy {}\n{table}", strategy.name()));
    }
    shown
}

fn service(config: &Config, spec: &ServiceSpec) -> [String; 6] {
    let groups = spec.target_groups.iter().map(|name| {
        let targets = config.target_groups.get(name).map_or(0, |group| group.targets().len());
        format!("{name} ({targets})")
    });
    let join =
        |names: Vec<String>| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    [
        spec.name.to_string(),
        join(groups.collect()),
        spec.strategy.to_string(),
        join(spec.alarms.iter().map(ToString::to_string).collect()),
        join(spec.gates.iter().map(|gate| gate.gate.to_string()).collect()),
        spec.health_check
            .as_ref()
            .map_or("-".to_owned(), |check| format!("every {}", check.interval)),
    ]
}

/// The strategies that the file declares or its services use, each once.
fn used(config: &Config) -> Vec<Strategy> {
    let mut names: Vec<&StrategyName> = config.strategies.keys().collect();
    names.extend(config.services.values().map(|service| &service.strategy));
    names.sort();
    names.dedup();
    names.into_iter().filter_map(|name| config.strategy(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::UpgradeError;
    use crate::config::Mistake;
    use anstream::adapter::strip_str;

    #[test]
    fn a_good_file_is_shown_with_its_strategies_step_by_step() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/canary.yaml");
        let config = Config::load(&file).expect("good");
        let shown = strip_str(&render(Path::new("canary.yaml"), &config)).to_string();
        for part in [
            "ok: canary.yaml\n",
            "public       127.0.0.1:8080        */* -> shop\n",
            "public-test  127.0.0.1:8081  test  */* -> shop\n",
            "shop     shop-a (1), shop-b (0)  careful   shop-errors  -      every 2s\n",
            "strategy careful\n\
             STEP   GREEN  BAKE  ASKS FOR\n\
             1      10%    30s\n\
             2      50%    30s\n\
             3      100%   -\n\
             final         30s",
        ] {
            assert!(shown.contains(part), "{part:?} not in\n{shown}");
        }
        assert_eq!(check(&of(&file), &entry(), Form::Json).expect("checked"), Exit::Succeeded);
    }

    /// The arguments for a file, and no more.
    fn of(file: &Path) -> CheckArgs {
        CheckArgs { file: file.to_owned(), no_bind: false }
    }

    /// Entry points that find nothing.
    fn entry() -> Entry {
        Entry {
            serve: |_| panic!("nothing is served"),
            demo: |_| panic!("nothing is shown"),
            check: |_| Ok(()),
            verify: |_| Err("no ledger".to_owned()),
            upgrade: |_, _| Err(UpgradeError::InMemory),
            addresses: |_| TriedAddresses::default(),
            compile_gate: |_, _| panic!("nothing is compiled"),
        }
    }

    #[test]
    fn an_address_that_is_in_use_is_a_mistake_unless_tidegate_holds_it_or_none_is_tried() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/canary.yaml");
        let in_use = Entry {
            addresses: |_| TriedAddresses {
                mistakes: vec![Mistake {
                    at: "listeners[0].address".to_owned(),
                    line: None,
                    message: "127.0.0.1:8080 is in use".to_owned(),
                    fix: None,
                }],
                held: Vec::new(),
            },
            ..entry()
        };
        let held = Entry {
            addresses: |_| TriedAddresses {
                mistakes: Vec::new(),
                held: vec!["listeners[0].address: 127.0.0.1:8080 is in use".to_owned()],
            },
            ..entry()
        };
        for form in [Form::Text, Form::Json] {
            assert_eq!(check(&of(&file), &in_use, form).expect("checked"), Exit::Usage);
            assert_eq!(check(&of(&file), &held, form).expect("checked"), Exit::Succeeded);
            let untried = CheckArgs { no_bind: true, ..of(&file) };
            assert_eq!(check(&untried, &in_use, form).expect("checked"), Exit::Succeeded);
        }
    }

    #[test]
    fn every_mistake_is_told_with_file_and_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("t.yaml");
        std::fs::write(&file, "listeners: 7\nservies: {}\n").expect("written");
        let errors = Config::load(&file).expect_err("mistakes");
        let shown = strip_str(&mistakes(&errors)).to_string();
        assert!(shown.contains("t.yaml:1: listeners: "), "{shown}");
        assert!(shown.contains("t.yaml:2: servies: unknown key"), "{shown}");
        assert!(shown.ends_with("error: 2 mistakes; nothing was started or changed"), "{shown}");
        assert_eq!(check(&of(&file), &entry(), Form::Text).expect("checked"), Exit::Usage);
    }
}
