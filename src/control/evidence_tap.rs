//! The tap beside a rollout's comparison: what goes into the one goes into the recorder too.

use std::sync::Arc;

use crate::clock::Clock;
use crate::core::analysis::comparison::{Cells, Cohort, Comparator, Saved};
use crate::core::analysis::replay::{Cause, Head, Limit, Recorder, Stance};
use crate::core::analysis::{Drawn, Staying, Thresholds};
use crate::core::model::{MonoTime, Now, RolloutId, Span};
use crate::core::rollout::Spec;

use super::World;
use super::evidence_writer::{EvidenceWriter, LogState};

/// Records a comparison, or does nothing.
#[derive(Debug, Default)]
pub(super) struct Tap(Option<Box<Open>>);

/// A tap that records.
#[derive(Debug)]
struct Open {
    recorder: Recorder,
    writer: EvidenceWriter,
    clock: Clock,
    state: Arc<LogState>,
    era: u64,
    /// As it was written, without what the comparison went on from.
    head: Head,
    /// When bytes were given to the writer last.
    given: MonoTime,
}

/// How long evidence may wait for more of it.
const PATIENCE: Span = Span::from_secs(2);

impl Tap {
    /// A tap for a rollout whose comparison begins, or goes on from what was saved of it.
    fn open(
        (spec, longest): (&Spec, Span),
        (cause, saved): (Cause, Option<Saved>),
        writer: EvidenceWriter,
        (clock, now): (Clock, Now),
    ) -> Self {
        let head = Head {
            cause,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            rollout: spec.id.clone(),
            service: spec.service.clone(),
            terms: spec.analysis,
            longest,
            saved: None,
        };
        let (recorder, state) = (Recorder::new(Limit::default()), Arc::default());
        let mut open = Open { recorder, writer, clock, state, era: 0, head, given: now.mono };
        open.begin(now, cause, saved);
        Self(Some(Box::new(open)))
    }

    /// Whether anything is recorded.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn opened(&mut self, now: MonoTime, cohort: &Cohort, thresholds: &Thresholds) {
        if let Some(open) = &mut self.0 {
            open.recorder.opened(now, cohort, thresholds);
        }
    }

    pub(super) fn observed(&mut self, number: u64, cells: &Cells) {
        if let Some(open) = &mut self.0 {
            open.recorder.observed(number, cells);
        }
    }

    pub(super) fn drawn(&mut self, drawn: Drawn) {
        if let Some(open) = &mut self.0 {
            open.recorder.drawn(drawn);
        }
    }

    pub(super) fn folded(&mut self, comparator: &Comparator) {
        if let Some(open) = &mut self.0 {
            open.recorder.folded(comparator.oldest().map(|oldest| oldest.number));
        }
    }

    pub(super) fn accepted(&mut self, now: MonoTime, rearmed: bool) {
        if let Some(open) = &mut self.0 {
            open.recorder.accepted(now, rearmed);
        }
    }

    /// The comparison was evaluated, and calls for this now; and whether the burn rates of green
    /// and of blue page, and a target stays in that should be out.
    pub(super) fn evaluated(
        &mut self,
        now: MonoTime,
        targets: usize,
        shown: (Stance, [bool; 2], Staying),
        comparator: &Comparator,
    ) {
        if let Some(open) = &mut self.0 {
            open.evaluated(now, targets, shown, comparator);
        }
    }

    /// It changed whether a target stays in that should be out, and the comparison calls for this
    /// now.
    pub(super) fn stays(
        &mut self,
        now: MonoTime,
        (stance, staying): (Stance, Staying),
        comparator: &Comparator,
    ) {
        if let Some(open) = &mut self.0 {
            let looked = Some((stance, comparator.highest()));
            if open.recorder.stays(now, staying, looked) {
                open.give();
                open.given = now;
            }
        }
    }

    /// Burn rates were looked at, and the comparison calls for this now.
    pub(super) fn paged(
        &mut self,
        now: MonoTime,
        (stance, pages): (Stance, [bool; 2]),
        comparator: &Comparator,
    ) {
        if let Some(open) = &mut self.0 {
            let looked = Some((stance, comparator.highest()));
            if open.recorder.paged(now, pages, looked) {
                open.give();
                open.given = now;
            }
        }
    }
}

impl Open {
    fn begin(&mut self, now: Now, cause: Cause, saved: Option<Saved>) {
        // Which users were counted tells a replay nothing, and is large.
        let saved = saved.map(|saved| Box::new(saved.with_units(None)));
        let head = Head { cause, saved, ..self.head.clone() };
        self.recorder.begin(now, super::record::text(&head).as_bytes());
    }

    fn evaluated(
        &mut self,
        now: MonoTime,
        targets: usize,
        (stance, pages, staying): (Stance, [bool; 2], Staying),
        comparator: &Comparator,
    ) {
        let era = self.state.era();
        if era > self.era {
            // A disk that refuses is not asked ten times a second.
            if now.since(self.given) < PATIENCE {
                return;
            }
            // What waits is of no use without what is lost, and what was lost takes no room; from
            // here on the log is whole again.
            self.recorder = Recorder::new(Limit::default());
            self.recorder.grown(self.state.kept());
            self.era = era;
            let now = Now { wall: self.clock.wall(), mono: now };
            self.begin(now, Cause::Gap, Some(comparator.saved()));
        }
        let evidence = comparator.highest();
        // Known to the log already, unless it has just begun anew.
        self.recorder.paged(now, pages, None);
        self.recorder.stays(now, staying, None);
        let is_decision = self.recorder.evaluated(now, targets, stance, evidence);
        if is_decision || self.recorder.is_heavy() || now.since(self.given) >= PATIENCE {
            self.give();
            self.given = now;
        }
    }

