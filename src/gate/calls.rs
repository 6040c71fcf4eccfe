//! The record of a rollout's calls of gates as it is written: a line of JSON for each, and one where
//! something is left out from then on.

use serde::{Deserialize, Serialize};

use crate::core::model::Sha256;
use crate::core::rollout::{GateAnswer, GateHearing, GateTranscript, Incomplete};

/// A call that is ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCall {
    /// Its line; `None` if even what is left after it was cut is too long.
    pub line: Option<Vec<u8>>,
    /// The digest of the component and all that it was told.
    pub digest: Sha256,
}

/// What a record has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateCalls {
    /// The calls, in the order of their answers, each with its digest.
    pub calls: Vec<(Sha256, GateTranscript)>,
    /// Whether calls that said nothing new are left out after some time.
    pub is_thinned: bool,
    /// Whether nothing is kept after some time.
    pub is_full: bool,
    /// How many lines cannot be read: the end may have been cut off, or somebody changed them.
    pub unreadable: usize,
}

/// One line, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Call(Box<GateTranscript>),
    Thinned,
    Full,
}

/// The line of a call, as it is written.
#[derive(Debug, Serialize)]
struct CallLine<'a> {
    call: &'a GateTranscript,
}

impl GateCalls {
    /// The longest line in bytes.
    pub const LINE_BYTES: usize = 64 << 10;
    /// The line after which calls are left out that say nothing new.
    pub const THINNED: &'static [u8] = b"\"thinned\"\n";
    /// The line after which there are no more.
    pub const FULL: &'static [u8] = b"\"full\"\n";

    /// Writes a call. One that is too long loses what it was told, and says so.
    #[must_use]
    pub fn write(hearing: GateHearing, answer: &GateAnswer) -> WrittenCall {
        let mut call = GateTranscript { hearing, answer: answer.clone() };
        let mut line = line_of(&call);
        if line.len() > Self::LINE_BYTES {
            call.hearing.state.clear();
            call.hearing.heard.clear();
            call.hearing.evidence = None;
            call.hearing.incomplete = Some(Incomplete::Truncated);
            line = line_of(&call);
        }
        let digest = Self::digest(&call.hearing);
        WrittenCall { line: (line.len() <= Self::LINE_BYTES).then_some(line), digest }
    }

    /// The digest of a component and all that it was told.
    #[must_use]
    pub fn digest(hearing: &GateHearing) -> Sha256 {
        Sha256::of(&serde_json::to_vec(hearing).expect("it has only text keys"))
    }

    /// Reads a record.
    #[must_use]
    pub fn read(record: &[u8]) -> Self {
        let mut read = Self::default();
        for line in record.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Line>(line) {
                Ok(Line::Call(call)) => {
                    read.calls.push((Self::digest(&call.hearing), *call));
                }
                Ok(Line::Thinned) => read.is_thinned = true,
                Ok(Line::Full) => read.is_full = true,
                Err(_) => read.unreadable += 1,
            }
        }
        read
    }
}

fn line_of(call: &GateTranscript) -> Vec<u8> {
    let mut written = serde_json::to_vec(&CallLine { call }).expect("it has only text keys");
    written.push(b'\n');
    // It may wait to be written, beside many others.
    written.shrink_to_fit();
    written
}

#[cfg(test)]
mod tests {
    use super::super::LoadedGate;
    use super::super::hostile::call;
    use super::*;
    use crate::core::model::{GateGrants, GateLimits, ParamsText, Side, WallTime};
    use crate::core::rollout::{Heard, Number};

    fn hearing() -> GateHearing {
        let gate = LoadedGate {
            name: "budget".parse().expect("a name"),
            title: "budget".to_owned(),
            version: "1.0.0".to_owned(),
            digest: Sha256::of(b"component"),
            params_schema: "{}".to_owned(),
        };
        GateHearing {
            call: call(&gate, "{}"),
            at: WallTime::from_ms(1),
            limits: GateLimits::default(),
            grants: GateGrants::default(),
            evidence: None,
            state: Default::default(),
            heard: Vec::new(),
            incomplete: None,
        }
    }

    fn metric(value: f64) -> Heard {
        let (name, value) = ("error_rate".to_owned(), Some(Number(value)));
        Heard::Metric { side: Side::Green, name, window_ms: 60_000, value }
    }

    fn pass(hearing: GateHearing) -> WrittenCall {
        GateCalls::write(hearing, &GateAnswer::Pass)
    }

    #[test]
    fn a_call_is_read_as_it_was_written_with_the_same_digest() {
        let mut told = hearing();
        told.heard = vec![metric(0.1 + 0.2), metric(1.0 / 3.0)];
        let written = pass(told.clone());
        let line = written.line.expect("short");
        let record =
            [&line[..], GateCalls::THINNED, &line, GateCalls::FULL, b"{\"call\":{"].concat();
        let read = GateCalls::read(&record);
        let call = GateTranscript { hearing: told, answer: GateAnswer::Pass };
        let expected = GateCalls {
            calls: vec![(written.digest, call.clone()), (written.digest, call)],
            is_thinned: true,
            is_full: true,
            unreadable: 1,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_digest_is_of_everything_that_was_told_and_of_the_component() {
        let mut told = hearing();
        told.heard = vec![metric(0.5)];
        let before = GateCalls::digest(&told);
        told.call.digest = Sha256::of(b"another");
        let another = GateCalls::digest(&told);
        told.heard = vec![metric(0.25)];
        assert!(before != another && another != GateCalls::digest(&told));
    }

    #[test]
    fn a_call_that_is_too_long_keeps_its_verdict_alone() {
        let mut told = hearing();
        told.state.insert("k".to_owned(), "\u{1}".repeat(GateCalls::LINE_BYTES));
        let written = pass(told);
        let read = GateCalls::read(&written.line.expect("cut"));
        let [(digest, call)] = read.calls.as_slice() else { panic!("{read:?}") };
        assert_eq!(
            (*digest, call.hearing.incomplete),
            (written.digest, Some(Incomplete::Truncated))
        );
        assert!(call.hearing.state.is_empty());
        let mut told = hearing();
        let params = format!("{{\"a\":\"{}\"}}", "x".repeat(GateCalls::LINE_BYTES));
        told.call.gate.params = ParamsText::from_canonical(&params);
        assert_eq!(pass(told).line, None);
    }
}
