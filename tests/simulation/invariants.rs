//! What must hold whatever happens. Each check names its invariant.

use std::fmt;

use tidegate::core::model::{AlarmState, Exposure, Now, Weight};
use tidegate::core::rollout::{
    Actor, Cause, Command, Effect, Event, Fact, Observation, Outcome, Rollout, Spec, StateName,
    Verb,
};

use crate::ledger::{Entry, Ledger};
use crate::store::Store;
use crate::table::Table;

/// An invariant that did not hold.
#[derive(Debug)]
pub(crate) struct Broken {
    invariant: &'static str,
    what: String,
}

impl Broken {
    /// Names it.
    pub(crate) fn of(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }

    /// Which it is.
    pub(crate) fn invariant(&self) -> &'static str {
        self.invariant
    }

    /// Names it unless it holds.
    pub(crate) fn unless(
        holds: bool,
        invariant: &'static str,
        what: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::of(invariant, what())) }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: {}", self.invariant, self.what)
    }
}

/// Watches one run.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) ledger: Ledger,
    /// Whether an alarm of the rollout was in ALARM when somebody last looked; `None` when nobody
    /// has since the process started.
    alarmed: Option<bool>,
    settled: bool,
    seq: u64,
    /// Whether a process crashed that knew the rollout to be over.
    was_over: bool,
    /// How many facts are stored for certain: the store confirmed them.
    confirmed: usize,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let ledger = Ledger::default();
        Self { ledger, alarmed: None, settled: true, seq: 0, was_over: false, confirmed: 0 }
    }

    /// Before an event is handled.
    pub(crate) fn event(&mut self, event: &Event, spec: &Spec, store: &Store) {
        match event {
            Event::Observed(seen) => self.alarmed = Some(is_alarmed(seen, spec)),
            Event::Settled => self.settled = true,
            Event::Saved { .. } => self.confirmed = store.facts().len(),
            Event::Ticked
            | Event::GateAnswered { .. }
            | Event::SaveFailed { .. }
            | Event::Restored { .. }
            | Event::Commanded(_) => {}
        }
    }

    /// After an event was handled, before anything is done: whatever is recorded is saved.
    pub(crate) fn effects(&mut self, effects: &[Effect]) -> Result<(), Broken> {
        let records = effects.iter().any(|effect| matches!(effect, Effect::Record { .. }));
        let saves = matches!(effects.last(), Some(Effect::Save { .. }));
        Broken::unless(!records || saves, "what is recorded is saved", || format!("{effects:?}"))?;
        for effect in effects {
            if let Effect::Save { seq } = effect {
                Broken::unless(*seq > self.seq, "the numbers of saves grow", || {
                    format!("{seq} after {}", self.seq)
                })?;
                self.seq = *seq;
            }
        }
        Ok(())
    }

    /// Before a table is put in force.
    pub(crate) fn expose(
        &self,
        (before, after): (Exposure, Exposure),
        store: &Store,
    ) -> Result<(), Broken> {
        let (green, blue) = (after.split.green(), after.split.blue());
        Broken::unless(green.bp() + blue.bp() == 10_000, "a split is the whole", || {
            format!("{after:?}")
        })?;
        if green <= before.split.green() {
            return Ok(());
        }
        let what = || format!("green rises to {green}");
        Broken::unless(self.settled, "green never rises while restarting", what)?;
        let calm = self.alarmed == Some(false) || (self.ledger.forced && self.alarmed.is_some());
        Broken::unless(calm, "green never rises against an alarm", what)?;
        let open = self.ledger.regression_open;
        Broken::unless(!open, "green never rises after a regression without an override", what)?;
        within_intention(green, store)
    }

    /// When a fact is recorded.
    pub(crate) fn record(
        &mut self,
        entry: &Entry,
        table: &Table,
        spec: &Spec,
    ) -> Result<(), Broken> {
        self.ledger.note(entry, spec)?;
        let made_up = !self.was_over
            && matches!(&entry.fact, Fact::Ended { cause: Some(Cause::TakenBackUnrecorded), .. });
        Broken::unless(!made_up, "nothing is taken for a rollback that was none", String::new)?;
        let (fact, green) = (&entry.fact, table.green());
        let wanted = if let Fact::GreenRaised { to, .. } | Fact::GreenLowered { to, .. } = fact {
            *to
        } else if let Fact::Ended { outcome, .. } = fact {
            match outcome {
                Outcome::Succeeded => Weight::FULL,
                Outcome::RolledBack | Outcome::Failed => Weight::ZERO,
                Outcome::Stopped => green,
            }
        } else {
            green
        };
        let fine = green == wanted;
        Broken::unless(fine, "the table says what is recorded", || format!("{fact:?} at {green}"))
    }

    /// When all effects of an event are done.
    pub(crate) fn rest(&self, rollout: &Rollout, table: &Table) -> Result<(), Broken> {
        let taken_back = match rollout.state().name() {
            StateName::RolledBack | StateName::Failed => true,
            StateName::Created
            | StateName::Installing
            | StateName::Testing
            | StateName::Ready
            | StateName::Shifting
            | StateName::Baking
            | StateName::Succeeded
            | StateName::Stopped => false,
        };
        let closed = table.green() == Weight::ZERO && !table.in_force().green_exists;
        Broken::unless(!taken_back || closed, "nobody sees green after a rollback", || {
            format!("{:?}", table.in_force())
        })?;
        let (said, wanted) = (table.in_force(), rollout.exposure());
        let seen = wanted.green_exists || wanted.split.green() > Weight::ZERO;
        // An end that keeps a split may be served less of it after a restart, never more.
        let ended = rollout.state().ending().is_some();
        let green = said.split.green() == wanted.split.green()
            || (ended && said.split.green() < wanted.split.green());
        let agrees = table.swapped()
            || green
                && said.green_exists == wanted.green_exists
                && (said.salt == wanted.salt || !seen);
        Broken::unless(agrees, "the table says what the rollout says", || {
            format!("{said:?} instead of {wanted:?}")
        })
    }

    /// When a process ends in the middle of its work; it may have known the rollout to be over.
    pub(crate) fn crash(&mut self, was_over: bool) {
        self.was_over |= was_over;
    }

    /// When a process starts with what is stored, and serves by a table.
    pub(crate) fn restart(
        &mut self,
        stored: &Rollout,
        table: Exposure,
        store: &Store,
    ) -> Result<(), Broken> {
        let facts = store.facts();
        let ordered = facts.windows(2).all(|pair| pair[0].id < pair[1].id);
        let kept = facts.len() >= self.confirmed;
        Broken::unless(ordered && kept, "no fact is lost that was confirmed", || {
            format!("{} confirmed, {} stored", self.confirmed, facts.len())
        })?;
        self.ledger = Ledger::default();
        for entry in facts {
            self.ledger.note(entry, stored.spec())?;
        }
        (self.alarmed, self.settled, self.seq) = (None, false, stored.seq());
        within_intention(table.split.green(), store)
    }
}

