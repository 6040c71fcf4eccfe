//! The recorder: every meter, and the way to them.
//!
//! Meters live in a table of fixed size whose slots are filled once and never emptied, so that the
//! request path finds its meter with one load and needs no lock, and no count is ever lost. When
//! the table is full, further keys share one overflow meter, which is exposed as such.
//!
//! A request is counted when it is over, which may be after its rollout and in the midst of the
//! next one. So green has a meter of its own for each of its *turns*: a rollout begins one, and
//! reads nothing but that. The turns of a group go round, and what they counted is told together; a
//! request would have to outlive as many rollouts as there are turns to be taken for a later one's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::core::analysis::{Counts, Observed, ObservedWindow};
use crate::core::model::{MonoTime, ServiceName, Side, TargetGroupName};
use crate::core::routing::MeterId;

use super::bell::Bell;
use super::copies::{Copies, MirrorOutcome, RetryKind};
use super::edge::{EdgeCounts, EdgeEvent};
use super::log::Log;
use super::meter::Meter;
use super::pressure::Pressure;
use super::reloads::Reloads;

/// What a meter counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeterKey {
    /// The service.
    pub service: ServiceName,
    /// The role at the time of the request.
    pub side: Side,
    /// The group that had the role.
    pub target_group: TargetGroupName,
}

/// How a request ended, as far as its target is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The target answered with this status.
    Status(u16),
    /// No connection to a target came to stand.
    ConnectError,
    /// The target did not answer in time.
    Timeout,
    /// The target broke off, or sent what is not HTTP.
    BrokenAnswer,
    /// The client went away before there was an answer; counted, and no failure of the target.
    ClientGone,
}

/// One finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub kind: OutcomeKind,
    /// From the request's header to the response's header, in microseconds; read for answers and
    /// timeouts alone.
    pub latency_us: u64,
    /// Whether the user was spared a failure: a second attempt was answered below 500.
    pub rescued: bool,
}

/// One of the turns of a service's green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn(u8);

/// Counts requests; shared by all threads.
#[derive(Debug)]
pub struct Recorder {
    meters: Box<[OnceLock<Box<Meter>>]>,
    overflow: Meter,
    edge: EdgeCounts,
    registry: Mutex<Registry>,
    /// Requests that should have been logged and were not.
    unlogged: AtomicU64,
    /// The process' own log; `None` if it has none.
    log: Option<Log>,
    pressure: Pressure,
    green_failed: Bell,
    reloads: Reloads,
}

#[derive(Debug, Default)]
struct Registry {
    /// How many slots of the table are filled.
    filled: usize,
    services: BTreeMap<ServiceName, ServiceMeters>,
}

#[derive(Debug, Default)]
struct ServiceMeters {
    meters: BTreeMap<(Side, TargetGroupName, u8), MeterId>,
    window: ObservedWindow,
    /// Green's present turn, below [`TURNS`].
    turn: u8,
}

impl Recorder {
    /// The most meters there are, ten for each service; keys beyond it share the overflow meter.
    pub const METERS: usize = 10_240;

    /// One that also tells what the process' own log drops; `None` if the process has none.
    #[must_use]
    pub fn beside(log: Option<Log>) -> Self {
        Self { log, ..Self::default() }
    }

    /// The meter of a key in the present turn, made at the first call; not for the request path.
    pub fn register(&self, key: &MeterKey) -> MeterId {
        let mut registry = self.registry();
        let known = registry.services.get(&key.service);
        let turn = known.map_or(0, |known| known.turn_of(key.side));
        let role = (key.side, key.target_group.clone(), turn);
        if let Some(id) = known.and_then(|known| known.meters.get(&role)) {
            return *id;
        }
        let Some(slot) = self.meters.get(registry.filled) else { return OVERFLOW };
        slot.get_or_init(|| Box::new(Meter::new()));
        let id = MeterId(u32::try_from(registry.filled).expect("there are few meters"));
        registry.filled += 1;
        registry.services.entry(key.service.clone()).or_default().meters.insert(role, id);
        id
    }

    /// Begins a turn of green: keys that are registered from now on have other meters, and what is
    /// still in flight of the turns before does not count for [`Self::present`].
    pub fn begin_turn(&self, service: &ServiceName) {
        let mut registry = self.registry();
        let meters = registry.services.entry(service.clone()).or_default();
        meters.turn = (meters.turn + 1) % TURNS;
    }

