//! Asking gates: several in parallel; fail beats hold beats pass.

use serde::{Deserialize, Serialize};

use crate::core::model::{GateMode, GateStage, OnGateError, Span};

use super::{GateAnswer, Hold, Spec};

/// What a gate said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastAnswer {
    /// Nothing yet.
    None,
    /// Go on, or an error that the policy ignores.
    Passed,
    /// Take it back. That is the regression's matter, which stands in the way until somebody
    /// overrides it; the gate itself does not.
    Failed,
    /// Not now, or an error that the policy holds for.
    Held {
        /// Why.
        reason: String,
    },
}

impl LastAnswer {
    fn lets_pass(&self) -> bool {
        match self {
            Self::Passed | Self::Failed => true,
            Self::None | Self::Held { .. } => false,
        }
    }
}

/// A gate in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its place in the rollout's list of gates.
    pub gate: usize,
    /// The number of the last asking; 0 before the first.
    pub attempt: u32,
    /// Whether an answer is waited for.
    pub waiting: bool,
    /// When it is asked next, or was asked, in elapsed time.
    pub due: Span,
    /// What it said last.
    pub last: LastAnswer,
}

/// The gates of one stage, being asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Where in the rollout.
    pub stage: GateStage,
    /// Each gate.
    pub asked: Vec<Asked>,
}

/// How long an answer is waited for before the gate is asked anew: the host answers within a
/// gate's deadline, so this long means that the answer was lost.
const PATIENCE: Span = Span::from_secs(30);
/// How long after a hold a gate is asked again that did not say when.
const RETRY: Span = Span::from_secs(10);
/// The bounds on what a gate may say about that.
const RETRY_BOUNDS: (Span, Span) = (Span::from_secs(1), Span::from_hours(1));

impl Round {
    /// A round in which no gate has been asked yet.
    pub(super) fn begin(spec: &Spec, stage: GateStage, now: Span) -> Self {
        let asked = spec
            .gates_at(stage)
            .map(|gate| Asked {
                gate,
                attempt: 0,
                waiting: false,
                due: now,
                last: LastAnswer::None,
            })
            .collect();
        Self { stage, asked }
    }

    /// Whether every gate that is obeyed has passed, and none is being asked anew.
    pub(super) fn has_passed(&self, spec: &Spec) -> bool {
        self.asked
            .iter()
            .filter(|asked| is_obeyed(spec, asked.gate))
            .all(|asked| asked.last.lets_pass() && !asked.waiting)
    }

    /// The gate to ask now; `None` when every one was asked or is not due.
    pub(super) fn next_due(&self, now: Span) -> Option<usize> {
        let repeats = self.stage == GateStage::DuringStep;
        self.asked.iter().position(|asked| {
            if asked.waiting {
                now >= asked.due.saturating_add(PATIENCE)
            } else {
                (repeats || !asked.last.lets_pass()) && now >= asked.due
            }
        })
    }

    /// Notes that a gate was asked.
    pub(super) fn note_asked(&mut self, place: usize, attempt: u32, now: Span) {
        if let Some(asked) = self.asked.get_mut(place) {
            asked.attempt = attempt;
            asked.waiting = true;
            asked.due = now;
        }
    }

    /// The place of the gate whose answer to this asking is waited for.
    pub(super) fn waiting_for(&self, attempt: u32) -> Option<usize> {
        self.asked.iter().position(|asked| asked.waiting && asked.attempt == attempt)
    }

    /// Notes an answer; gives whether it says something new.
    pub(super) fn note_answer(
        &mut self,
        spec: &Spec,
        place: usize,
        answer: &GateAnswer,
        now: Span,
    ) -> bool {
        let Some(asked) = self.asked.get_mut(place) else {
            return false;
        };
        let usage = &spec.gates[asked.gate].usage;
        let (last, again) = match answer {
            GateAnswer::Pass => (LastAnswer::Passed, usage.every),
            GateAnswer::Fail { .. } => (LastAnswer::Failed, usage.every),
            GateAnswer::Hold { reason, retry_after } => {
                (LastAnswer::Held { reason: reason.clone() }, retry_after.unwrap_or(RETRY))
            }
            GateAnswer::Error { kind, text } => match kind.leads_to(usage) {
                OnGateError::Ignore => (LastAnswer::Passed, usage.every),
                OnGateError::Rollback => (LastAnswer::Failed, usage.every),
                OnGateError::Hold => {
                    let reason = format!("{}: {text}", kind.as_str());
                    (LastAnswer::Held { reason }, RETRY)
                }
            },
        };
        let news = asked.last != last;
        asked.waiting = false;
        asked.last = last;
        asked.due = now.saturating_add(again.clamp(RETRY_BOUNDS.0, RETRY_BOUNDS.1));
        news
    }

    /// Notes a failure that could not become a regression of its own: it is asked about again.
    pub(super) fn note_held(&mut self, place: usize, reason: String) {
        if let Some(asked) = self.asked.get_mut(place) {
            asked.last = LastAnswer::Held { reason };
        }
    }

    /// Forgets who is being asked: after a start nobody is.
    pub(super) fn forget_waiting(&mut self, now: Span) {
        for asked in &mut self.asked {
            if asked.waiting {
                asked.waiting = false;
                asked.due = now;
            }
        }
    }

    /// The holds of the gates that have not passed.
    pub(super) fn holds<'a>(&'a self, spec: &'a Spec) -> impl Iterator<Item = Hold> + 'a {
        self.asked.iter().filter(|asked| is_obeyed(spec, asked.gate)).filter_map(|asked| {
            let gate = spec.gates[asked.gate].usage.gate.clone();
            match &asked.last {
                LastAnswer::Passed | LastAnswer::Failed => None,
                LastAnswer::None => Some(Hold::GateAsked { gate }),
                LastAnswer::Held { reason } => Some(Hold::Gate { gate, reason: reason.clone() }),
            }
        })
    }
}

fn is_obeyed(spec: &Spec, gate: usize) -> bool {
    match spec.gates[gate].usage.mode {
        GateMode::Enforce => true,
        GateMode::Shadow => false,
    }
}
