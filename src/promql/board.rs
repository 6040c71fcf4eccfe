//! The board: the last answer to every question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::model::{QueryAnswer, Reading};

use super::Question;

/// What tasks found and the writer looks at. It never holds more than one answer to a question.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// `None` until a first answer, or a first failure.
    readings: BTreeMap<Question, Option<Reading>>,
    /// The number of the last reading of all.
    number: u64,
}

impl Board {
    /// Begins to know of questions, and forgets all others.
    pub(super) fn keep_only(&self, questions: &BTreeSet<Question>) {
        let mut inner = self.inner();
        inner.readings.retain(|question, _| questions.contains(question));
        for question in questions {
            inner.readings.entry(question.clone()).or_default();
        }
    }

    /// A question was asked.
    pub(super) fn put(&self, question: &Question, failures: u32, answer: QueryAnswer) {
        let mut inner = self.inner();
        let number = inner.number + 1;
        // One that was let go of in the meantime is nobody's.
        if let Some(reading) = inner.readings.get_mut(question) {
            *reading = Some(Reading { number, failures, answer });
            inner.number = number;
        }
    }

    /// What came of a question last; `None` if nothing did yet.
    pub(super) fn reading(&self, question: &Question) -> Option<Reading> {
        self.inner().readings.get(question)?.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
