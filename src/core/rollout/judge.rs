//! Judging: what speaks against green, and what stands in the way of going on.

use crate::core::model::{
    AlarmState, Deadline, DeadlineAction, GroupHealth, OnInsufficient, OnRegression, Span, Step,
    Weight,
};

use super::effect::Effects;
use super::{
    Cause, Effect, Evidence, Fact, Hold, Installing, Notice, Outcome, Ready, Regression, Rollout,
    Shifting, State, StepPhase,
};

impl Rollout {
    /// Looks for deadlines that passed and for what speaks against green, and acts on it.
    pub(super) fn judge(&mut self, out: &mut Effects) {
        if self.restarting {
            // Before anybody has looked blue cannot be given anything.
            if self.seen.is_some() {
                self.check_deadlines(out);
            }
            self.judge_alarms(out);
            return;
        }
        self.check_deadlines(out);
        if self.state.ending().is_some() {
            return;
        }
        let present = self.conditions();
        if self.seen.is_some() {
            let stands = |cause: &Cause| present.iter().any(|p| p.same_condition(cause));
            self.overridden.retain(|cause| !cause.is_condition() || stands(cause));
            self.told.retain(|cause| !cause.is_condition() || stands(cause));
        }
        for cause in present {
            // Without traffic only an alarm can tell anything about it.
            if self.weight > Weight::ZERO || matches!(cause, Cause::Alarm { .. }) {
                self.regress(cause, out);
            }
        }
        self.take_back_when_possible(out);
    }

    /// Acts on alarms alone: after a start too little is known for anything else that can be seen,
    /// but an alarm that is in ALARM takes the traffic back all the same.
    fn judge_alarms(&mut self, out: &mut Effects) {
        for cause in self.conditions() {
            if matches!(cause, Cause::Alarm { .. }) {
                self.regress(cause, out);
            }
        }
        self.take_back_when_possible(out);
    }

    /// What can be seen against green now, whether it has traffic or not.
    fn conditions(&self) -> Vec<Cause> {
        let Some(seen) = &self.seen else {
            return Vec::new();
        };
        let mut causes: Vec<Cause> = self
            .alarm_states()
            .filter(|(_, state, _)| *state == AlarmState::Alarm)
            .map(|(alarm, _, _)| Cause::Alarm { alarm })
            .collect();
        if let Evidence::Against { reason } = &seen.evidence {
            causes.push(Cause::Evidence { reason: reason.clone() });
        }
        if let Some(reason) = &seen.slo_breach {
            causes.push(Cause::Slo { reason: reason.clone() });
        }
        if seen.green.falls_below(self.spec.policies.health_floor.green) {
            causes.push(Cause::GreenUnhealthy);
        }
        causes
    }

    /// Deals with something that speaks against green, by the policy.
    pub(super) fn regress(&mut self, cause: Cause, out: &mut Effects) {
        if self.state.ending().is_some() || self.regression.is_some() || self.is_overridden(&cause)
        {
            return;
        }
        let wants_rollback = match self.spec.policies.on_regression {
            OnRegression::Rollback => true,
            OnRegression::Freeze => false,
            OnRegression::Notify => {
                if !self.told.iter().any(|known| known.same_condition(&cause)) {
                    self.told.push(cause.clone());
                    out.record(Fact::RegressionFound { cause: cause.clone() });
                    out.push(Effect::Notify(Notice::Regression { cause }));
                }
                return;
            }
        };
        self.latch(cause, wants_rollback, out);
    }

    /// Opens a regression, and takes the traffic back at once if that is wanted and possible. One
    /// that wants a rollback takes the place of one that waits for a person: a deadline ends a
    /// freeze too.
    pub(super) fn latch(&mut self, cause: Cause, wants_rollback: bool, out: &mut Effects) {
        let open = self.regression.as_ref();
        let outranked = open.is_some_and(|open| open.wants_rollback || !wants_rollback);
        if self.state.ending().is_some() || outranked || self.is_overridden(&cause) {
            return;
        }
        out.record(Fact::RegressionFound { cause: cause.clone() });
        let notice = if wants_rollback && !self.may_take_back() {
            Notice::BlueCannotTakeTraffic { cause: cause.clone() }
        } else {
            Notice::Regression { cause: cause.clone() }
        };
        out.push(Effect::Notify(notice));
        self.regression = Some(Regression { cause, wants_rollback });
        self.take_back_when_possible(out);
    }