    fn give(&mut self) {
        self.recorder.grown(self.state.kept());
        let bytes = self.recorder.take();
        if !bytes.is_empty() {
            self.writer.append(&self.head.rollout, (bytes, self.era), &self.state);
        }
    }
}

impl Drop for Open {
    /// The rollout is over, or the process ends: what is left is the end of the log.
    fn drop(&mut self) {
        self.give();
    }
}

impl World {
    /// Has the evidence of a rollout kept from now on, if it is compared and there is a place.
    pub(super) fn keep_evidence(&mut self, id: &RolloutId, cause: Cause, saved: Option<Saved>) {
        let Some(active) = self.rollouts.get(id) else {
            return;
        };
        let spec = Arc::clone(active.rollout.spec());
        if active.comparing.is_none() || self.evidence.folder().is_none() {
            return;
        }
        let from = (&*spec, self.longest_answer(&spec));
        let tap = Tap::open(from, (cause, saved), self.evidence.clone(), (self.clock, self.now));
        let active = self.rollouts.get_mut(id);
        if let Some(comparing) = active.and_then(|active| active.comparing.as_mut()) {
            comparing.record_with(tap);
        }
    }

    /// Removes the evidence of rollouts that nobody knows any more, after a start.
    pub(super) fn forget_old_evidence(&self) {
        let over = self.history.iter().map(|view| view.id.clone());
        self.evidence.keep_only(over.chain(self.rollouts.keys().cloned()).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::EvidenceOrders;
    use crate::core::analysis::Action;
    use crate::core::analysis::replay::{Happened, Reader};
    use crate::core::analysis::verdict::Word;
    use crate::store::EvidenceFolder;

    fn tap(writer: EvidenceWriter) -> Tap {
        let (recorder, state) = (Recorder::new(Limit::default()), Arc::default());
        let (clock, now) = (Clock::start(), Now::default());
        let head = Head::example();
        let mut open = Open { recorder, writer, clock, state, era: 0, head, given: now.mono };
        open.begin(now, Cause::Start, None);
        Tap(Some(Box::new(open)))
    }

    /// Evaluations in a row, each of which decides something else than the one before: what a log
    /// never waits with. Gives when something was to be written.
    fn asked(
        ticks: std::ops::RangeInclusive<u64>,
        tap: &mut Tap,
        (orders, folder): (&mut EvidenceOrders, &EvidenceFolder),
    ) -> Vec<u64> {
        let comparator = Comparator::new(Head::example().rules().expect("it is compared"));
        let mut asked = Vec::new();
        for tick in ticks {
            let verdict = if tick.is_multiple_of(2) { Word::Pass } else { Word::Insufficient };
            let stance = Stance {
                verdict,
                action: Action::None,
                split_is_wrong: false,
                one_target: false,
                stays: false,
                is_faulty: false,
            };
            let shown = (stance, [false; 2], Staying::default());
            tap.evaluated(MonoTime::from_ms(tick * 100), 1, shown, &comparator);
            if orders.carry_out(folder) > 0 {
                asked.push(tick * 100);
            }
        }
        asked
    }

    #[test]
    fn a_disk_that_refuses_is_asked_every_two_seconds_and_then_the_log_begins_anew() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("evidence");
        std::fs::write(&path, "in the way").expect("written");
        let folder = EvidenceFolder::new(&path);
        let (writer, mut orders) = EvidenceWriter::new(folder.clone());
        let mut tap = tap(writer);
        let refused = asked(1..=100, &mut tap, (&mut orders, &folder));
        assert_eq!(refused, [100, 2_100, 4_100, 6_100, 8_100]);
        std::fs::remove_file(&path).expect("removed");
        let taken = asked(101..=105, &mut tap, (&mut orders, &folder));
        assert_eq!(taken, [10_100, 10_200, 10_300, 10_400, 10_500], "as ever");

        let log = folder.read(&Head::example().rollout).expect("readable").expect("there is one");
        let (mut causes, mut decisions) = (Vec::new(), 0);
        for entry in Reader::new(&log) {
            match entry.expect("it is whole").happened {
                Happened::Begun(head) => {
                    let head: Head = serde_json::from_slice(head).expect("a head");
                    causes.push((head.cause, head.saved.is_some()));
                }
                Happened::Decided { .. } => decisions += 1,
                Happened::Folded
                | Happened::Opened(_)
                | Happened::Evaluated { .. }
                | Happened::Thresholds(_)
                | Happened::Accepted { .. }
                | Happened::Paged { .. }
                | Happened::Stays { .. }
                | Happened::Thinned
                | Happened::Full => {}
            }
        }
        assert_eq!(causes, [(Cause::Gap, true)], "with what the comparison had come to");
        assert_eq!(decisions, 5);
    }
}
