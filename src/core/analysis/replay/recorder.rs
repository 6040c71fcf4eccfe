//! The recorder: is told what the comparison is told, and gives bytes.

use crate::core::analysis::comparison::{Cells, Cohort, Metric, MetricSet};
use crate::core::analysis::thresholds::Thresholds;
use crate::core::analysis::{Drawn, Staying};
use crate::core::model::{MonoTime, Now};

use super::track::Track;
use super::wire::put;
use super::{Limit, Stance, delta, frames};

/// Records the evidence of one rollout.
///
/// Nothing that it is told is kept but what may still change, and what was not taken yet.
#[derive(Debug)]
pub struct Recorder {
    limit: Limit,
    /// Whole records that were not taken.
    out: Vec<u8>,
    /// How many bytes the log has besides.
    kept: u64,
    extent: Extent,
    track: Track,
    /// When the last record was.
    last: MonoTime,
    /// When the last evaluation was written; `None` before the first.
    evaluated: Option<MonoTime>,
    /// Folded since the last record.
    folded: bool,
    /// Cohorts that opened in the ordinary way since the last record.
    opened: u64,
    /// The check of the split was told this since the last evaluation.
    drawn: Option<Drawn>,
    thresholds: Option<Thresholds>,
    stance: Option<Stance>,
    /// Whether a cohort opened since an evaluation was written.
    is_open: bool,
    /// Whether the burn rates of green and of blue page, as the log has it.
    pages: [bool; 2],
    /// Whether a target stays in that should be out, as the log has it.
    staying: Staying,
}

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Nothing before a head.
    Nothing,
    /// Every evaluation.
    Exact,
    /// One a second.
    Thinned,
    /// Nothing any more.
    Full,
}

