//! Stances: what a comparison calls for at one moment.

use crate::core::analysis::comparison::Comparator;
use crate::core::analysis::verdict::{Unavailable, Verdict, Word};
use crate::core::analysis::{
    Action, Findings, FreezeReason, OnSharedDegradation, RollbackReason, Staying,
};
use crate::core::model::{MonoTime, Side, Span, Weight};

/// What a comparison calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stance {
    /// Its verdict.
    pub verdict: Word,
    /// What follows of it and of the objective.
    pub action: Action,
    /// Whether the observed split is not the one in force, which holds the weight.
    pub split_is_wrong: bool,
    /// Whether the evidence rests on one target of green, and is not acted on for that.
    pub one_target: bool,
    /// Whether that target should be out and stays in, which holds the weight.
    pub stays: bool,
    /// Whether the comparison failed by a fault of its own, which holds the weight.
    pub is_faulty: bool,
}

impl Stance {
    /// For how long blue may be without a request before there is nobody to compare green with.
    const NO_BLUE: Span = Span::from_secs(30);

    /// What a comparison calls for now. `seen` is when blue last had a request, `None` before the
    /// first cohort; `checked` says whether the split is wrong, and whether the evidence rests on
    /// one target; `pages` whether the burn rates of green and of blue do.
    #[must_use]
    pub fn of(
        comparator: &Comparator,
        on_shared: OnSharedDegradation,
        (now, seen): (MonoTime, Option<MonoTime>),
        (split_is_wrong, one_target): (bool, bool),
        [green_pages, blue_pages]: [bool; 2],
    ) -> Self {
        let weight = comparator.newest().map_or(Weight::ZERO, |newest| newest.weight);
        let no_blue = seen.is_some_and(|at| now.since(at) >= Self::NO_BLUE);
        let alarms = |side| comparator.absolute_alarm(side).is_some();
        let verdict = Word::from(&comparator.verdict());
        let findings = Findings {
            green_is_worse: verdict == Word::Fail,
            green_alarms: alarms(Side::Green) || green_pages,
            blue_alarms: alarms(Side::Blue) || blue_pages,
            nobody_to_compare_with: weight == Weight::FULL || no_blue,
        };
        let action = findings.call_for(on_shared);
        let one_target = one_target && verdict != Word::Fail;
        Self { verdict, action, split_is_wrong, one_target, stays: false, is_faulty: false }
    }

    /// The same with what holds the weight besides, at this time.
    #[must_use]
    pub fn held(self, comparator: &Comparator, staying: Staying, now: MonoTime) -> Self {
        let fault = Verdict::Unavailable { why: Unavailable::Fault };
        let fails = self.verdict == Word::Unavailable && comparator.verdict() == fault;
        let is_faulty = fails && !staying.is_accepted();
        Self { stays: self.one_target && staying.holds(now), is_faulty, ..self }
    }

    /// Whether it holds the weight.
    #[must_use]
    pub fn holds(self) -> bool {
        let freezes = matches!(self.action, Action::Freeze { .. });
        let is_held = freezes || self.split_is_wrong || self.stays || self.is_faulty;
        is_held && !self.takes_back()
    }

    /// Whether it takes the traffic back.
    #[must_use]
    pub fn takes_back(self) -> bool {
        matches!(self.action, Action::RollBack { .. })
    }

