//! What a guest is told during one call, taken down as it is told, within bounds.

use std::collections::BTreeMap;

use super::outside::{FetchError, IncomingResponse, OutgoingRequest};
use crate::core::model::Sha256;
use crate::core::rollout::{GateStateError, Heard, HeardAnswer, Incomplete};

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// What the gate had kept before.
    before: BTreeMap<String, String>,
    /// What it keeps now, if nobody else has changed it.
    now: BTreeMap<String, String>,
    heard: Vec<Heard>,
    bytes: usize,
    incomplete: Option<Incomplete>,
}

impl Recording {
    /// The most that is taken down of one call, in bytes of what was said.
    const BYTES: usize = 48 << 10;
    /// The longest body of a response that is taken down; of a longer one the digest is.
    const BODY_BYTES: usize = 16 << 10;
    /// What a question takes beside its texts.
    const QUESTION_BYTES: usize = 128;

    /// A recording of a call that begins with this state.
    pub(super) fn begin(before: BTreeMap<String, String>) -> Self {
        let bytes = before.iter().map(|(key, value)| key.len() + value.len()).sum();
        let mut recording = Self { now: before.clone(), before, bytes, ..Self::default() };
        if bytes > Self::BYTES {
            recording.before = BTreeMap::new();
            recording.lose(Incomplete::Truncated);
        }
        recording
    }

    /// Takes a question down with its answer.
    pub(super) fn hear(&mut self, heard: Heard) {
        if matches!(heard, Heard::Http { answer: HeardAnswer::Long { .. }, .. }) {
            self.lose(Incomplete::Truncated);
        }
        self.bytes = self.bytes.saturating_add(size(&heard));
        if self.bytes > Self::BYTES {
            self.lose(Incomplete::Truncated);
        } else {
            self.heard.push(heard);
        }
    }

    /// The gate read a value of its state.
    pub(super) fn read(&mut self, key: &str, value: Option<&str>) {
        if self.now.get(key).map(String::as_str) != value {
            self.lose(Incomplete::StateChanged);
        }
    }

    /// The gate read the keys of its state.
    pub(super) fn listed(&mut self, keys: &[String]) {
        if !self.now.keys().eq(keys) {
            self.lose(Incomplete::StateChanged);
        }
    }

    /// The gate set a value of its state, or tried to.
    pub(super) fn wrote(&mut self, key: &str, value: &str, set: &Result<(), GateStateError>) {
        match set {
            Ok(()) if value.is_empty() => {
                self.now.remove(key);
            }
            Ok(()) => {
                self.now.insert(key.to_owned(), value.to_owned());
            }
            // That is a matter of what others keep.
            Err(GateStateError::TooManyPairs { .. }) => self.lose(Incomplete::StateChanged),
            Err(
                GateStateError::Key { .. }
                | GateStateError::Value { .. }
                | GateStateError::Full { .. }
                | GateStateError::TooLong { .. },
            ) => {}
        }
    }

    /// The gate drew chance.
    pub(super) fn drew(&mut self, bytes: &[u8]) {
        let bytes = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.hear(Heard::Chance { bytes });
    }

    /// The gate sent a request.
    pub(super) fn fetched(
        &mut self,
        request: &OutgoingRequest,
        outcome: &Result<IncomingResponse, FetchError>,
    ) {
        let answer = match outcome {
            Ok(response) if response.body.len() > Self::BODY_BYTES => HeardAnswer::Long {
                status: response.status,
                bytes: response.body.len() as u64,
                sha256: Sha256::of(response.body.as_bytes()),
            },
            Ok(response) => HeardAnswer::Response {
                status: response.status,
                headers: response.headers.clone(),
                body: response.body.clone(),
            },
            Err(FetchError::Denied(reason)) => HeardAnswer::Denied { reason: reason.clone() },
            Err(FetchError::Invalid(reason)) => HeardAnswer::Invalid { reason: reason.clone() },
            Err(FetchError::Unreachable(reason)) => {
                HeardAnswer::Unreachable { reason: reason.clone() }
            }
            Err(FetchError::Timeout(after)) => HeardAnswer::Timeout { after: *after },
            Err(FetchError::TooLarge(bytes)) => HeardAnswer::TooLarge { bytes: *bytes as u64 },
            Err(FetchError::Broken(reason)) => HeardAnswer::Broken { reason: reason.clone() },
        };
        self.hear(Heard::Http { request: request.line(), body: request.body.clone(), answer });
    }

    /// What was taken down: the state before, what was asked, and why that is not all.
    pub(super) fn end(self) -> (BTreeMap<String, String>, Vec<Heard>, Option<Incomplete>) {
        (self.before, self.heard, self.incomplete)
    }

    /// The first reason counts.
    fn lose(&mut self, why: Incomplete) {
        self.incomplete.get_or_insert(why);
    }
}

/// About how much room it takes.
fn size(heard: &Heard) -> usize {
    let texts = match heard {
        Heard::Metric { name, .. } => name.len(),
        Heard::Statuses { .. } | Heard::Latency { .. } => 0,
        Heard::Chance { bytes } => bytes.len(),
        Heard::Http { request, body, answer } => request.len() + body.len() + said(answer),
    };
    Recording::QUESTION_BYTES + texts
}

fn said(answer: &HeardAnswer) -> usize {
    match answer {
        HeardAnswer::Response { headers, body, .. } => {
            let headers = headers.iter().map(|(name, value)| name.len() + value.len() + 8);
            headers.sum::<usize>() + body.len()
        }
        HeardAnswer::Long { .. } | HeardAnswer::Timeout { .. } | HeardAnswer::TooLarge { .. } => 0,
        HeardAnswer::Denied { reason }
        | HeardAnswer::Invalid { reason }
        | HeardAnswer::Unreachable { reason }
        | HeardAnswer::Broken { reason } => reason.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Side;

    fn metric(name: &str) -> Heard {
        Heard::Metric { side: Side::Green, name: name.to_owned(), window_ms: 1, value: None }
    }

    #[test]
    fn what_the_call_itself_changes_is_no_change_by_another() {
        let before = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let mut recording = Recording::begin(before.clone());
        recording.read("a", Some("1"));
        recording.wrote("b", "2", &Ok(()));
        recording.wrote("a", "", &Ok(()));
        recording.wrote("", "2", &Err(GateStateError::Key { limit: 1, length: 0 }));
        recording.read("b", Some("2"));
        recording.read("a", None);
        recording.listed(&["b".to_owned()]);
        assert_eq!(recording.end(), (before, Vec::new(), None));
    }

    #[test]
    fn what_another_call_changes_makes_it_incomplete() {
        let mut recording = Recording::default();
        recording.read("a", Some("1"));
        assert_eq!(recording.end().2, Some(Incomplete::StateChanged));
        let mut recording = Recording::default();
        recording.listed(&["a".to_owned()]);
        assert_eq!(recording.end().2, Some(Incomplete::StateChanged));
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told() {
        let mut recording = Recording::default();
        recording.hear(metric("errors"));
        recording.hear(metric(&"x".repeat(Recording::BYTES)));
        recording.hear(metric("errors"));
        let (_, heard, incomplete) = recording.end();
        assert_eq!((heard.len(), incomplete), (1, Some(Incomplete::Truncated)));
        let large = BTreeMap::from([("a".to_owned(), "x".repeat(Recording::BYTES))]);
        let (before, _, incomplete) = Recording::begin(large).end();
        assert_eq!((before.len(), incomplete), (0, Some(Incomplete::Truncated)));
    }
}
