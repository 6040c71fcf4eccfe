//! Reading a log: what happened, one thing after the other.
//!
//! It is read in one pass, and needs no more memory for a long log than for a short one.

use std::collections::VecDeque;

use crate::core::analysis::Drawn;
use crate::core::analysis::comparison::{Cells, Cohort, Metric, MetricSet};
use crate::core::analysis::thresholds::{Threshold, Thresholds};
use crate::core::model::Weight;

use super::frames::Frames;
use super::recorder::{
    BLUE_PAGES, CELLS, DRAWN, FORMAT, GREEN_PAGES, IS_ACCEPTED, KIND_BITS, Kind, LOOKED,
    MOST_OPENED, STAYS, TARGETS,
};
use super::track::Track;
use super::wire::Bytes;
use super::{Stance, delta};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// When, in milliseconds since the log began.
    pub at_ms: u64,
    /// What.
    pub happened: Happened<'a>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened<'a> {
    /// Records begin, with this head as its writer wrote it down.
    Begun(&'a [u8]),
    /// What was settled was folded.
    Folded,
    /// A cohort opened.
    Opened(Cohort),
    /// Counters were read, and evaluated.
    Evaluated {
        /// How many targets green had.
        targets: usize,
        /// What the check of the split was told; `None` if it was nothing new.
        drawn: Option<Drawn>,
        /// The counters that changed, each with its cohort.
        cells: Vec<(u64, Cells)>,
        /// Whether blue had requests in the newest cohort.
        blue_arrives: bool,
    },
    /// What is slow from now on.
    Thresholds(Thresholds),
    /// A person accepted what held the weight, and the absolute processes were armed again or not.
    Accepted {
        /// Whether they were.
        rearmed: bool,
    },
    /// Whether burn rates page changed.
    Paged {
        /// Green's and blue's.
        pages: [bool; 2],
        /// Whether it was looked at once at what follows, and not with the next evaluation.
        looked: bool,
    },
    /// Whether a target stays in that should be out, as it is from now on; also told at the
    /// beginning of records, but not in logs of earlier releases.
    Stays {
        /// Since when, in milliseconds since the log began; `None` if none does.
        since_ms: Option<u64>,
        /// Whether a person had accepted what holds the weight.
        accepted: bool,
        /// Whether it was looked at once at what follows, and not with the next evaluation.
        looked: bool,
    },
    /// The comparison called for something else.
    Decided {
        /// For what.
        stance: Stance,
        /// Its largest evidence until then.
        evidence: f64,
    },
    /// From here on one evaluation a second was kept.
    Thinned,
    /// From here on nothing was kept.
    Full,
}

/// Why a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It does not begin as one.
    #[error("this is no log of evidence")]
    NoLog,
    /// Another release has written it.
    #[error("the log has format {found}, this release knows {supported}")]
    UnknownFormat {
        /// Its format.
        found: u64,
        /// The only format that this release can read.
        supported: u64,
    },
    /// A record is not what any recorder writes.
    #[error("the log is damaged after {at_ms} ms")]
    Damaged {
        /// The time of the last good record, in milliseconds since the log began.
        at_ms: u64,
    },
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader<'a> {
    frames: Frames<'a>,
    rest: Bytes<'a>,
    track: Track,
    /// What the last record said besides.
    waiting: VecDeque<Entry<'a>>,
    at_ms: u64,
    /// The wall clock at the beginning of the log; `None` before its first record.
    begun_ms: Option<u64>,
    /// Nothing follows.
    is_over: bool,
}

impl<'a> Reader<'a> {
    /// Reads from the beginning.
    #[must_use]
    pub fn new(log: &'a [u8]) -> Self {
        Self {
            frames: Frames::new(log),
            rest: Bytes(&[]),
            track: Track::default(),
            waiting: VecDeque::new(),
            at_ms: 0,
            begun_ms: None,
            is_over: false,
        }
    }