    /// The stance in words, the weightiest part first.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self.action {
            Action::RollBack { because } => match because {
                RollbackReason::Worse => "roll back: green is worse than blue",
                RollbackReason::Alone => "roll back: green breaks its objective, alone",
                RollbackReason::Shared => "roll back: both break the objective",
            },
            Action::Freeze { because } => match because {
                FreezeReason::Green => "hold: green breaks its objective",
                FreezeReason::Shared => "hold: both break the objective",
                FreezeReason::Blue => "hold: blue breaks the objective",
            },
            Action::None if self.split_is_wrong => "hold: the split is not the one in force",
            Action::None if self.stays => {
                "hold: the evidence rests on one target, which is not ejected"
            }
            Action::None if self.is_faulty => "hold: the comparison failed by a fault of its own",
            Action::None if self.one_target => "go on: the evidence rests on one target",
            Action::None => match self.verdict {
                Word::Pass => "go on: certified",
                Word::Insufficient => "go on: neither is shown",
                Word::Unavailable => "no comparison: unavailable",
                // A crossing always calls for a rollback.
                Word::None | Word::Fail => "nothing to compare",
            },
        }
    }

    pub(super) fn to_bytes(self) -> [u8; 2] {
        let verdict = VERDICTS.iter().position(|word| *word == self.verdict);
        let action = ACTIONS.iter().position(|action| *action == self.action);
        let place = |found: Option<usize>| found.expect("every one is in its list") as u8;
        let flags = [self.split_is_wrong, self.one_target, self.stays, self.is_faulty];
        let set = flags.iter().enumerate().map(|(bit, is_set)| u8::from(*is_set) << bit);
        [place(verdict) + 16 * set.sum::<u8>(), place(action)]
    }

    pub(super) fn from_bytes([first, action]: [u8; 2]) -> Option<Self> {
        Some(Self {
            verdict: *VERDICTS.get(usize::from(first & 0xf))?,
            action: *ACTIONS.get(usize::from(action))?,
            split_is_wrong: first & 0x10 != 0,
            one_target: first & 0x20 != 0,
            stays: first & 0x40 != 0,
            is_faulty: first & 0x80 != 0,
        })
    }
}

/// By their numbers in a log, which never change.
const VERDICTS: [Word; 5] =
    [Word::Pass, Word::Fail, Word::Insufficient, Word::Unavailable, Word::None];

/// By their numbers in a log, which never change.
const ACTIONS: [Action; 7] = [
    Action::None,
    Action::RollBack { because: RollbackReason::Worse },
    Action::RollBack { because: RollbackReason::Alone },
    Action::RollBack { because: RollbackReason::Shared },
    Action::Freeze { because: FreezeReason::Green },
    Action::Freeze { because: FreezeReason::Shared },
    Action::Freeze { because: FreezeReason::Blue },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn stance(
        verdict: Word,
        action: Action,
        (split_is_wrong, one_target, stays, is_faulty): (bool, bool, bool, bool),
    ) -> Stance {
        Stance { verdict, action, split_is_wrong, one_target, stays, is_faulty }
    }

    #[test]
    fn what_holds_the_weight_is_no_rollback() {
        let none = (false, false, false, false);
        let holds = |action, others| stance(Word::Insufficient, action, others).holds();
        assert!(!holds(Action::None, none));
        assert!(!holds(Action::None, (false, true, false, false)), "that target is ejected");
        assert!(holds(Action::None, (false, true, true, false)));
        assert!(holds(Action::None, (false, false, false, true)));
        assert!(holds(Action::None, (true, false, false, false)));
        assert!(holds(Action::Freeze { because: FreezeReason::Blue }, none));
        let back = Action::RollBack { because: RollbackReason::Alone };
        assert!(!holds(back, (true, true, true, true)));
    }

    #[test]
    fn every_stance_is_read_as_it_was_written() {
        for verdict in VERDICTS {
            for action in ACTIONS {
                for flags in 0..16 {
                    let [split_is_wrong, one_target, stays, is_faulty] =
                        [1, 2, 4, 8].map(|flag| flags & flag != 0);
                    let others = (split_is_wrong, one_target, stays, is_faulty);
                    let stance = stance(verdict, action, others);
                    assert_eq!(Stance::from_bytes(stance.to_bytes()), Some(stance));
                    assert!(!stance.says().is_empty());
                }
            }
        }
        assert_eq!(Stance::from_bytes([5, 0]), None);
        assert_eq!(Stance::from_bytes([0, 7]), None);
    }
}
