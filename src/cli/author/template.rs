//! Templates: files with places for names, and parts that are there for some worlds only.
//!
//! `{{name}}` stands for a name. A line `{{if clock}}` begins a part that ends with `{{end}}`.

use super::project::{Language, Project};

/// The files of a new gate: each path with its text.
pub(super) fn files(project: &Project) -> Vec<(&'static str, String)> {
    let own: &[(&'static str, &str)] = match project.language {
        Language::Rust => &RUST,
        Language::Js => &JS,
        Language::Python => &PYTHON,
        Language::C => &C,
    };
    let filled = own.iter().chain(&COMMON).map(|(path, text)| (*path, fill(text, project)));
    let mut files: Vec<_> = filled.collect();
    files.push(("wit/gate.wit", WIT.to_owned()));
    files.push((super::project::FILE, project.to_text()));
    files
}

fn fill(template: &str, project: &Project) -> String {
    let mut text = String::with_capacity(template.len());
    // Whether each part that has begun and not ended is wanted.
    let mut parts: Vec<bool> = Vec::new();
    for line in template.lines() {
        let order = line.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        match order.map(|order| order.strip_prefix("if ").unwrap_or(order)) {
            Some("end") => {
                parts.pop();
            }
            Some(part) if order.is_some_and(|order| order.starts_with("if ")) => {
                parts.push(is_wanted(part, project));
            }
            Some(_) | None if parts.iter().all(|wanted| *wanted) => {
                text.push_str(&names(line, project));
                text.push('\n');
            }
            Some(_) | None => {}
        }
    }
    text
}

fn is_wanted(part: &str, project: &Project) -> bool {
    let world = project.world;
    match part {
        "clock" => world.has_clock(),
        "http" => world.has_http(),
        "random" => world.has_random(),
        "grants" => world.has_clock() || world.has_http(),
        // The tests fill every template.
        other => panic!("{other:?} is no part of a template"),
    }
}

fn names(line: &str, project: &Project) -> String {
    let limits = project.language.limits().map(|limits| format!(", {limits}"));
    line.replace("{{name}}", project.name.as_str())
        .replace("{{world}}", project.world.as_str())
        .replace("{{limits}}", limits.as_deref().unwrap_or_default())
        .replace("{{needs}}", needs(project.language))
}

/// What a build needs, for the README.
fn needs(language: Language) -> &'static str {
    match language {
        Language::Rust => {
            "Rust with the target `wasm32-unknown-unknown`, which the build adds with rustup; on \
             Debian, `rustc-web`, `cargo-web`, `rust-web-src` and `lld-19` do as well"
        }
        Language::Js => "Node.js with npm, which fetches the compiler the first time",
        Language::Python => {
            "componentize-py, in this folder: `python3 -m venv .venv && .venv/bin/pip install \
             componentize-py==0.25.1`"
        }
        Language::C => {
            "Debian's `clang-19`, `lld-19`, `wasi-libc` and `libclang-rt-19-dev-wasm32`, and \
             wit-bindgen: `cargo install wit-bindgen-cli --version 0.61.1 --locked \
             --no-default-features --features c`"
        }
    }
}

/// The contract, as this host has it.
const WIT: &str = include_str!("../../../wit/gate.wit");

