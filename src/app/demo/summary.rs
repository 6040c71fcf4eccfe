//! What the demo came to.

use std::fmt;

use serde::Serialize;

use crate::core::model::RolloutId;
use crate::core::rollout::StateName;

use super::{Answers, LoadReport};

/// How an act went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActReport {
    /// The revision that was rolled out.
    pub revision: String,
    /// Its rollout.
    pub rollout: RolloutId,
    /// How the rollout should end.
    pub wanted: StateName,
    /// How it ended.
    pub found: StateName,
    /// From the request to start it to its end.
    pub took_ms: u64,
    /// How often the gate gave a verdict; one that broke gave none.
    pub verdicts: u64,
}

/// The numbers at the end, all of them as the users saw them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How the acts went, in their order.
    pub acts: Vec<ActReport>,
    /// Requests sent.
    pub sent: u64,
    /// Answers from blue.
    pub blue: u64,
    /// Answers from green.
    pub green: u64,
    /// Failed answers (500 or above) from blue.
    pub blue_failed: u64,
    /// Failed answers from green that a user saw.
    pub leaked: u64,
    /// Client-visible errors that the shift itself caused: requests without a whole answer, and
    /// answers that the proxy made because it could give no target's. What a bad revision failed
    /// by itself is [`Self::leaked`].
    pub shift_errors: u64,
    /// What those errors were, in words: the first few.
    pub faults: Vec<String>,
    /// From the first bad response to 0 % green: from the moment when a user had the first failed
    /// answer of the bad revision whole, to the moment when a user had the last answer of that
    /// revision, good or bad. It is measured outside of the proxy: it includes what was in flight
    /// when the table was swapped. `None` if the bad revision never failed.
    pub first_bad_to_zero_green_ms: Option<u64>,
    /// Half of all answers came within this many milliseconds; `None` without answers.
    pub latency_ms_p50: Option<u64>,
    /// 99 of 100 answers came within this many milliseconds; `None` without answers.
    pub latency_ms_p99: Option<u64>,
    /// From the first request to the last answer.
    pub took_ms: u64,
}

impl Summary {
    /// Adds up what came of the load; `bad` is the revision that fails on purpose.
    #[must_use]
    pub fn new(acts: Vec<ActReport>, report: &LoadReport, bad: &str, took_ms: u64) -> Self {
        Self {
            acts,
            sent: report.sent,
            blue: report.blue.answered,
            green: report.green.answered,
            blue_failed: report.blue.failed,
            leaked: report.green.failed,
            shift_errors: report.errors_of_the_proxy(),
            faults: report.faults.clone(),
            first_bad_to_zero_green_ms: exposure_ms(report.revision(bad)),
            latency_ms_p50: report.latency_ms(0.5).map(whole),
            latency_ms_p99: report.latency_ms(0.99).map(whole),
            took_ms,
        }
    }

    /// What is not as it should be; empty if the demo showed what it is there to show.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .acts
            .iter()
            .filter(|act| act.found != act.wanted)
            .map(|act| {
                let ActReport { revision, rollout, wanted, found, .. } = act;
                format!("rollout {rollout} of {revision} is {found}, not {wanted}")
            })
            .collect();
        for act in self.acts.iter().filter(|act| act.verdicts == 0) {
            found.push(format!("no gate gave a verdict on rollout {}", act.rollout));
        }
        if self.shift_errors > 0 {
            let (count, faults) = (self.shift_errors, self.faults.join("; "));
            found.push(format!("{count} errors were caused by the shift itself: {faults}"));
        }
        if self.blue_failed > 0 {
            found.push(format!("{} answers of blue failed", self.blue_failed));
        }
        if self.took_ms > LONGEST_MS {
            found.push(format!(
                "it took {}, at most two minutes are promised",
                seconds(self.took_ms)
            ));
        }
        found
    }
}

/// See [`Summary::first_bad_to_zero_green_ms`].
fn exposure_ms(bad: Answers) -> Option<u64> {
    let (first_failed_us, last_us) = bad.first_failed_us.zip(bad.last_us)?;
    Some(last_us.saturating_sub(first_failed_us) / 1_000)
}

/// Whole milliseconds, rounded up: the latencies are upper bounds.
fn whole(ms: f64) -> u64 {
    // The largest latency that is told apart is some minutes.
    ms.ceil() as u64
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, act) in self.acts.iter().enumerate() {
            let ActReport { revision, rollout, found, took_ms, .. } = act;
            let seconds = seconds(*took_ms);
            writeln!(f, "act {}: {revision} {found} in {seconds} ({rollout})", number + 1)?;
        }
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "  {name:<42} {value:>10}")
        };
        row(f, "requests sent", self.sent.to_string())?;
        row(f, "answered by blue", self.blue.to_string())?;
        row(f, "answered by green", self.green.to_string())?;
        row(f, "failed on blue", self.blue_failed.to_string())?;
        row(f, "leaked (failed on green, seen by a user)", self.leaked.to_string())?;
        row(f, "errors caused by the shift itself", self.shift_errors.to_string())?;
        let exposure = self.first_bad_to_zero_green_ms.map_or("-".to_owned(), seconds);
        row(f, "from the first bad response to 0% green", exposure)?;
        let ms = |value: Option<u64>| value.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        row(f, "latency, half of the answers within", ms(self.latency_ms_p50))?;
        row(f, "latency, 99 of 100 answers within", ms(self.latency_ms_p99))?;
        write!(f, "  {:<42} {:>10}", "the whole took", seconds(self.took_ms))
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10)
}