impl Recorder {
    /// Records nothing before its first [`begin`](Self::begin).
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            out: Vec::new(),
            kept: 0,
            extent: Extent::Nothing,
            track: Track::default(),
            last: MonoTime::default(),
            evaluated: None,
            folded: false,
            opened: 0,
            drawn: None,
            thresholds: None,
            stance: None,
            is_open: false,
            pages: [false; 2],
            staying: Staying::default(),
        }
    }

    /// Begins, or begins anew: what follows goes by this [`Head`](super::Head), written down by the
    /// caller. Cohorts from before are not told of any more.
    pub fn begin(&mut self, now: Now, head: &[u8]) {
        let mut record = vec![Kind::Head as u8];
        put(&mut record, FORMAT);
        put(&mut record, now.wall.ms());
        put(&mut record, head.len() as u64);
        record.extend_from_slice(head);
        self.track = Track::default();
        (self.folded, self.opened, self.drawn) = (false, 0, None);
        (self.thresholds, self.stance, self.evaluated) = (None, None, None);
        (self.pages, self.staying) = ([false; 2], Staying::default());
        self.last = now.mono;
        if self.extent == Extent::Nothing {
            self.extent = Extent::Exact;
        }
        self.write(&record);
        // Logs of earlier releases tell nothing of it, so that also that it is nothing is told.
        let record = self.record(Kind::Stays, 0, now.mono);
        self.write(&record);
        if self.extent == Extent::Thinned {
            // Every part says it of itself.
            self.write(&[Kind::Thinned as u8, 0]);
        }
    }

    /// A cohort opened with these thresholds.
    pub fn opened(&mut self, now: MonoTime, cohort: &Cohort, thresholds: &Thresholds) {
        if matches!(self.extent, Extent::Nothing | Extent::Full) {
            // What is not told of need not be remembered.
            return;
        }
        if self.thresholds.as_ref() != Some(thresholds) {
            self.thresholds = Some(*thresholds);
            let mut record = self.record(Kind::Thresholds, 0, now);
            for threshold in thresholds.each {
                record.push(u8::from(threshold.is_some()));
                if let Some(threshold) = threshold {
                    put(&mut record, threshold.blue_us);
                    put(&mut record, threshold.green_us);
                }
            }
            self.write(&record);
        }
        self.is_open = true;
        if self.track.next().as_ref() == Some(cohort) {
            self.track.open(*cohort);
            self.opened += 1;
            if self.opened >= MOST_OPENED {
                let record = self.record(Kind::Mark, 0, now);
                self.write(&record);
            }
            return;
        }
        let mut record = self.record(Kind::Opened, 0, now);
        put(&mut record, cohort.number);
        put(&mut record, cohort.epoch);
        put(&mut record, cohort.step);
        put(&mut record, cohort.weight.bp().into());
        record.push(bits(cohort.dormant));
        self.track.open(*cohort);
        self.write(&record);
    }

    /// The counters of an open cohort were read.
    pub fn observed(&mut self, number: u64, cells: &Cells) {
        if let Some(open) = self.track.find(number)
            && open.seen != *cells
        {
            open.seen = open.seen.later(cells);
        }
    }

    /// The check of the split was told what was drawn.
    pub fn drawn(&mut self, drawn: Drawn) {
        self.drawn = (self.track.drawn != Some(drawn)).then_some(drawn);
    }

    /// Everything that was read was evaluated, with so many targets of green: with what the
    /// comparison calls for now, and its largest evidence so far. Whether that is a decision: it
    /// calls for something else than before.
    pub fn evaluated(
        &mut self,
        now: MonoTime,
        targets: usize,
        stance: Stance,
        evidence: f64,
    ) -> bool {
        let is_decision = self.stance != Some(stance);
        let early = self.evaluated.is_some_and(|at| now.since(at) < Limit::THINNED);
        match self.extent {
            Extent::Nothing | Extent::Full => return false,
            Extent::Thinned if early && !is_decision => return false,
            Extent::Exact | Extent::Thinned => {}
        }
        (self.evaluated, self.is_open) = (Some(now), false);
        let record = self.evaluation(now, targets as u64);
        self.write(&record);
        if is_decision {
            self.decided(now, stance, evidence);
        }
        is_decision
    }

    /// Whether the burn rates of green and of blue page from now on; written if it is something
    /// else than before. `looked`: and at the same moment it was looked at what the comparison
    /// calls for, with its largest evidence so far; otherwise that is looked at with the next
    /// evaluation. Whether that is a decision.
    pub fn paged(
        &mut self,
        now: MonoTime,
        pages: [bool; 2],
        looked: Option<(Stance, f64)>,
    ) -> bool {
        if pages == self.pages || matches!(self.extent, Extent::Nothing | Extent::Full) {
            return false;
        }
        self.pages = pages;
        let mut flags = 0;
        for (is_set, flag) in
            [(pages[0], GREEN_PAGES), (pages[1], BLUE_PAGES), (looked.is_some(), LOOKED)]
        {
            flags |= if is_set { flag } else { 0 };
        }
        let record = self.record(Kind::Paged, flags, now);
        self.write(&record);
        self.looked(now, looked)
    }

    /// Whether a target that should be out stays in from now on; written if it is something else
    /// than before. `looked` and what is given are as in [`paged`](Self::paged).
    pub fn stays(
        &mut self,
        now: MonoTime,
        staying: Staying,
        looked: Option<(Stance, f64)>,
    ) -> bool {
        if staying == self.staying || matches!(self.extent, Extent::Nothing | Extent::Full) {
            return false;
        }
        self.staying = staying;
        let mut flags = 0;
        for (is_set, flag) in [
            (staying.since().is_some(), STAYS),
            (staying.is_accepted(), IS_ACCEPTED),
            (looked.is_some(), LOOKED),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        let mut record = self.record(Kind::Stays, flags, now);
        if let Some(since) = staying.since() {
            put(&mut record, now.since(since).ms());
        }
        self.write(&record);
        self.looked(now, looked)
    }

    /// What is settled was folded; `oldest` is the oldest cohort that is still open.
    pub fn folded(&mut self, oldest: Option<u64>) {
        if self.opened > 0 && self.extent == Extent::Exact {
            // Cohorts opened before; a record tells of both in the other order.
            let record = self.record(Kind::Mark, 0, self.last);
            self.write(&record);
        }
        // Of cohorts that opened since, nothing is told yet: folded now, they would be empty.
        self.folded |= self.extent == Extent::Exact || !self.is_open;
        self.track.forget_before(oldest.unwrap_or(0));
    }

    /// A person accepted what holds the weight, and the absolute processes were armed again or not.
    pub fn accepted(&mut self, now: MonoTime, rearmed: bool) {
        let record = self.record(Kind::Accepted, u8::from(rearmed), now);
        (self.track.drawn, self.drawn) = (None, None);
        self.staying.accept();
        self.write(&record);
    }

    /// How many bytes wait to be taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Whether so much waits that it should be taken at once.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.out.len() >= HEAVY
    }

    /// Takes what was recorded, to be appended to the log; empty if there is nothing.
    pub fn take(&mut self) -> Vec<u8> {
        if self.out.is_empty() {
            return Vec::new();
        }
        let framed = frames::frame(&std::mem::take(&mut self.out));
        self.kept += framed.len() as u64;
        framed
    }

    /// The log has so many bytes, of which this recorder may not have written all.
    pub fn grown(&mut self, kept: u64) {
        self.kept = self.kept.max(kept);
    }

    /// What the comparison calls for was looked at besides an evaluation; whether that is a
    /// decision.
    fn looked(&mut self, now: MonoTime, looked: Option<(Stance, f64)>) -> bool {
        let decision = looked.filter(|(stance, _)| self.stance != Some(*stance));
        if let Some((stance, evidence)) = decision {
            self.decided(now, stance, evidence);
        }
        decision.is_some()
    }

    fn decided(&mut self, now: MonoTime, stance: Stance, evidence: f64) {
        self.stance = Some(stance);
        let mut record = self.record(Kind::Decided, 0, now);
        record.extend_from_slice(&stance.to_bytes());
        record.extend_from_slice(&evidence.to_le_bytes());
        self.write(&record);
    }

    fn evaluation(&mut self, now: MonoTime, targets: u64) -> Vec<u8> {
        let newest = self.track.newest.map_or(0, |newest| newest.number);
        let drawn = self.drawn.take();
        let changed = self.track.changed().count() as u64;
        let mut flags = 0;
        for (is_set, flag) in [
            (targets != self.track.targets, TARGETS),
            (drawn.is_some(), DRAWN),
            (changed > 0, CELLS),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        let mut record = self.record(Kind::Evaluated, flags, now);
        if flags & TARGETS != 0 {
            put(&mut record, targets);
            self.track.targets = targets;
        }
        if let Some(drawn) = drawn {
            put(&mut record, drawn.weight.bp().into());
            put(&mut record, drawn.green);
            put(&mut record, drawn.total);
            self.track.drawn = Some(drawn);
        }
        if changed > 0 {
            put(&mut record, changed);
            for open in self.track.changed() {
                put(&mut record, newest.saturating_sub(open.number));
                delta::write(&mut record, &open.written, &open.seen);
                open.written = open.seen;
            }
        }
        record
    }

    /// The beginning of a record: what it is, when it was, and what happened before it.
    fn record(&mut self, kind: Kind, flags: u8, now: MonoTime) -> Vec<u8> {
        let mut record = vec![kind as u8 | (flags << KIND_BITS)];
        put(&mut record, now.since(self.last).ms());
        self.last = self.last.max(now);
        let opened = std::mem::take(&mut self.opened);
        let folded = std::mem::take(&mut self.folded);
        put(&mut record, 2 * opened + u64::from(folded));
        record
    }

    /// Adds a record, if there is room for it; if there is not, the log ends.
    fn write(&mut self, record: &[u8]) {
        if matches!(self.extent, Extent::Nothing | Extent::Full) {
            return;
        }
        let size = self.kept + (self.out.len() + record.len()) as u64 + frames::OVERHEAD;
        let fits = record.len() as u64 + self.out.len() as u64 <= frames::LONGEST;
        if size + ROOM > self.limit.most || !fits {
            self.extent = Extent::Full;
            self.out.extend_from_slice(&[Kind::Full as u8, 0]);
            return;
        }
        self.out.extend_from_slice(record);
        if self.extent == Extent::Exact && size > self.limit.exact {
            self.extent = Extent::Thinned;
            self.out.extend_from_slice(&[Kind::Thinned as u8, 0]);
        }
    }
}

