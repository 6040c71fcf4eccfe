//! Mistakes: what is wrong with a configuration, collected so that all are reported at once.
//!
//! A reader never stops at the first one. It records what it found, goes on with a default or
//! without the value, and in the end the file counts as read only if nothing was recorded.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, where it is, and what would put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key path, for example `listeners[0].rules[1].service`; empty for the file as a whole.
    pub at: String,
    /// The line, counted from 1; `None` if it is about no line, such as a file that is not there.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would put it right; `None` where the message says so already.
    pub fix: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        f.write_str(&self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: Option<PathBuf>,
    mistakes: Vec<Mistake>,
    unlisted: usize,
}

impl ConfigErrors {
    /// The most mistakes that are listed.
    pub const LIMIT: usize = 1_000;

    /// The mistakes, at most [`Self::LIMIT`].
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// How many more there are than are listed.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// A mistake that leaves nothing to read.
    pub(super) fn only(message: impl Into<String>, line: Option<usize>) -> Self {
        let mistake = Mistake { at: String::new(), line, message: message.into(), fix: None };
        Self { file: None, mistakes: vec![mistake], unlisted: 0 }
    }

    /// The same, shown with the file's name.
    pub(super) fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each mistake: `file.yaml:12: key.path: message; fix`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            match (&self.file, mistake.line) {
                (Some(file), Some(line)) => write!(f, "{}:{line}: {mistake}", file.display())?,
                (Some(file), None) => write!(f, "{}: {mistake}", file.display())?,
                (None, Some(line)) => write!(f, "line {line}: {mistake}")?,
                (None, None) => write!(f, "{mistake}")?,
            }
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// The mistakes found so far; every node of a document holds a reference to the same one.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: RefCell<Vec<Mistake>>,
    unlisted: Cell<usize>,
}

impl Mistakes {
    /// Records one, or counts it if there are too many already.
    pub(super) fn add(&self, mistake: Mistake) {
        let mut found = self.found.borrow_mut();
        if found.len() < ConfigErrors::LIMIT {
            found.push(mistake);
        } else {
            self.unlisted.set(self.unlisted.get() + 1);
        }
    }

    /// Everything recorded, or `None` if nothing was.
    pub(super) fn into_errors(self) -> Option<ConfigErrors> {
        let mut mistakes = self.found.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        let unlisted = self.unlisted.get();
        (!mistakes.is_empty()).then_some(ConfigErrors { file: None, mistakes, unlisted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: usize) -> Mistake {
        let message = format!("unknown strategy {line}");
        Mistake { at: "services.shop".to_owned(), line: Some(line), message, fix: None }
    }

    #[test]
    fn mistakes_are_shown_one_on_a_line_in_the_order_of_the_file() {
        let mistakes = Mistakes::default();
        mistakes.add(mistake(9));
        mistakes.add(Mistake { fix: Some("leave it out".to_owned()), ..mistake(3) });
        let errors = mistakes.into_errors().unwrap();
        assert_eq!(
            errors.clone().in_file(Path::new("tidegate.yaml")).to_string(),
            "tidegate.yaml:3: services.shop: unknown strategy 3; leave it out\n\
             tidegate.yaml:9: services.shop: unknown strategy 9"
        );
        assert!(errors.to_string().starts_with("line 3: services.shop: "));
    }

    #[test]
    fn no_mistake_is_no_error() {
        assert_eq!(Mistakes::default().into_errors(), None);
    }

    #[test]
    fn the_list_of_mistakes_is_bounded_and_says_so() {
        let mistakes = Mistakes::default();
        (0..ConfigErrors::LIMIT + 7).for_each(|line| mistakes.add(mistake(line)));
        let errors = mistakes.into_errors().unwrap();
        assert_eq!((errors.mistakes().len(), errors.unlisted()), (ConfigErrors::LIMIT, 7));
        assert!(errors.to_string().ends_with("… and 7 more"));
    }
}