    /// The present turn of a service's green.
    #[must_use]
    pub fn turn(&self, service: &ServiceName) -> Turn {
        self.registry().services.get(service).map(|known| Turn(known.turn)).unwrap_or_default()
    }

    /// Counts a request that is given to green, and that [`Self::record`] is told of when it is
    /// over; lock-free, allocates nothing.
    pub fn begun(&self, meter: MeterId) {
        self.meter(meter).begin();
    }

    /// Counts a finished request; lock-free, allocates nothing.
    pub fn record(&self, meter: MeterId, outcome: Outcome) {
        self.meter(meter).count(outcome);
    }

    /// Counts something that happened at the edge; lock-free, allocates nothing.
    pub fn edge(&self, event: EdgeEvent) {
        self.edge.count(event);
    }

    /// How often something happened at the edge.
    #[must_use]
    pub fn edge_count(&self, event: EdgeEvent) -> u64 {
        self.edge.of(event)
    }

    /// Counts a second attempt, or one that was wanted; lock-free, allocates nothing.
    pub fn retried(&self, meter: MeterId, kind: RetryKind) {
        self.meter(meter).copies.retried(kind);
    }

    /// Counts a mirrored request on green's meter; lock-free, allocates nothing.
    pub fn mirrored(&self, meter: MeterId, outcome: MirrorOutcome) {
        self.meter(meter).copies.mirrored(outcome);
    }

    /// The further copies of requests that a meter counted so far.
    #[must_use]
    pub fn copies(&self, meter: MeterId) -> Copies {
        self.meter(meter).copies.snapshot()
    }

    /// The further copies of requests of every service, of all sides and turns.
    #[must_use]
    pub fn copies_by_service(&self) -> BTreeMap<ServiceName, Copies> {
        let mut all: BTreeMap<ServiceName, Copies> = BTreeMap::new();
        for (service, known) in &self.registry().services {
            let sum = all.entry(service.clone()).or_default();
            for id in known.meters.values() {
                sum.add(&self.copies(*id));
            }
        }
        all
    }

    /// Counts a failure after the headers of an answer; lock-free, allocates nothing.
    pub fn late_failure(&self, meter: MeterId) {
        self.meter(meter).count_late_failure();
    }

    /// The failures after headers of every service and side, of all turns.
    #[must_use]
    pub fn late_failures(&self) -> BTreeMap<(ServiceName, Side), u64> {
        let mut all: BTreeMap<(ServiceName, Side), u64> = BTreeMap::new();
        for (service, known) in &self.registry().services {
            for ((side, _, _), id) in &known.meters {
                let sum = all.entry((service.clone(), *side)).or_default();
                *sum += self.meter(*id).late_failures();
            }
        }
        all
    }

    /// Tells whoever waits in [`Self::green_failed`] that a failure of green was counted; allocates
    /// nothing, and is one atomic step until that was heard.
    pub fn tell_green_failed(&self) {
        self.green_failed.ring();
    }

    /// Resolves once a failure of green was counted since this was last waited for. For one task.
    pub async fn green_failed(&self) {
        self.green_failed.heard().await;
    }

    /// What a meter counted so far.
    #[must_use]
    pub fn snapshot(&self, meter: MeterId) -> Counts {
        self.meter(meter).snapshot()
    }

    /// What was counted under keys for which there was no meter left.
    #[must_use]
    pub fn overflow(&self) -> Counts {
        self.overflow.snapshot()
    }

    /// Counts lines of the access log that were dropped.
    pub fn add_unlogged(&self, lines: u64) {
        self.unlogged.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines of the access log that were dropped so far.
    #[must_use]
    pub fn unlogged(&self) -> u64 {
        self.unlogged.load(Ordering::Relaxed)
    }

    /// Lines of the process' own log that were dropped so far.
    #[must_use]
    pub fn log_lines_dropped(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::dropped)
    }

