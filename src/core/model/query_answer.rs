//! What came of a query of a metrics server.

/// What an answer is worth to an alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryAnswer {
    /// One finite number.
    Value(f64),
    /// An answer without a number: no series, NaN, infinity.
    NoData {
        /// In words.
        why: String,
    },
    /// An answer that shows a mistake in the query: several series, another type, a refusal.
    Mistaken {
        /// In words.
        why: String,
    },
    /// No answer that could be read.
    Failed {
        /// In words.
        why: String,
    },
}

/// The last answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Grows from one reading to the next, whatever the question.
    pub number: u64,
    /// How many times in a row there was no answer that could be read, this one included.
    pub failures: u32,
    /// What came of it.
    pub answer: QueryAnswer,
}