const COMMON: [(&str, &str); 3] = [
    ("README.md", include_str!("templates/README.md.in")),
    ("cases.yaml", include_str!("templates/cases.yaml.in")),
    ("tidegate.yaml", include_str!("templates/tidegate.yaml.in")),
];
const RUST: [(&str, &str); 4] = [
    (".gitignore", include_str!("templates/rust/gitignore.in")),
    ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
    ("params.schema.json", include_str!("templates/rust/params.schema.json.in")),
    ("src/lib.rs", include_str!("templates/rust/lib.rs.in")),
];
const JS: [(&str, &str); 4] = [
    (".gitignore", include_str!("templates/js/gitignore.in")),
    ("package.json", include_str!("templates/js/package.json.in")),
    ("params.schema.js", include_str!("templates/js/params.schema.js.in")),
    ("gate.js", include_str!("templates/js/gate.js.in")),
];
const PYTHON: [(&str, &str); 3] = [
    (".gitignore", include_str!("templates/python/gitignore.in")),
    ("params_schema.py", include_str!("templates/python/params_schema.py.in")),
    ("app.py", include_str!("templates/python/app.py.in")),
];
const C: [(&str, &str); 3] = [
    (".gitignore", include_str!("templates/c/gitignore.in")),
    ("params_schema.h", include_str!("templates/c/params_schema.h.in")),
    ("gate.c", include_str!("templates/c/gate.c.in")),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum as _;

    use super::*;
    use crate::cli::author::project::World;
    use crate::config::{Config, GateCases};

    fn projects() -> impl Iterator<Item = Project> {
        let worlds = [World::Plain, World::Clock, World::Http, World::All];
        let all = Language::value_variants().iter().flat_map(move |language| {
            worlds.map(|world| Project {
                name: "budget".parse().expect("a name"),
                language: *language,
                world,
            })
        });
        all.collect::<Vec<_>>().into_iter()
    }

    fn text(project: &Project, path: &str) -> String {
        let found = files(project).into_iter().find(|(found, _)| *found == path);
        found.unwrap_or_else(|| panic!("{path} is not there: {project:?}")).1
    }

    #[test]
    fn every_template_is_filled_in() {
        for project in projects() {
            for (path, text) in files(&project) {
                assert!(!text.contains("{{"), "{path}: {text}");
                assert!(text.ends_with('\n'), "{path}");
            }
        }
    }

    #[test]
    fn every_new_gate_has_the_contract_of_this_host() {
        let contract =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/gate.wit"));
        let contract = contract.expect("the contract");
        for project in projects() {
            assert_eq!(text(&project, "wit/gate.wit"), contract);
        }
    }

    #[test]
    fn the_cases_of_every_new_gate_are_without_mistakes_and_grant_what_its_world_has() {
        for project in projects() {
            let cases = GateCases::parse(&text(&project, "cases.yaml"));
            let cases = cases.unwrap_or_else(|errors| panic!("{project:?}: {errors}"));
            assert!(cases.cases.len() >= 5, "{project:?}");
            assert_eq!(cases.grants.clock, project.world.has_clock());
            assert_eq!(cases.grants.random, project.world.has_random());
            assert_eq!(!cases.grants.http.is_empty(), project.world.has_http());
        }
    }

    #[test]
    fn the_configuration_of_every_new_gate_is_without_mistakes() {
        for project in projects() {
            let config = Config::parse(&text(&project, "tidegate.yaml"), Path::new(""));
            let config = config.unwrap_or_else(|errors| panic!("{project:?}: {errors}"));
            assert_eq!(config.services.values().next().expect("a service").gates.len(), 1);
        }
    }

    #[test]
    fn every_source_is_about_the_world_that_it_is_built_for() {
        for project in projects() {
            let source = match project.language {
                Language::Rust => text(&project, "src/lib.rs"),
                Language::Js => text(&project, "gate.js"),
                Language::Python => text(&project, "app.py"),
                Language::C => text(&project, "gate.c"),
            };
            let says = |words: [&str; 2]| words.iter().any(|word| source.contains(word));
            assert_eq!(says(["wall_clock", "wall-clock"]), project.world.has_clock(), "{source}");
            assert_eq!(says(["gate::http", "fetch("]), project.world.has_http(), "{source}");
        }
    }

    #[test]
    fn the_commands_in_every_readme_parse() {
        for project in projects() {
            let readme = text(&project, "README.md");
            let commands = readme.lines().filter(|line| line.starts_with("tidegate "));
            let mut seen = 0;
            for command in commands {
                let parsed = crate::cli::command().try_get_matches_from(command.split(' '));
                assert!(parsed.is_ok(), "{command}: {parsed:?}");
                seen += 1;
            }
            assert!(seen >= 2, "{readme}");
        }
    }

    #[test]
    fn parts_may_stand_within_parts() {
        let project = |world| Project {
            name: "budget".parse().expect("a name"),
            language: Language::C,
            world,
        };
        let template = "a {{name}}\n{{if grants}}\nb\n  {{if http}}\nc\n  {{end}}\nd\n{{end}}\ne\n";
        assert_eq!(fill(template, &project(World::Plain)), "a budget\ne\n");
        assert_eq!(fill(template, &project(World::Clock)), "a budget\nb\nd\ne\n");
        assert_eq!(fill(template, &project(World::Http)), "a budget\nb\nc\nd\ne\n");
    }
}
