//! What a rollout wants done. Every effect may be performed twice with the same result.

use crate::core::model::{Exposure, Span};

use super::{Actor, Cause, Fact, GateCall, Outcome};

/// One thing to do, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the routing table say this, now.
    Expose(Exposure),
    /// Give these roles new groups: green is blue from now on, without weight for the other.
    SwapRoles,
    /// Save the rollout as it now is, with all facts since the last save; answer
    /// [`super::Event::Saved`].
    Save {
        /// The number of the save, growing.
        seq: u64,
    },
    /// Ask a gate; answer [`super::Event::GateAnswered`].
    RunGate(Box<GateCall>),
    /// Put a fact into the ledger, with the next save.
    Record {
        /// What happened.
        fact: Fact,
        /// Who did it.
        actor: Actor,
        /// Why; `None` where none was given.
        reason: Option<String>,
    },
    /// Tell people.
    Notify(Notice),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something speaks against green.
    Regression {
        /// What.
        cause: Cause,
    },
    /// Something speaks against green, and blue cannot take the traffic.
    BlueCannotTakeTraffic {
        /// What.
        cause: Cause,
    },
    /// A person's yes is wanted.
    ApprovalWanted {
        /// How long it may take.
        timeout: Span,
    },
    /// It is over.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why; `None` where it went to its end.
        cause: Option<Cause>,
    },
}

/// Collects the effects of one event.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) list: Vec<Effect>,
    /// Whether the rollout must be saved at the end.
    pub(super) dirty: bool,
}

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub(super) fn record(&mut self, fact: Fact) {
        self.record_by(fact, Actor::tidegate(), None);
    }

    pub(super) fn record_by(&mut self, fact: Fact, actor: Actor, reason: Option<String>) {
        self.dirty = true;
        self.list.push(Effect::Record { fact, actor, reason });
    }
}
