//! What came of a load, as its users saw it.

use std::collections::BTreeMap;

use crate::core::analysis::{BUCKETS, bucket_of, quantile_us};
use crate::core::model::Side;

use super::client::{Answer, ClientError};

/// The answers of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How many there were.
    pub answered: u64,
    /// Those with a status of 500 or above.
    pub failed: u64,
    /// When the first failed one had come, in µs of the load's clock; `None` without one.
    pub first_failed_us: Option<u64>,
    /// When the last one had come, in µs of the load's clock; `None` without one.
    pub last_us: Option<u64>,
}

/// Everything that a load counted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests sent.
    pub sent: u64,
    /// Answers that say that they are from blue.
    pub blue: Answers,
    /// Answers that say that they are from green.
    pub green: Answers,
    /// Answers that tell no side: no proxy is between, or they are the proxy's own.
    pub neither: Answers,
    /// Requests without a whole answer: refused, broken off, or not in time.
    pub transport_errors: u64,
    /// Answers that the proxy made because it could give no target's (`x-tidegate-error`).
    pub proxy_errors: u64,
    /// What went wrong, in words: the first few transport errors and proxy-made answers.
    pub faults: Vec<String>,
    /// Answers by the generation of the routing table that they say they belong to.
    pub generations: BTreeMap<u64, u64>,
    revisions: BTreeMap<String, Answers>,
    latency: [u64; BUCKETS],
}

impl LoadReport {
    /// The most faults that are kept in words.
    pub const MAX_FAULTS: usize = 10;
    /// The most generations and revisions that are told apart.
    const MAX_KEYS: usize = 1_000;

    /// All answers, whoever gave them.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.blue.answered + self.green.answered + self.neither.answered
    }

    /// The answers of a revision, by the origins' own word (`x-origin`).
    #[must_use]
    pub fn revision(&self, revision: &str) -> Answers {
        self.revisions.get(revision).copied().unwrap_or_default()
    }

    /// The errors that a shift itself can cause: no whole answer, or one made by the proxy. What a
    /// revision failed by itself is not among them.
    #[must_use]
    pub fn errors_of_the_proxy(&self) -> u64 {
        self.transport_errors + self.proxy_errors
    }

    /// The latency in milliseconds that the share `q` (0..=1) of the answers did not exceed.
    #[must_use]
    pub fn latency_ms(&self, q: f64) -> Option<f64> {
        quantile_us(&self.latency, q).map(|us| us as f64 / 1_000.0)
    }

    pub(super) fn note_sent(&mut self) {
        self.sent += 1;
    }

    pub(super) fn note(
        &mut self,
        answer: &Result<Answer, ClientError>,
        began_us: u64,
        ended_us: u64,
    ) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.transport_errors += 1;
                self.note_fault(error.to_string());
                return;
            }
        };
        let failed = answer.is_failed();
        match answer.side {
            Some(Side::Blue) => self.blue.note(failed, ended_us),
            Some(Side::Green) => self.green.note(failed, ended_us),
            None => self.neither.note(failed, ended_us),
        }
        if let Some(word) = &answer.proxy_error {
            self.proxy_errors += 1;
            self.note_fault(format!("the proxy answered {}: {word}", answer.status));
        }
        if let Some(generation) = answer.generation
            && let Some(count) = slot(&mut self.generations, &generation)
        {
            *count += 1;
        }
        if let Some(revision) = &answer.origin
            && let Some(answers) = slot(&mut self.revisions, revision)
        {
            answers.note(failed, ended_us);
        }
        self.latency[bucket_of(ended_us.saturating_sub(began_us))] += 1;
    }

    fn note_fault(&mut self, fault: String) {
        if self.faults.len() < Self::MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

impl Default for LoadReport {
    fn default() -> Self {
        Self {
            sent: 0,
            blue: Answers::default(),
            green: Answers::default(),
            neither: Answers::default(),
            transport_errors: 0,
            proxy_errors: 0,
            faults: Vec::new(),
            generations: BTreeMap::new(),
            revisions: BTreeMap::new(),
            latency: [0; BUCKETS],
        }
    }
}

impl Answers {
    fn note(&mut self, failed: bool, at_us: u64) {
        self.answered += 1;
        self.last_us = self.last_us.max(Some(at_us));
        if failed {
            self.failed += 1;
            // Answers are noted in another order than they came in, now and then.
            self.first_failed_us = Some(self.first_failed_us.map_or(at_us, |us| us.min(at_us)));
        }
    }
}

/// The value of a key, made if there is room for another; `None` if not.
fn slot<'m, K: Ord + Clone, V: Default>(map: &'m mut BTreeMap<K, V>, key: &K) -> Option<&'m mut V> {
    if map.len() >= LoadReport::MAX_KEYS && !map.contains_key(key) {
        return None;
    }
    Some(map.entry(key.clone()).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, side: Option<Side>) -> Result<Answer, ClientError> {
        let origin = side.map(|_| "v3".to_owned());
        Ok(Answer { status, side, generation: Some(7), origin, proxy_error: None })
    }

    #[test]
    fn answers_are_counted_by_side_and_revision_with_their_times() {
        let mut report = LoadReport::default();
        for (status, side, at_us) in [
            (200, Some(Side::Blue), 1_000),
            (200, Some(Side::Green), 2_000),
            (500, Some(Side::Green), 3_000),
            (503, Some(Side::Green), 4_000),
            (500, Some(Side::Green), 2_500),
            (404, Some(Side::Green), 5_000),
        ] {
            report.note_sent();
            report.note(&answer(status, side), at_us - 500, at_us);
        }
        let green =
            Answers { answered: 5, failed: 3, first_failed_us: Some(2_500), last_us: Some(5_000) };
        assert_eq!(report.green, green);
        assert_eq!((report.blue.answered, report.blue.failed), (1, 0));
        assert_eq!(report.revision("v3").answered, 6);
        assert_eq!(report.revision("v9"), Answers::default());
        assert_eq!(report.generations, BTreeMap::from([(7, 6)]));
        assert_eq!((report.sent, report.answered()), (6, 6));
        assert_eq!(report.errors_of_the_proxy(), 0);
    }

    #[test]
    fn what_no_target_answered_is_an_error_of_the_proxy() {
        let mut report = LoadReport::default();
        report.note(&Err(ClientError::TooLate), 0, 5_000_000);
        let mut own = answer(502, None).unwrap();
        own.proxy_error = Some("connect_failed".to_owned());
        report.note(&Ok(own), 0, 1_000);
        assert_eq!((report.transport_errors, report.proxy_errors), (1, 1));
        assert_eq!(report.errors_of_the_proxy(), 2);
        assert_eq!(report.neither.failed, 1);
        assert_eq!(
            report.faults,
            ["no whole answer within 5 s", "the proxy answered 502: connect_failed"]
        );
    }

    #[test]
    fn what_is_kept_in_words_is_bounded() {
        let mut report = LoadReport::default();
        for generation in 0..2_000 {
            report.note(&Err(ClientError::TooLate), 0, 0);
            let mut answer = answer(200, None).unwrap();
            answer.generation = Some(generation);
            report.note(&Ok(answer), 0, 0);
        }
        assert_eq!(report.faults.len(), LoadReport::MAX_FAULTS);
        assert_eq!(report.generations.len(), LoadReport::MAX_KEYS);
        assert_eq!(report.transport_errors, 2_000);
    }
}
