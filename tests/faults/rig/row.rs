//! A row of the table of faults: what is promised, what was measured, and whether that holds.
//!
//! Every requirement of a row is looked at before the test fails, so that one run shows them all.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::is_full;
use crate::kit::report;

/// A row; it is told, and written where `TIDEGATE_FAULTS_RESULT` says, when it is dropped.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    bar: String,
    measured: Map<String, Value>,
    missed: Vec<String>,
    /// Whether the test came to its end.
    is_whole: bool,
    /// Why it could not run; `None` if it could.
    skipped: Option<String>,
}

impl Row {
    /// A row with nothing in it; its bar names what is checked at the size of this run.
    pub(crate) fn begin(name: &'static str, bar: impl Into<String>) -> Self {
        Self {
            name,
            bar: bar.into(),
            measured: Map::new(),
            missed: Vec::new(),
            is_whole: false,
            skipped: None,
        }
    }

    /// Notes a figure.
    pub(crate) fn measure(&mut self, what: &str, value: impl Into<Value>) {
        self.measured.insert(what.to_owned(), value.into());
    }

    /// Notes whether a part of the bar holds.
    pub(crate) fn require(&mut self, what: &str, holds: bool) {
        if !holds {
            self.missed.push(what.to_owned());
        }
    }

    /// Says that the row cannot run here, and why: it neither holds nor fails.
    pub(crate) fn skip(mut self, why: impl Into<String>) {
        self.skipped = Some(why.into());
    }

    /// Fails the test if a part of the bar was missed.
    pub(crate) fn end(mut self) {
        self.is_whole = true;
        let missed = self.missed.clone();
        let measured = Value::Object(self.measured.clone());
        drop(self);
        assert!(missed.is_empty(), "missed: {missed:?}; measured: {measured}");
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let line = json!({
            "name": self.name,
            "size": if is_full() { "full" } else { "reduced" },
            "bar": self.bar,
            "measured": self.measured,
            "missed": self.missed,
            "skipped": self.skipped,
            "passed": self.is_whole && self.missed.is_empty(),
        })
        .to_string();
        report(&line);
        let Ok(path) = std::env::var("TIDEGATE_FAULTS_RESULT") else { return };
        let file = OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
            report(&format!("the row could not be written: {error}"));
        }
    }
}

/// A time as rows show it, in milliseconds.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