/// The longest that the whole may take.
const LONGEST_MS: u64 = 120_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::demo::client::{Answer, ClientError};
    use crate::core::model::Side;

    fn act(revision: &str, wanted: StateName, found: StateName) -> ActReport {
        ActReport {
            revision: revision.to_owned(),
            rollout: "d-ABCDEFGH1".parse().unwrap(),
            wanted,
            found,
            took_ms: 14_250,
            verdicts: 3,
        }
    }

    fn acts() -> Vec<ActReport> {
        vec![
            act("v2", StateName::Succeeded, StateName::Succeeded),
            act("v3", StateName::RolledBack, StateName::RolledBack),
        ]
    }

    /// Two answers of blue, two of a good green, and four of a bad one, two of which failed.
    fn report() -> LoadReport {
        let mut report = LoadReport::default();
        let answers = [
            (200, Side::Blue, "v1", 1_000_000),
            (200, Side::Green, "v2", 2_000_000),
            (200, Side::Green, "v2", 3_000_000),
            (200, Side::Blue, "v2", 4_000_000),
            (200, Side::Green, "v3", 4_500_000),
            (500, Side::Green, "v3", 5_000_000),
            (500, Side::Green, "v3", 6_000_000),
            (200, Side::Green, "v3", 6_750_000),
            (200, Side::Blue, "v2", 8_000_000),
        ];
        for (status, side, origin, at_us) in answers {
            report.note_sent();
            let answer = Answer {
                status,
                side: Some(side),
                generation: Some(1),
                origin: Some(origin.to_owned()),
                proxy_error: None,
            };
            report.note(&Ok(answer), at_us - 900, at_us);
        }
        report
    }

    #[test]
    fn the_numbers_are_those_of_the_users() {
        let summary = Summary::new(acts(), &report(), "v3", 30_000);
        assert_eq!((summary.sent, summary.blue, summary.green), (9, 3, 6));
        assert_eq!((summary.leaked, summary.blue_failed, summary.shift_errors), (2, 0, 0));
        assert_eq!(summary.first_bad_to_zero_green_ms, Some(1_750));
        assert_eq!(summary.latency_ms_p99, Some(1));
        assert_eq!(summary.shortcomings(), Vec::<String>::new());
    }

    #[test]
    fn a_revision_that_never_failed_was_never_a_danger() {
        let summary = Summary::new(acts(), &report(), "v2", 30_000);
        assert_eq!(summary.first_bad_to_zero_green_ms, None);
        assert!(
            summary.to_string().contains("from the first bad response to 0% green             -")
        );
    }

    #[test]
    fn every_shortcoming_is_named() {
        let mut report = report();
        report.note(&Err(ClientError::TooLate), 0, 0);
        let mut acts = acts();
        acts[1].found = StateName::Succeeded;
        acts[1].verdicts = 0;
        let found = Summary::new(acts, &report, "v3", 120_010).shortcomings();
        assert_eq!(
            found,
            [
                "rollout d-ABCDEFGH1 of v3 is succeeded, not rolled_back",
                "no gate gave a verdict on rollout d-ABCDEFGH1",
                "1 errors were caused by the shift itself: no whole answer within 5 s",
                "it took 120.01 s, at most two minutes are promised",
            ]
        );
    }

    #[test]
    fn the_table_has_a_row_for_each_number() {
        let text = Summary::new(acts(), &report(), "v3", 30_000).to_string();
        let expected = "\
act 1: v2 succeeded in 14.25 s (d-ABCDEFGH1)
act 2: v3 rolled_back in 14.25 s (d-ABCDEFGH1)
  requests sent                                       9
  answered by blue                                    3
  answered by green                                   6
  failed on blue                                      0
  leaked (failed on green, seen by a user)            2
  errors caused by the shift itself                   0
  from the first bad response to 0% green        1.75 s
  latency, half of the answers within              1 ms
  latency, 99 of 100 answers within                1 ms
  the whole took                                30.00 s";
        assert_eq!(text, expected);
    }

    #[test]
    fn machines_get_the_same_numbers() {
        let json = serde_json::to_value(Summary::new(acts(), &report(), "v3", 30_000)).unwrap();
        assert_eq!(json["leaked"], 2);
        assert_eq!(json["first_bad_to_zero_green_ms"], 1_750);
        assert_eq!(json["acts"][1]["found"], "rolled_back");
    }
}
