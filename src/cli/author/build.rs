//! `gate build`: a component from a gate's folder, its digest, and what to write into the
//! configuration.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use wit_component::ComponentEncoder;

use super::languages::{Built, compile};
use super::project::Project;
use crate::cli::failure::Failure;
use crate::cli::screen::Form;
use crate::cli::{Exit, style};
use crate::core::model::Sha256;

/// What is built.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    /// The gate's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Component {
    component: PathBuf,
    bytes: usize,
    sha256: Sha256,
    /// What to write into a configuration.
    configuration: String,
}

/// Builds it. The tools of the language say on the standard error how they get on.
pub(super) fn build(args: &BuildArgs, form: Form) -> Result<Exit, Failure> {
    let project = Project::open(&args.folder)?;
    let folder = fs::canonicalize(&args.folder).map_err(|error| unusable(&args.folder, &error))?;
    let file = folder.join(format!("{}.wasm", project.name.as_str()));
    let bytes = match compile(&project, &folder, &file)? {
        Built::Component => fs::read(&file).map_err(|error| unusable(&file, &error))?,
        Built::CoreModule(module) => {
            let module = fs::read(&module).map_err(|error| unusable(&module, &error))?;
            let component = wrap(&module)?;
            fs::write(&file, &component).map_err(|error| unusable(&file, &error))?;
            component
        }
    };
    let sha256 = Sha256::of(&bytes);
    let configuration = configuration(&project, &file, sha256);
    let built = Component { component: file, bytes: bytes.len(), sha256, configuration };
    form.show(&built, |built| {
        let good = style::GOOD;
        format!(
            "{good}built:{good:#} {}\n{} bytes, SHA-256 {}\n\nfor the configuration:\n\n{}",
            built.component.display(),
            built.bytes,
            built.sha256,
            built.configuration.trim_end()
        )
    });
    Ok(Exit::Succeeded)
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("{}: {error}", path.display()), None)
}

/// Makes a component from a core module that holds its component type in a custom section.
fn wrap(module: &[u8]) -> Result<Vec<u8>, Failure> {
    // Without a type the encoder makes a component that exports nothing.
    if !module.windows(TYPE_SECTION.len()).any(|name| name == TYPE_SECTION) {
        let why = "the module says nothing of its type: it was built without wit-bindgen";
        return Err(Failure::Bad(why.to_owned()));
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Failure::Bad(format!("the module makes no component: {error:#}")))
}

/// How the name of the custom section with a component's type begins.
const TYPE_SECTION: &[u8] = b"component-type";

/// What to write into a configuration to have a service ask the gate.
fn configuration(project: &Project, component: &Path, sha256: Sha256) -> String {
    let (name, world) = (project.name.as_str(), project.world);
    let mut grants = Vec::new();
    grants.extend(world.has_clock().then_some("clock: true"));
    grants.extend(world.has_random().then_some("random: true"));
    grants.extend(world.has_http().then_some("http: [{ host: status.example.com }]"));
    let mut more = String::new();
    if !grants.is_empty() {
        more.push_str(&format!("    grants: {{ {} }}\n", grants.join(", ")));
    }
    if let Some(limits) = project.language.limits() {
        more.push_str(&format!("    limits: {{ {limits} }}\n"));
    }
    format!(
        "gates:\n  {name}:\n    component: {:?}\n    sha256: {sha256}\n{more}\
         # and in the service:\n#   gates: [{{ gate: {name}, at: [before-step, during-step] }}]\n",
        component.display().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::author::project::{Language, World};
    use crate::config::Config;

    #[test]
    fn what_is_printed_can_be_pasted_into_a_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("budget.wasm");
        let bytes = b"\0asm\x0d\0\x01\0";
        fs::write(&file, bytes).expect("written");
        let base = "listeners: [{ name: public, address: '127.0.0.1:0', rules: [{ service: shop }] }]\n\
                    target_groups: { a: { targets: ['127.0.0.1:9001'] }, b: { targets: [] } }\n\
                    services:\n  shop:\n    target_groups: [a, b]\n";
        for (language, world) in [
            (Language::Rust, World::Plain),
            (Language::Python, World::All),
            (Language::C, World::Http),
        ] {
            let project = Project { name: "budget".parse().expect("a name"), language, world };
            let printed = configuration(&project, &file, Sha256::of(bytes));
            let used = printed.lines().find_map(|line| line.strip_prefix("#   "));
            let used = used.expect("how it is used");
            let text = format!("{base}    {used}\n{printed}");
            let config = Config::parse(&text, Path::new(""));
            let config = config.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            let gate = config.gates.values().next().expect("a gate");
            assert_eq!(gate.grants.clock, world.has_clock());
            assert_eq!(gate.grants.random, world.has_random());
            assert_eq!(gate.grants.http.len(), usize::from(world.has_http()));
            assert_eq!(config.services.values().next().expect("a service").gates.len(), 1);
        }
    }

    #[test]
    fn a_module_without_a_type_is_refused_with_the_reason() {
        let module = wat::parse_str("(module (memory 1))");
        let error = wrap(&module.expect("valid")).expect_err("no type").to_string();
        assert!(error.contains("built without wit-bindgen"), "{error}");
        assert!(wrap(b"#!/bin/sh").is_err());
    }
}