    /// Whether something follows what was read that was cut off; to be asked at the end.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.frames.is_torn()
    }

    fn record(&mut self) -> Result<(), LogError> {
        let damaged = LogError::Damaged { at_ms: self.at_ms };
        let first = self.rest.byte().ok_or(damaged)?;
        let kind = usize::from(first & ((1 << KIND_BITS) - 1));
        let kind = *Kind::ALL.get(kind).ok_or(damaged)?;
        if kind == Kind::Head {
            return self.head();
        }
        if self.begun_ms.is_none() {
            return Err(LogError::NoLog);
        }
        self.after_the_head(kind, first >> KIND_BITS).ok_or(damaged)
    }

    fn head(&mut self) -> Result<(), LogError> {
        let is_first = self.begun_ms.is_none();
        let damaged =
            if is_first { LogError::NoLog } else { LogError::Damaged { at_ms: self.at_ms } };
        let found = self.rest.number().ok_or(damaged)?;
        if found != FORMAT {
            return Err(LogError::UnknownFormat { found, supported: FORMAT });
        }
        let wall = self.rest.at_most(Track::LARGEST).ok_or(damaged)?;
        let begun = *self.begun_ms.get_or_insert(wall);
        // A clock that was set back does not turn the order round.
        self.at_ms = self.at_ms.max(wall.saturating_sub(begun));
        let length = self.rest.number().ok_or(damaged)?;
        let head = self.rest.take(length).ok_or(damaged)?;
        self.track = Track::default();
        self.tell(Happened::Begun(head));
        Ok(())
    }

    fn after_the_head(&mut self, kind: Kind, flags: u8) -> Option<()> {
        let later = self.rest.at_most(Track::LARGEST)?;
        let at_ms = self.at_ms.checked_add(later).filter(|at| *at <= Track::LARGEST)?;
        if matches!(kind, Kind::Thinned | Kind::Full) {
            self.tell(if kind == Kind::Full { Happened::Full } else { Happened::Thinned });
            return Some(());
        }
        self.at_ms = at_ms;
        self.before()?;
        match kind {
            Kind::Evaluated => self.evaluated(flags)?,
            Kind::Opened => {
                let cohort = self.cohort()?;
                self.track.open(cohort);
                self.tell(Happened::Opened(cohort));
            }
            Kind::Thresholds => {
                let mut thresholds = Thresholds::default();
                for threshold in &mut thresholds.each {
                    if self.rest.byte()? != 0 {
                        let (blue_us, green_us) = (self.rest.number()?, self.rest.number()?);
                        *threshold = Some(Threshold { blue_us, green_us });
                    }
                }
                self.tell(Happened::Thresholds(thresholds));
            }
            Kind::Paged => {
                let pages = [GREEN_PAGES, BLUE_PAGES].map(|side| flags & side != 0);
                self.tell(Happened::Paged { pages, looked: flags & LOOKED != 0 });
            }
            Kind::Stays => {
                let stays = flags & STAYS != 0;
                let length = if stays { self.rest.at_most(Track::LARGEST)? } else { 0 };
                let since_ms = stays.then(|| self.at_ms.saturating_sub(length));
                let [accepted, looked] = [IS_ACCEPTED, LOOKED].map(|flag| flags & flag != 0);
                self.tell(Happened::Stays { since_ms, accepted, looked });
            }
            Kind::Accepted => self.tell(Happened::Accepted { rearmed: flags & 1 != 0 }),
            Kind::Decided => {
                let stance = Stance::from_bytes([self.rest.byte()?, self.rest.byte()?])?;
                let evidence: [u8; 8] = self.rest.take(8)?.try_into().ok()?;
                let evidence = f64::from_le_bytes(evidence);
                self.tell(Happened::Decided { stance, evidence });
            }
            Kind::Head | Kind::Mark | Kind::Thinned | Kind::Full => {}
        }
        Some(())
    }

    /// What happened before a record: folding, then cohorts that opened in the ordinary way.
    fn before(&mut self) -> Option<()> {
        let before = self.rest.at_most(2 * MOST_OPENED + 1)?;
        if before % 2 == 1 {
            self.tell(Happened::Folded);
        }
        for _ in 0..before / 2 {
            let cohort = self.track.next()?;
            self.track.open(cohort);
            self.tell(Happened::Opened(cohort));
        }
        Some(())
    }

    fn evaluated(&mut self, flags: u8) -> Option<()> {
        if flags & TARGETS != 0 {
            self.track.targets = self.rest.at_most(u32::MAX.into())?;
        }
        let mut drawn = None;
        if flags & DRAWN != 0 {
            let weight = self.weight()?;
            let (green, total) = (self.rest.number()?, self.rest.number()?);
            drawn = (green <= total).then_some(Drawn { weight, green, total });
        }
        let mut cells = Vec::new();
        if flags & CELLS != 0 {
            let newest = self.track.newest?.number;
            for _ in 0..self.rest.at_most(Track::MOST_OPEN as u64)? {
                let number = newest.checked_sub(self.rest.number()?)?;
                let open = self.track.find(number)?;
                delta::read(&mut self.rest, &mut open.written)?;
                open.seen = open.written;
                cells.push((number, open.written));
            }
        }
        let targets = usize::try_from(self.track.targets).ok()?;
        let blue_arrives = self.track.blue_arrives();
        self.tell(Happened::Evaluated { targets, drawn, cells, blue_arrives });
        Some(())
    }

    fn cohort(&mut self) -> Option<Cohort> {
        let number = self.rest.at_most(Track::LARGEST)?;
        if self.track.newest.is_some_and(|newest| number <= newest.number) {
            return None;
        }
        let epoch = self.rest.at_most(Track::LARGEST)?;
        let step = self.rest.at_most(Track::LARGEST)?;
        let weight = self.weight().filter(|weight| *weight > Weight::ZERO)?;
        let bits = self.rest.byte()?;
        let held = Metric::ALL.into_iter().filter(|metric| bits & (1 << metric.index()) != 0);
        let dormant = held.fold(MetricSet::NONE, MetricSet::with);
        Some(Cohort { number, epoch, step, weight, dormant })
    }

    fn weight(&mut self) -> Option<Weight> {
        let bp = self.rest.at_most(u16::MAX.into())?;
        Weight::from_bp(u16::try_from(bp).ok()?).ok()
    }

    fn tell(&mut self, happened: Happened<'a>) {
        self.waiting.push_back(Entry { at_ms: self.at_ms, happened });
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Entry<'a>, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                return Some(Ok(entry));
            }
            if self.is_over {
                return None;
            }
            if self.rest.is_empty() {
                let Some(payload) = self.frames.next() else {
                    self.is_over = true;
                    // Nothing at all is no log either.
                    return self.begun_ms.is_none().then_some(Err(LogError::NoLog));
                };
                self.rest = Bytes(payload);
                continue;
            }
            if let Err(error) = self.record() {
                self.is_over = true;
                self.waiting.clear();
                return Some(Err(error));
            }
        }
    }
}
