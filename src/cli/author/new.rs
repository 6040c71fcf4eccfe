//! `gate new`: a folder with a gate that builds, is useful as it is, and has cases.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::project::{Language, Project, ProjectName, World};
use super::template;
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Form;

/// Which gate is made.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// The gate's name, which its folder gets as well.
    #[arg(value_name = "NAME")]
    name: ProjectName,
    /// The language that it is written in.
    #[arg(long, value_enum)]
    lang: Language,
    /// It has to know the time of day.
    #[arg(long)]
    clock: bool,
    /// It has to ask others over HTTP.
    #[arg(long)]
    http: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    folder: PathBuf,
    files: Vec<&'static str>,
}

/// Makes it in the current folder.
pub(super) fn new(args: &NewArgs, form: Form) -> Result<Exit, Failure> {
    let project = Project {
        name: args.name.clone(),
        language: args.lang,
        world: World::with(args.clock, args.http),
    };
    let made = make(Path::new(""), &project)?;
    form.show(&made, |made| {
        let name = project.name.as_str();
        format!(
            "{} is there, with {} files\nnext: tidegate gate build {name}\nthen: tidegate gate \
             test {name}/{name}.wasm --cases {name}/cases.yaml",
            made.folder.display(),
            made.files.len()
        )
    });
    Ok(Exit::Succeeded)
}

fn make(parent: &Path, project: &Project) -> Result<Made, Failure> {
    let folder = parent.join(project.name.as_str());
    let files = template::files(project);
    let cannot = |path: &Path, error: io::Error| {
        Failure::Usage(format!("{}: {error}", path.display()), None)
    };
    fs::create_dir(&folder).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let fix = "another name, or remove it".to_owned();
            return Failure::Usage(format!("{} is there already", folder.display()), Some(fix));
        }
        cannot(&folder, error)
    })?;
    for (path, text) in &files {
        let file = folder.join(path);
        let within = file.parent().expect("it is in the folder");
        fs::create_dir_all(within).map_err(|error| cannot(within, error))?;
        fs::write(&file, text).map_err(|error| cannot(&file, error))?;
    }
    Ok(Made { folder, files: files.into_iter().map(|(path, _)| path).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> Project {
        Project {
            name: name.parse().expect("a name"),
            language: Language::Rust,
            world: World::Plain,
        }
    }

    #[test]
    fn a_folder_is_made_once() {
        let parent = tempfile::tempdir().expect("a folder");
        let made = make(parent.path(), &project("budget")).expect("made");
        for file in &made.files {
            assert!(made.folder.join(file).is_file(), "{file}");
        }
        assert_eq!(Project::open(&made.folder).expect("it says what it is"), project("budget"));
        let changed = made.folder.join("src/lib.rs");
        fs::write(&changed, "work of days").expect("written");
        let refused = make(parent.path(), &project("budget")).expect_err("it is there");
        assert!(refused.to_string().contains("is there already"), "{refused}");
        assert_eq!(refused.exit(), Exit::Usage);
        assert_eq!(fs::read_to_string(&changed).expect("kept"), "work of days");
    }

    #[test]
    fn a_file_of_the_name_is_in_the_way_as_well() {
        let parent = tempfile::tempdir().expect("a folder");
        fs::write(parent.path().join("budget"), "").expect("written");
        assert!(make(parent.path(), &project("budget")).is_err());
    }
}
