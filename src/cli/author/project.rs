//! A gate's folder, and the file in it that says what it is.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cli::failure::Failure;

/// What a folder holds, as its `gate.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Project {
    pub(super) name: ProjectName,
    pub(super) language: Language,
    pub(super) world: World,
}

/// The languages that gates can be begun in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    /// The smallest and fastest, with serde for the parameters.
    Rust,
    /// JavaScript, run by QuickJS.
    Js,
    /// Python, run by CPython.
    Python,
    /// C without stdio.
    C,
}

impl Language {
    /// What it needs beyond the default limits, as it is written in a configuration.
    pub(super) fn limits(self) -> Option<&'static str> {
        match self {
            Self::Python => Some("memory: 32MiB"),
            Self::Rust | Self::Js | Self::C => None,
        }
    }
}

/// The world of the contract that a gate is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum World {
    /// No more than every gate has.
    #[serde(rename = "gate")]
    Plain,
    /// The time of day as well.
    #[serde(rename = "gate-with-clock")]
    Clock,
    /// HTTP as well.
    #[serde(rename = "gate-with-http")]
    Http,
    /// Everything.
    #[serde(rename = "gate-with-all")]
    All,
}

impl World {
    /// The smallest that has what is wanted.
    pub(super) fn with(clock: bool, http: bool) -> Self {
        match (clock, http) {
            (false, false) => Self::Plain,
            (true, false) => Self::Clock,
            (false, true) => Self::Http,
            (true, true) => Self::All,
        }
    }

    /// Its name in the contract.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "gate",
            Self::Clock => "gate-with-clock",
            Self::Http => "gate-with-http",
            Self::All => "gate-with-all",
        }
    }

    /// Whether it has the time of day.
    pub(super) fn has_clock(self) -> bool {
        match self {
            Self::Clock | Self::All => true,
            Self::Plain | Self::Http => false,
        }
    }

    /// Whether it has chance.
    pub(super) fn has_random(self) -> bool {
        match self {
            Self::All => true,
            Self::Plain | Self::Clock | Self::Http => false,
        }
    }

    /// Whether it has HTTP.
    pub(super) fn has_http(self) -> bool {
        match self {
            Self::Http | Self::All => true,
            Self::Plain | Self::Clock => false,
        }
    }
}

/// The reason why a text is not the name of a new gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name for a gate: up to 40 of `a` to `z`, `0` to `9` and `-`, a letter first and \
     no `-` last"
)]
pub(super) struct ProjectNameError(String);

/// A name that fits wherever a gate has one: a folder, a crate, an npm package, a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct ProjectName(String);

impl ProjectName {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = ProjectNameError;

    fn from_str(text: &str) -> Result<Self, ProjectNameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(plain)
            && !text.ends_with('-')
            && text.len() <= LONGEST;
        if is_name {
            return Ok(Self(text.to_owned()));
        }
        Err(ProjectNameError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for ProjectName {
    type Error = ProjectNameError;

    fn try_from(text: String) -> Result<Self, ProjectNameError> {
        text.parse()
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

impl Project {
    /// Reads what a folder holds.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let file = folder.join(FILE);
        let text = fs::read(&file).map_err(|error| {
            let fix = "name the folder that `tidegate gate new` made".to_owned();
            Failure::Usage(format!("{}: {error}", file.display()), Some(fix))
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| Failure::Usage(format!("{}: {error}", file.display()), None))
    }

    /// The text of the file that says what a folder holds.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("it has only text keys") + "\n"
    }
}

/// The file that says what a folder holds.
pub(super) const FILE: &str = "gate.json";
const LONGEST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_wherever_a_gate_has_one() {
        for good in ["budget", "a", "office-hours-2"] {
            assert!(good.parse::<ProjectName>().is_ok(), "{good}");
            assert!(good.parse::<crate::core::model::GateName>().is_ok(), "{good}");
        }
        let long = "a".repeat(41);
        for bad in ["", "Budget", "-a", "2fast", "a-", "a b", "a/b", "..", "a_b", "é", &long] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_world_has_the_name_that_the_contract_gives_it() {
        let contract = include_str!("../../../wit/gate.wit");
        for world in [World::Plain, World::Clock, World::Http, World::All] {
            let name = world.as_str();
            assert!(contract.contains(&format!("world {name} {{")), "{name}");
            let written = serde_json::to_string(&world).expect("a text");
            assert_eq!(written, format!("\"{name}\""));
        }
    }

    #[test]
    fn a_folder_says_what_it_holds_or_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = Project::open(folder.path()).expect_err("nothing is there").to_string();
        assert!(refused.contains("gate.json") && refused.contains("gate new"), "{refused}");
        let project = Project {
            name: "budget".parse().expect("a name"),
            language: Language::Js,
            world: World::Clock,
        };
        fs::write(folder.path().join(FILE), project.to_text()).expect("written");
        assert_eq!(Project::open(folder.path()).expect("it is there"), project);
        let text = project.to_text();
        assert!(text.contains("\"js\"") && text.contains("\"gate-with-clock\""), "{text}");
        fs::write(folder.path().join(FILE), text.replace("budget", "../x")).expect("written");
        assert!(Project::open(folder.path()).is_err());
    }
}
