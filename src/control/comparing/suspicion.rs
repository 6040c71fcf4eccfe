//! Suspicion: one target of green without which the evidence would not suffice.
//!
//! One bad host is no bad version: that target is ejected and nothing is rolled back. As long as it
//! is out, and for what it did before that, it is dealt with once. When it is back it has to earn
//! as much evidence again as a rollback takes before it is ejected a second time: one failure more
//! must not do it.
//!
//! A target that should be out and may not be (ejection is off, too many are out, no other is left)
//! is no reason to give green more traffic: then the weight is held, and a person decides.

use std::collections::BTreeMap;

use crate::core::analysis::Staying;
use crate::core::model::MonoTime;

/// The target on which everything rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::control) struct Suspect {
    /// Its place, modulo the number of places that are told apart.
    pub(in crate::control) place: usize,
    /// The whole evidence against green.
    pub(in crate::control) evidence: f64,
}

/// What is suspected, and what was made of it.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// `None` while the evidence does not suffice, or does without any one target.
    present: Option<Suspect>,
    /// By place: the evidence that was dealt with.
    dealt_with: BTreeMap<usize, f64>,
    /// The evidence that an earlier life left, when places were others; `None` if it left too
    /// little.
    inherited: Option<f64>,
    /// Whether a target should be out and may not be.
    staying: Staying,
    /// Why that is so; empty while it never was.
    why: String,
    ejected: Vec<String>,
}

impl Suspicion {
    /// Goes on after a restart: what the evidence was worth then is of targets that may have other
    /// places now.
    pub(super) fn inherit(&mut self, evidence: f64, needed: f64) {
        self.inherited = (evidence >= needed).then_some(evidence);
    }

    /// Targets that an earlier life ejected.
    pub(super) fn recall(&mut self, ejected: Vec<String>) {
        self.ejected = ejected;
    }

    /// What an evaluation found.
    pub(super) fn look(&mut self, found: Option<Suspect>) {
        self.present = found;
        if found.is_none() {
            self.dealt_with.clear();
            self.inherited = None;
            self.staying.end();
        }
    }

    /// Who is suspected now; `None` if nobody is.
    pub(super) fn present(&self) -> Option<Suspect> {
        self.present
    }

    /// Whether the suspect is to be ejected: not for what was dealt with. `needed` is the evidence
    /// that a rollback takes.
    pub(super) fn is_due(&self, suspect: Suspect, needed: f64) -> bool {
        let before = self.dealt_with.get(&suspect.place).copied().or(self.inherited);
        before.is_none_or(|before| suspect.evidence / before >= needed)
    }

    /// What there is of evidence is dealt with: the target is out, or gone.
    pub(super) fn deal_with(&mut self, suspect: Suspect) {
        let before = self.dealt_with.entry(suspect.place).or_insert(suspect.evidence);
        *before = before.max(suspect.evidence);
        self.staying.end();
    }

    /// The suspect was ejected; how that is told.
    pub(super) fn eject(&mut self, suspect: Suspect, told: String) {
        self.deal_with(suspect);
        if self.ejected.len() == MOST_TOLD {
            self.ejected.remove(0);
        }
        self.ejected.push(told);
    }

    /// The suspect should be ejected and may not be.
    pub(super) fn keep(&mut self, why: String, now: MonoTime) {
        self.staying.begin(now);
        self.why = why;
    }

    /// Why the weight is held for it; `None` if it is not.
    pub(super) fn freeze(&self, now: MonoTime) -> Option<&str> {
        self.staying.holds(now).then_some(self.why.as_str())
    }

    /// A person took it upon themselves that a target stays in.
    pub(super) fn accept(&mut self) {
        self.staying.accept();
    }

    /// Whether a target should be out and may not be, and what was accepted.
    pub(super) fn staying(&self) -> Staying {
        self.staying
    }

    /// The targets that were ejected, the first one first.
    pub(super) fn ejected(&self) -> &[String] {
        &self.ejected
    }
}

/// The most ejections that are told of.
const MOST_TOLD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: f64 = 1_000.0;

    fn suspect(place: usize, evidence: f64) -> Suspect {
        Suspect { place, evidence }
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    #[test]
    fn a_target_that_is_back_has_to_earn_its_next_ejection() {
        let mut suspicion = Suspicion::default();
        let due = |suspicion: &Suspicion, place, evidence| {
            suspicion.is_due(suspect(place, evidence), NEEDED)
        };
        suspicion.look(Some(suspect(2, 1_500.0)));
        assert!(due(&suspicion, 2, 1_500.0));
        suspicion.eject(suspicion.present().unwrap(), "one".to_owned());
        assert!(!due(&suspicion, 2, 1_500.0));
        // What was in flight fails while it is out.
        suspicion.look(Some(suspect(2, 90_000.0)));
        suspicion.deal_with(suspect(2, 90_000.0));
        assert!(!due(&suspicion, 2, 800_000.0), "a failure or two are not enough");
        assert!(due(&suspicion, 2, 90_000_000.0));
        assert!(due(&suspicion, 1, 90_000.0), "another target was never out");
        suspicion.look(None);
        assert!(due(&suspicion, 2, 1_500.0), "the evidence fell and rose again");
        assert_eq!(suspicion.ejected(), ["one"]);
    }

    #[test]
    fn what_an_earlier_life_left_ejects_nobody() {
        let mut suspicion = Suspicion::default();
        suspicion.inherit(2_000.0, NEEDED);
        assert!(!suspicion.is_due(suspect(0, 2_000.0), NEEDED));
        assert!(suspicion.is_due(suspect(0, 2_000_000.0), NEEDED));
        suspicion.inherit(900.0, NEEDED);
        assert!(suspicion.is_due(suspect(0, 1_100.0), NEEDED), "that did not suffice");
    }

    #[test]
    fn a_target_that_may_not_be_ejected_holds_after_a_while_and_until_it_is_accepted() {
        let mut suspicion = Suspicion::default();
        suspicion.look(Some(suspect(0, 1_500.0)));
        suspicion.keep("it is the last one".to_owned(), at(1_000));
        suspicion.keep("it is the last one".to_owned(), at(3_900));
        assert_eq!(suspicion.freeze(at(3_999)), None);
        assert_eq!(suspicion.freeze(at(4_000)), Some("it is the last one"));
        suspicion.deal_with(suspect(0, 1_500.0));
        assert_eq!(suspicion.freeze(at(9_000)), None, "it is out by now");
        suspicion.keep("it is the last one".to_owned(), at(10_000));
        suspicion.accept();
        assert_eq!(suspicion.freeze(at(99_000)), None);
    }

    #[test]
    fn no_more_ejections_are_told_of_than_the_bound() {
        let mut suspicion = Suspicion::default();
        (0..100).for_each(|n| suspicion.eject(suspect(0, 1_500.0), n.to_string()));
        assert_eq!(suspicion.ejected().len(), MOST_TOLD);
        assert_eq!(suspicion.ejected().last().map(String::as_str), Some("99"));
    }
}
