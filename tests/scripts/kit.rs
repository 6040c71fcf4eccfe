//! A folder of pretended programs, and a script that finds them there.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

/// Programs that a script finds before, or instead of, those of the system.
#[derive(Debug)]
pub(crate) struct Programs(TempDir);

/// What came of a script.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// What it wrote to the standard output.
    pub(crate) shown: String,
    /// What it wrote to the standard error.
    pub(crate) said: String,
}

impl Programs {
    /// These programs: a name, and what a shell does when it is called.
    pub(crate) fn new(programs: &[(&str, &str)]) -> Self {
        let this = Self(TempDir::new().expect("a folder"));
        for (name, does) in programs {
            // A file that this process had open for writing could not be run for a moment.
            let written = Command::new("/bin/sh")
                .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\""])
                .arg(this.0.path().join(name))
                .arg(does)
                .status();
            assert!(written.expect("a shell").success(), "{name}");
        }
        this
    }

    /// Where they are: the search path of a script that shall find nothing else.
    pub(crate) fn path(&self) -> String {
        self.0.path().to_string_lossy().into_owned()
    }

    /// What the programs wrote into the file `calls` beside them.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let ended = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it runs");
    Ran {
        code: ended.status.code(),
        shown: String::from_utf8_lossy(&ended.stdout).into_owned(),
        said: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}
