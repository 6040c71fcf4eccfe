//! The files that are kept about a rollout beside the store, and given as they are: the evidence of
//! its comparison, and the calls of its gates.

use axum::body::Body;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};

use super::AdminState;
use super::evidence_body::EvidenceBody;
use super::problem::{Answer, Denied};
use crate::control::Refusal;
use crate::core::model::RolloutId;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeptFile {
    /// What its comparison was fed.
    Evidence,
    /// What its gates were asked and told, and what they said.
    GateCalls,
}

/// The answer that gives one.
pub(super) type GivenFile = ([(HeaderName, &'static str); 1], Body);

impl KeptFile {
    /// Gives that of a rollout, one piece at a time.
    pub(super) async fn give(self, state: &AdminState, id: RolloutId) -> Answer<GivenFile> {
        if !state.handle.view().rollouts.contains_key(&id) {
            return Err(Refusal::NoRollout(id).into());
        }
        let opened = match self {
            Self::Evidence => state.handle.evidence(id.clone()).await,
            Self::GateCalls => state.handle.gate_calls(id.clone()).await,
        };
        let file = opened.map_err(|why| self.unreadable(&id, &why))?;
        let file = file.ok_or_else(|| self.missing(&id))?;
        Ok(([(CONTENT_TYPE, self.content_type())], Body::new(EvidenceBody::new(file))))
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Evidence => "application/octet-stream",
            Self::GateCalls => "application/x-ndjson",
        }
    }

    /// It cannot be opened.
    fn unreadable(self, id: &RolloutId, why: &str) -> Denied {
        let (code, file) = match self {
            Self::Evidence => ("evidence_unreadable", "evidence"),
            Self::GateCalls => ("gate_calls_unreadable", "gate calls"),
        };
        let detail = format!("the {file} of {id}: {why}");
        Denied::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
    }

    /// The rollout has none.
    fn missing(self, id: &RolloutId) -> Denied {
        let (code, file, rollouts) = match self {
            Self::Evidence => ("no_evidence", "evidence", "are compared"),
            Self::GateCalls => ("no_gate_calls", "record of gate calls", "have asked a gate"),
        };
        let detail = format!("there is no {file} of {id}");
        let fix = format!("it is kept of rollouts that {rollouts}, and not with a store in memory");
        Denied::new(StatusCode::NOT_FOUND, code, detail).fix(fix)
    }
}