    /// Whether new work is refused for want of memory.
    #[must_use]
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// What the reloads of the configuration came to.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Every registered key, in order, with what it counted in all turns.
    #[must_use]
    pub fn meters(&self) -> Vec<(MeterKey, Counts)> {
        let mut all: BTreeMap<MeterKey, Counts> = BTreeMap::new();
        for (service, known) in &self.registry().services {
            for ((side, target_group, _), id) in &known.meters {
                let (side, target_group) = (*side, target_group.clone());
                let key = MeterKey { service: service.clone(), side, target_group };
                let sum = all.entry(key).or_default();
                *sum = sum.merge(&self.snapshot(*id));
            }
        }
        all.into_iter().collect()
    }

    /// What a side of a service counted so far, whichever group had the role in whichever turn.
    #[must_use]
    pub fn side(&self, service: &ServiceName, side: Side) -> Counts {
        let ids: Vec<MeterId> = match self.registry().services.get(service) {
            Some(known) => known.of_side(side).collect(),
            None => Vec::new(),
        };
        self.sum(&ids)
    }

    /// What a side of a service counted in the present turn: never what is left over of an earlier
    /// rollout.
    #[must_use]
    pub fn present(&self, service: &ServiceName, side: Side) -> Counts {
        let ids: Vec<MeterId> = match self.registry().services.get(service) {
            Some(known) => known.of_turn(side, known.turn_of(side)).collect(),
            None => Vec::new(),
        };
        self.sum(&ids)
    }

    /// What green of a service counted in a turn of its own, whichever group had the role.
    #[must_use]
    pub fn green_in(&self, service: &ServiceName, turn: Turn) -> Counts {
        let ids: Vec<MeterId> = match self.registry().services.get(service) {
            Some(known) => known.of_turn(Side::Green, turn.0).collect(),
            None => Vec::new(),
        };
        self.sum(&ids)
    }

    /// Moves the windows of observed weights on; to be called about once a second.
    pub fn tick(&self, now: MonoTime) {
        for service in self.registry().services.values_mut() {
            let requests =
                |side| service.of_side(side).map(|id| self.meter(id).requests()).sum::<u64>();
            let (blue, green) = (requests(Side::Blue), requests(Side::Green));
            service.window.observe(now, blue, green);
        }
    }

    /// The requests of a service in the last minute by side, as of the last tick; none for a
    /// service without a meter.
    #[must_use]
    pub fn observed(&self, service: &ServiceName) -> Observed {
        self.registry().services.get(service).map(|s| s.window.observed()).unwrap_or_default()
    }

    fn sum(&self, ids: &[MeterId]) -> Counts {
        ids.iter().fold(Counts::default(), |sum, id| sum.merge(&self.snapshot(*id)))
    }