    fn take_back_when_possible(&mut self, out: &mut Effects) {
        let wanted = self.regression.as_ref().filter(|regression| regression.wants_rollback);
        if let Some(cause) = wanted.map(|regression| regression.cause.clone())
            && self.may_take_back()
        {
            self.take_back(Some(cause), &self.system(), out);
        }
    }

    /// Whether an automatic rollback may give blue the traffic: blue is above its floor, or green
    /// has no healthy target, or there is no traffic to give.
    fn may_take_back(&self) -> bool {
        if self.weight == Weight::ZERO {
            return true;
        }
        self.seen.as_ref().is_some_and(|seen| {
            !seen.blue.falls_below(self.spec.policies.health_floor.blue) || seen.green.healthy == 0
        })
    }

    fn check_deadlines(&mut self, out: &mut Effects) {
        let elapsed = self.timeline.elapsed();
        let whole = self.spec.policies.deadlines.whole;
        if elapsed >= whole.after {
            self.run_out("whole", whole.action, out);
            if self.state.ending().is_none() {
                // Blue cannot take the traffic, and nothing stays in progress for ever.
                self.end(Outcome::Stopped, Some(deadline_of("whole")), &self.system(), out);
            }
            return;
        }
        if let Some((of, deadline)) = self.deadline()
            && elapsed.saturating_sub(self.entered) >= deadline.after
        {
            self.run_out(of, deadline.action, out);
        }
    }

    /// The deadline of the present state or step, counted from when it was entered.
    #[must_use]
    pub(super) fn deadline(&self) -> Option<(&'static str, Deadline)> {
        let deadlines = &self.spec.policies.deadlines;
        let plus = |time: Span| Deadline {
            after: deadlines.hold.after.saturating_add(time),
            action: deadlines.hold.action,
        };
        match &self.state {
            State::Created(_) => Some(("created", deadlines.created)),
            State::Installing(_) => Some(("installing", deadlines.installing)),
            State::Testing(_) => Some(("testing", deadlines.testing)),
            State::Ready(_) => Some(("ready", deadlines.ready)),
            State::Shifting(Shifting { phase: StepPhase::Approval(_), .. }) => None,
            State::Shifting(Shifting { index, .. }) => {
                let bake = self.spec.shift_at(*index).map_or(Span::ZERO, |shift| shift.bake);
                Some(("step", plus(bake)))
            }
            State::Baking(baking) => Some(("final bake", plus(baking.bake.length))),
            State::Succeeded(_) | State::RolledBack(_) | State::Stopped(_) | State::Failed(_) => {
                None
            }
        }
    }

    /// Does what a deadline says.
    pub(super) fn run_out(&mut self, of: &str, action: DeadlineAction, out: &mut Effects) {
        let cause = deadline_of(of);
        match action {
            DeadlineAction::Rollback | DeadlineAction::Fail => self.latch(cause, true, out),
            DeadlineAction::Stop => {
                self.end(Outcome::Stopped, Some(cause), &self.system(), out);
            }
        }
    }

    /// Every watched alarm with its state; one that nobody has looked at has no data.
    fn alarm_states(
        &self,
    ) -> impl Iterator<Item = (crate::core::model::AlarmName, AlarmState, OnInsufficient)> + '_
    {
        self.spec.alarms.iter().map(|alarm| {
            let seen = self.seen.iter().flat_map(|seen| &seen.alarms);
            let state = seen
                .filter(|(name, _)| *name == alarm.name)
                .map(|(_, state)| *state)
                .next()
                .unwrap_or(AlarmState::InsufficientData);
            (alarm.name.clone(), state, alarm.on_insufficient)
        })
    }

