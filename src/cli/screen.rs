//! Writing: for people or for programs.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{eprintln, print, println};
use serde::Serialize;

use super::failure::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Tables and sentences.
    Text,
    /// One JSON object on a line.
    Json,
}

impl Form {
    /// Writes one result.
    pub(super) fn show<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Self::Text => println!("{}", text(value)),
            Self::Json => println!("{}", json(value)),
        }
    }

    /// Writes a list: one table, or one object on each line.
    pub(super) fn show_all<T: Serialize>(self, values: &[T], text: impl FnOnce(&[T]) -> String) {
        match self {
            Self::Text => println!("{}", text(values)),
            Self::Json => values.iter().for_each(|value| println!("{}", json(value))),
        }
    }

    /// Writes why there is no result.
    pub(super) fn fail(self, failure: &Failure) {
        match (self, failure) {
            (Self::Json, Failure::Refused(problem)) => eprintln!("{}", json(problem)),
            (Self::Json | Self::Text, _) => eprintln!("{failure}"),
        }
    }
}

/// Writes a remark that is no result.
pub(super) fn remark(text: &str) {
    eprintln!("{text}");
}

/// Writes a line over the present one, cut and filled up to an ordinary terminal's width, so that
/// it neither wraps nor leaves anything of the one before.
pub(super) fn rewrite(line: &str) {
    let line: String = line.chars().take(WIDTH).collect();
    print!("\r{line:<WIDTH$}");
    // A terminal that is gone is found out by the next line.
    let _ = anstream::stdout().flush();
}

/// Takes the line away that was written over.
pub(super) fn wipe() {
    rewrite("");
    print!("\r");
}

/// Whether results go to a person's terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Takes what could drive a terminal out of a text that others wrote.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("results have only text keys")
}

const WIDTH: usize = 79;