    fn meter(&self, id: MeterId) -> &Meter {
        let slot = usize::try_from(id.0).ok().and_then(|slot| self.meters.get(slot));
        slot.and_then(OnceLock::get).map_or(&self.overflow, Box::as_ref)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing leaves a registry half changed, so that a panic elsewhere must not stop counting.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceMeters {
    fn of_side(&self, side: Side) -> impl Iterator<Item = MeterId> {
        self.meters.iter().filter(move |((s, _, _), _)| *s == side).map(|(_, id)| *id)
    }

    fn of_turn(&self, side: Side, turn: u8) -> impl Iterator<Item = MeterId> {
        let meters = self.meters.iter();
        meters.filter(move |((s, _, t), _)| (*s, *t) == (side, turn)).map(|(_, id)| *id)
    }

    /// The turn in which a side is; blue has one alone.
    fn turn_of(&self, side: Side) -> u8 {
        match side {
            Side::Blue => 0,
            Side::Green => self.turn,
        }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            meters: std::iter::repeat_with(OnceLock::new).take(Self::METERS).collect(),
            overflow: Meter::new(),
            edge: EdgeCounts::default(),
            registry: Mutex::default(),
            unlogged: AtomicU64::new(0),
            log: None,
            pressure: Pressure::default(),
            green_failed: Bell::default(),
            reloads: Reloads::default(),
        }
    }
}

/// How many turns a group has as green before its first one comes round again.
const TURNS: u8 = 4;
/// No slot of the table, and therefore the overflow meter.
const OVERFLOW: MeterId = MeterId(u32::MAX);

#[cfg(test)]
impl MeterKey {
    /// A key in short, of names that are valid.
    pub(crate) fn of(service: &str, side: Side, target_group: &str) -> Self {
        Self {
            service: service.parse().expect("valid"),
            side,
            target_group: target_group.parse().expect("valid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: OutcomeKind) -> Outcome {
        Outcome { kind, latency_us: 1_000, rescued: false }
    }

    #[test]
    fn a_key_has_one_meter_however_often_it_is_registered() {
        let recorder = Recorder::default();
        let (blue, green) =
            (MeterKey::of("shop", Side::Blue, "a"), MeterKey::of("shop", Side::Green, "b"));
        let id = recorder.register(&blue);
        assert_ne!(recorder.register(&green), id);
        assert_eq!(recorder.register(&blue), id);
        let keys: Vec<MeterKey> = recorder.meters().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [blue, green]);
    }

    #[test]
    fn every_kind_of_outcome_lands_in_its_place() {
        let recorder = Recorder::default();
        let id = recorder.register(&MeterKey::of("shop", Side::Blue, "a"));
        for status in [100, 200, 204, 301, 404, 503, 700, 99] {
            recorder.record(id, outcome(OutcomeKind::Status(status)));
        }
        for kind in [
            OutcomeKind::ConnectError,
            OutcomeKind::Timeout,
            OutcomeKind::BrokenAnswer,
            OutcomeKind::ClientGone,
        ] {
            recorder.record(id, outcome(kind));
        }
        let counts = recorder.snapshot(id);
        assert_eq!(counts.by_class, [1, 2, 1, 1, 3]);
        assert_eq!((counts.connect_errors, counts.timeouts), (1, 1));
        assert_eq!((counts.broken, counts.client_gone), (1, 1));
        assert_eq!((counts.requests(), counts.scored(), counts.failed()), (12, 11, 6));
        assert_eq!(counts.latency.iter().sum::<u64>(), 9);
        assert_eq!(counts.latency_sum_us, 9_000);
    }

    #[test]
    fn recording_allocates_nothing() {
        let recorder = Recorder::default();
        let id = recorder.register(&MeterKey::of("shop", Side::Blue, "a"));
        let seen = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(id))));
        assert_eq!(seen.count_total, 1, "allocations are seen at all");
        let allocated = allocation_counter::measure(|| {
            for latency_us in 0..1_000 {
                let kind = OutcomeKind::Status(200);
                recorder.record(id, Outcome { kind, latency_us, rescued: false });
                recorder.record(OVERFLOW, outcome(OutcomeKind::Timeout));
            }
        });
        assert_eq!(allocated.count_total, 0);
        assert_eq!(recorder.snapshot(id).requests(), 1_000);
    }

    #[test]
    fn concurrent_records_add_up() {
        let recorder = Recorder::default();
        let keys = [MeterKey::of("shop", Side::Blue, "a"), MeterKey::of("shop", Side::Green, "b")];
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (recorder, key) = (&recorder, &keys[thread % 2]);
                scope.spawn(move || {
                    let id = recorder.register(key);
                    for _ in 0..10_000 {
                        recorder.record(id, outcome(OutcomeKind::Status(200)));
                    }
                });
            }
        });
        for key in &keys {
            let counts = recorder.side(&key.service, key.side);
            assert_eq!(counts.by_class[1], 40_000);
            assert_eq!(counts.latency.iter().sum::<u64>(), 40_000);
        }
    }

    #[test]
    fn a_side_keeps_its_counts_when_roles_change_hands() {
        let recorder = Recorder::default();
        for (side, group) in [(Side::Green, "b"), (Side::Blue, "b"), (Side::Green, "a")] {
            let id = recorder.register(&MeterKey::of("shop", side, group));
            recorder.record(id, outcome(OutcomeKind::Status(200)));
        }
        let service = MeterKey::of("shop", Side::Blue, "a").service;
        assert_eq!(recorder.side(&service, Side::Green).requests(), 2);
        assert_eq!(recorder.side(&service, Side::Blue).requests(), 1);
    }

    #[test]
    fn a_turn_counts_nothing_of_the_turns_before_it_and_all_are_told_together() {
        let recorder = Recorder::default();
        let (blue, green) =
            (MeterKey::of("shop", Side::Blue, "a"), MeterKey::of("shop", Side::Green, "b"));
        let first = recorder.register(&green);
        let of_blue = recorder.register(&blue);
        recorder.begin_turn(&green.service);
        let second = recorder.register(&green);
        assert_ne!(second, first);
        assert_eq!(recorder.register(&blue), of_blue);
        recorder.record(first, outcome(OutcomeKind::Timeout));
        let present = || recorder.present(&green.service, Side::Green).requests();
        assert_eq!(present(), 0);
        recorder.record(second, outcome(OutcomeKind::Status(200)));
        recorder.record(of_blue, outcome(OutcomeKind::Status(200)));
        assert_eq!(present(), 1);
        assert_eq!(recorder.present(&green.service, Side::Blue).requests(), 1);
        assert_eq!(recorder.side(&green.service, Side::Green).requests(), 2);
        let told: Vec<u64> =
            recorder.meters().iter().map(|(_, counts)| counts.requests()).collect();
        assert_eq!(told, [1, 2]);
    }

    #[test]
    fn what_begins_in_a_turn_is_told_of_it_until_it_is_over_and_later() {
        let recorder = Recorder::default();
        let green = MeterKey::of("shop", Side::Green, "b");
        let (first, of) = (recorder.turn(&green.service), recorder.register(&green));
        (0..3).for_each(|_| recorder.begun(of));
        recorder.record(of, outcome(OutcomeKind::Status(200)));
        recorder.begin_turn(&green.service);
        assert_ne!(recorder.turn(&green.service), first);
        let told = |turn| {
            let counts = recorder.green_in(&green.service, turn);
            (counts.begun, counts.requests())
        };
        assert_eq!((told(first), told(recorder.turn(&green.service))), ((3, 1), (0, 0)));
        recorder.record(of, outcome(OutcomeKind::ClientGone));
        recorder.record(of, outcome(OutcomeKind::Timeout));
        assert_eq!(told(first), (3, 3));
        // Whose beginning nobody counted, it began all the same.
        let blue = recorder.register(&MeterKey::of("shop", Side::Blue, "a"));
        recorder.record(blue, outcome(OutcomeKind::Status(200)));
        assert_eq!(recorder.snapshot(blue).begun, 1);
    }

    #[test]
    fn turns_go_round_however_many_there_are() {
        let recorder = Recorder::default();
        let green = MeterKey::of("shop", Side::Green, "b");
        let meters: std::collections::BTreeSet<u32> = (0..1_000)
            .map(|_| {
                recorder.begin_turn(&green.service);
                recorder.register(&green).0
            })
            .collect();
        assert_eq!(meters.len(), usize::from(TURNS));
    }

    #[test]
    fn keys_beyond_the_last_meter_share_the_overflow_meter() {
        let recorder = Recorder::default();
        for i in 0..Recorder::METERS {
            recorder.register(&MeterKey::of(&format!("s{i}"), Side::Blue, "a"));
        }
        let (one, other) =
            (MeterKey::of("one", Side::Blue, "a"), MeterKey::of("other", Side::Blue, "a"));
        for key in [&one, &other] {
            recorder.record(recorder.register(key), outcome(OutcomeKind::Status(200)));
        }
        assert_eq!(recorder.overflow().requests(), 2);
        assert_eq!(recorder.meters().len(), Recorder::METERS);
        assert_eq!(recorder.side(&one.service, Side::Blue), Counts::default());
    }

    #[test]
    fn the_observed_weight_is_that_of_the_last_minute() {
        let recorder = Recorder::default();
        let blue = recorder.register(&MeterKey::of("shop", Side::Blue, "a"));
        let green = recorder.register(&MeterKey::of("shop", Side::Green, "b"));
        let service = MeterKey::of("shop", Side::Blue, "a").service;
        let at = |secs: u64| MonoTime::from_ms(secs * 1_000);
        recorder.record(green, outcome(OutcomeKind::Status(200)));
        recorder.tick(at(0));
        assert_eq!(recorder.observed(&service).green_share(), None);
        for _ in 0..3 {
            recorder.record(blue, outcome(OutcomeKind::Status(200)));
        }
        recorder.record(green, outcome(OutcomeKind::Timeout));
        recorder.tick(at(1));
        assert_eq!(recorder.observed(&service), Observed { green: 1, total: 4 });
        recorder.tick(at(61));
        assert_eq!(recorder.observed(&service), Observed::default());
        let unknown = MeterKey::of("other", Side::Blue, "a").service;
        assert_eq!(recorder.observed(&unknown), Observed::default());
    }
}