    /// Why it does not advance now; empty while it just takes its time.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        if self.state.ending().is_some() {
            return Vec::new();
        }
        let mut holds = self.standing_holds();
        match &self.state {
            State::Installing(Installing::Targets) => holds.extend(self.target_hold()),
            State::Ready(Ready::Approval { .. })
            | State::Shifting(Shifting { phase: StepPhase::Approval(_), .. }) => {
                holds.push(Hold::Approval);
            }
            State::Shifting(Shifting { phase: StepPhase::Raising { seq, .. }, .. }) => {
                holds.extend(self.store_hold(*seq));
            }
            State::Baking(baking) => {
                if let super::BakingPhase::Raising { seq } = baking.phase {
                    holds.extend(self.store_hold(seq));
                }
            }
            State::Shifting(Shifting { index, phase: StepPhase::Baking(bake) }) => {
                if bake.is_over() {
                    holds.extend(self.missing_evidence(*index, bake.scored));
                }
            }
            State::Created(_)
            | State::Installing(Installing::AfterInstall(_))
            | State::Testing(_)
            | State::Ready(Ready::BeforeAllowTraffic { .. })
            | State::Shifting(_)
            | State::Succeeded(_)
            | State::RolledBack(_)
            | State::Stopped(_)
            | State::Failed(_) => {}
        }
        if let Some(round) = self.state.round() {
            holds.extend(round.holds(&self.spec));
        }
        holds
    }

    /// The holds that stand in every state's way, whatever it waits for itself.
    pub(super) fn standing_holds(&self) -> Vec<Hold> {
        let mut holds = Vec::new();
        if self.restarting {
            holds.push(Hold::Restarting);
        }
        if let Some((by, reason)) = &self.paused {
            holds.push(Hold::Paused { by: by.clone(), reason: reason.clone() });
        }
        if let Some(Regression { cause, wants_rollback }) = &self.regression {
            let cause = cause.clone();
            holds.push(if *wants_rollback {
                Hold::BlueCannotTakeTraffic { cause }
            } else {
                Hold::Regression { cause }
            });
        }
        let has_weight = self.weight > Weight::ZERO;
        for (alarm, state, on_insufficient) in self.alarm_states() {
            let holding = match state {
                AlarmState::Ok => false,
                AlarmState::Alarm => true,
                AlarmState::InsufficientData => {
                    has_weight && on_insufficient == OnInsufficient::Hold
                }
            };
            if holding {
                holds.push(Hold::Alarm { alarm, state });
            }
        }
        if self.seen.is_some() {
            holds.extend(self.health_holds());
        }
        if let Some(Evidence::Against { reason }) = self.seen.as_ref().map(|seen| &seen.evidence)
            && has_weight
            && !self.is_overridden(&Cause::Evidence { reason: reason.clone() })
        {
            // Such a verdict never clears: if it held on, overriding it would mean nothing.
            holds.push(Hold::EvidenceAgainst { reason: reason.clone() });
        }
        holds.extend(self.freezes().iter().cloned());
        holds
    }

    /// What was seen that keeps the weight where it is; without traffic that is nothing.
    pub(super) fn freezes(&self) -> &[Hold] {
        match &self.seen {
            Some(seen) if self.weight > Weight::ZERO => &seen.freezes,
            Some(_) | None => &[],
        }
    }

    fn health_holds(&self) -> Vec<Hold> {
        let floor = self.spec.policies.health_floor;
        let (green, blue) = self.health();
        let mut holds = Vec::new();
        let installed = !matches!(self.state, State::Created(_) | State::Installing(_));
        if installed && green.targets == 0 {
            holds.push(Hold::GreenHasNoTargets);
        } else if installed && !green.reaches(floor.green) {
            holds.push(Hold::green_unhealthy(green, floor.green));
        }
        if installed && !blue.reaches(floor.blue) {
            holds.push(Hold::blue_unhealthy(blue, floor.blue));
        }
        holds
    }

    /// What `installing` waits for.
    pub(super) fn target_hold(&self) -> Option<Hold> {
        let (green, _) = self.health();
        let wanted = self.spec.policies.start_healthy;
        if green.targets == 0 {
            Some(Hold::GreenHasNoTargets)
        } else if green.reaches(wanted) {
            None
        } else {
            Some(Hold::green_unhealthy(green, wanted))
        }
    }

    fn store_hold(&self, seq: u64) -> Option<Hold> {
        (self.confirmed < seq).then(|| Hold::Store { reason: self.store_trouble.clone() })
    }

    /// What a step asked for and has not got; what every step needs that asks for nothing.
    pub(super) fn missing_evidence(&self, index: usize, scored: u64) -> Option<Hold> {
        let Some(Step::Shift(shift)) = self.spec.steps.get(index) else {
            return None;
        };
        let wanted = shift.samples.unwrap_or(self.spec.policies.min_green);
        if scored < wanted {
            return Some(Hold::Samples { missing: wanted - scored });
        }
        if !shift.evidence_pass {
            return None;
        }
        match self.seen.as_ref().map(|seen| &seen.evidence) {
            Some(Evidence::Pass) => None,
            Some(Evidence::Insufficient { missing }) => Some(Hold::Evidence { missing: *missing }),
            Some(Evidence::Unavailable | Evidence::Against { .. }) | None => {
                Some(Hold::Evidence { missing: None })
            }
        }
    }

    /// Whether a step may end before its time: it wants to, and has the certificate and what else
    /// it asked for.
    pub(super) fn may_go_early(&self, index: usize, scored: u64) -> bool {
        let Some(Step::Shift(shift)) = self.spec.steps.get(index) else {
            return false;
        };
        let certified = self.seen.as_ref().is_some_and(|seen| seen.evidence == Evidence::Pass);
        shift.promote_early && certified && self.missing_evidence(index, scored).is_none()
    }

    fn health(&self) -> (GroupHealth, GroupHealth) {
        self.seen.as_ref().map(|seen| (seen.green, seen.blue)).unwrap_or_default()
    }

    /// Whether green may be raised now, as far as the standing holds go; nothing was seen means no.
    pub(super) fn may_raise(&self) -> bool {
        self.seen.is_some() && self.standing_holds().is_empty()
    }

    /// Whether a person took a cause upon themselves.
    pub(super) fn is_overridden(&self, cause: &Cause) -> bool {
        self.overridden.iter().any(|known| known.same_condition(cause))
    }

    /// Takes upon a person what speaks against green now.
    pub(super) fn override_causes(&mut self, command: &super::Command, out: &mut Effects) {
        let open = self.regression.take().map(|regression| regression.cause);
        for cause in open.into_iter().chain(self.conditions()) {
            if !self.is_overridden(&cause) {
                self.overridden.push(cause.clone());
                out.record_by(
                    Fact::RegressionOverridden { cause },
                    command.actor.clone(),
                    command.reason.clone(),
                );
            }
        }
    }

    /// Records which notable holds came and went since the last time.
    pub(super) fn record_holds(&mut self, out: &mut Effects) {
        let now: Vec<Hold> = self.holds().into_iter().filter(Hold::is_notable).collect();
        let before = std::mem::take(&mut self.recorded_holds);
        let within = |hold: &Hold, list: &[Hold]| list.iter().any(|other| other.same_hold(hold));
        for hold in before.iter().filter(|hold| !within(hold, &now)) {
            out.record(Fact::HoldEnded { hold: hold.clone() });
        }
        for hold in now.iter().filter(|hold| !within(hold, &before)) {
            out.record(Fact::HoldBegan { hold: hold.clone() });
        }
        self.recorded_holds = now;
    }
}

fn deadline_of(of: &str) -> Cause {
    Cause::Deadline { of: of.to_owned() }
}