/// What a record is, by its number in a log, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Head = 0,
    Evaluated = 1,
    Opened = 2,
    Mark = 3,
    Thresholds = 4,
    Accepted = 5,
    Decided = 6,
    /// The rest is one evaluation a second.
    Thinned = 7,
    /// There is no rest.
    Full = 8,
    Paged = 9,
    Stays = 10,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::Head,
        Self::Evaluated,
        Self::Opened,
        Self::Mark,
        Self::Thresholds,
        Self::Accepted,
        Self::Decided,
        Self::Thinned,
        Self::Full,
        Self::Paged,
        Self::Stays,
    ];
}

/// The metrics of a set as bits, the first in the lowest.
fn bits(set: MetricSet) -> u8 {
    let held = Metric::ALL.iter().filter(|metric| set.contains(**metric));
    held.map(|metric| 1 << metric.index()).sum()
}

/// The format that is written and read.
pub(super) const FORMAT: u64 = 1;
/// The lowest bits of a record's first byte are its kind.
pub(super) const KIND_BITS: u32 = 4;
pub(super) const TARGETS: u8 = 1;
pub(super) const DRAWN: u8 = 2;
pub(super) const CELLS: u8 = 4;
pub(super) const GREEN_PAGES: u8 = 1;
pub(super) const BLUE_PAGES: u8 = 2;
pub(super) const LOOKED: u8 = 4;
pub(super) const STAYS: u8 = 1;
pub(super) const IS_ACCEPTED: u8 = 2;
/// How many cohorts a record says to have opened before it, at most.
pub(super) const MOST_OPENED: u64 = 64;
/// For the records that say that there is no more.
const ROOM: u64 = 8;
/// 64 KiB.
const HEAVY: usize = 64 << 10;