/// Write-ahead: the intention to come this far is stored.
fn within_intention(green: Weight, store: &Store) -> Result<(), Broken> {
    let intended = store
        .facts()
        .iter()
        .any(|entry| matches!(entry.fact, Fact::RaiseIntended { to, .. } if to == green));
    Broken::unless(
        intended || green == Weight::ZERO,
        "green never rises above the stored intention",
        || format!("to {green}"),
    )
}

fn is_alarmed(seen: &Observation, spec: &Spec) -> bool {
    let watched = |name| spec.alarms.iter().any(|alarm| alarm.name == name);
    seen.alarms.iter().any(|(name, state)| *state == AlarmState::Alarm && watched(name.clone()))
}

/// A person's abort: legal in every state but the last ones, and nothing stands before the table.
pub(crate) fn abort_goes_through(rollout: &Rollout, now: Now) -> Result<(), Broken> {
    if rollout.state().ending().is_some() {
        return Ok(());
    }
    let (after, effects) = rollout.clone().handle(Event::Commanded(abort()), now);
    let exposed = effects.iter().position(|effect| match effect {
        Effect::Expose(exposure) => {
            exposure.split.green() == Weight::ZERO && !exposure.green_exists
        }
        Effect::SwapRoles
        | Effect::Save { .. }
        | Effect::RunGate(_)
        | Effect::Record { .. }
        | Effect::Notify(_) => false,
    });
    let first = exposed.is_some_and(|place| {
        !effects[..place]
            .iter()
            .any(|effect| matches!(effect, Effect::Save { .. } | Effect::RunGate(_)))
    });
    let over = after.state().ending().is_some();
    Broken::unless(first && over, "an abort takes the traffic back at once", || {
        format!("{:?} by {effects:?}", after.state())
    })
}

/// What the table file knows as taken back stays so, whatever the store missed.
pub(crate) fn stays_taken_back(rollout: &Rollout, file: Exposure) -> Result<(), Broken> {
    let closed = file.split.green() == Weight::ZERO && !file.green_exists;
    let opened = file.salt == rollout.spec().salt;
    let over = rollout.state().ending().is_some();
    // Before green opens there is nothing to take back.
    let taken_back = closed && opened && rollout.exposure().green_exists;
    Broken::unless(over || !taken_back, "what was taken back stays so over a restart", || {
        format!("{:?}", rollout.state())
    })
}

/// The abort of somebody.
pub(crate) fn abort() -> Command {
    let actor = Actor { name: "sim".to_owned(), origin: "test".to_owned() };
    Command { verb: Verb::Abort, actor, reason: None }
}

/// Without time and news nothing happens: what an event leads to is done with that event.
pub(crate) fn stands_still(rollout: &Rollout, now: Now) -> Result<(), Broken> {
    let (after, effects) = rollout.clone().handle(Event::Ticked, now);
    let still = effects.is_empty() && after.state() == rollout.state();
    Broken::unless(still, "nothing happens without time or news", || format!("{effects:?}"))
}

/// An answer that nobody waits for, or a command that is refused, leaves nothing but its record.
pub(crate) fn changes_nothing(
    before: &Rollout,
    after: &Rollout,
    effects: &[Effect],
) -> Result<(), Broken> {
    let recorded = match effects {
        [Effect::Record { fact, .. }, Effect::Save { .. }] => {
            matches!(fact, Fact::AnswerDropped { .. } | Fact::CommandRefused { .. })
        }
        _ => false,
    };
    let same = before.state() == after.state()
        && before.exposure() == after.exposure()
        && before.regression() == after.regression()
        && before.holds() == after.holds();
    Broken::unless(recorded && same, "what is dropped or refused changes nothing", || {
        format!("{effects:?}, {:?}", after.state())
    })
}
