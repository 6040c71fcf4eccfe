//! The demo's two acts: a healthy revision that goes out, and a bad one that is taken back.
//!
//! Everything is asked of Tidegate as the admin API would ask it, and shown from what anybody can
//! see: the view, the ledger, and what the users of the load got.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::control::{
    Command, GroupRef, Handle, HealthView, Refusal, Reply, Request, StartRollout, View,
};
use crate::core::model::{MonoTime, Revision, RolloutId, ServiceName, Span};
use crate::core::rollout::{Actor, StateName};
use crate::store::LedgerQuery;

use super::cast::{Cast, Pair};
use super::configuration::{FIRST_GROUP, SERVICE};
use super::happening::Happening;
use super::pace::Pace;
use super::screen::Screen;
use super::status::{Seen, Status};
use super::summary::{ActReport, Summary};
use super::{DemoError, Load};

/// A demo under way.
pub(super) struct Story<'a> {
    handle: Handle,
    load: Load,
    clock: Clock,
    screen: Screen<'a>,
    service: ServiceName,
    beat: Interval,
    interrupts: Signal,
    pace: Pace,
    /// The last entry of the ledger that was told.
    told_seq: u64,
    act: u32,
    title: &'static str,
    rollout: Option<RolloutId>,
    gate: Option<String>,
    /// How often the gate has given a verdict in this act.
    verdicts: u64,
}

impl<'a> Story<'a> {
    /// A story that is about to begin; within a runtime.
    pub(super) fn new(
        handle: Handle,
        load: Load,
        clock: Clock,
        screen: Screen<'a>,
    ) -> Result<Self, DemoError> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let interrupts = signal(SignalKind::interrupt())
            .map_err(|error| DemoError::Io { what: "listening for Ctrl-C".to_owned(), error })?;
        Ok(Self {
            handle,
            load,
            clock,
            screen,
            service: SERVICE.parse().expect("the demo's service has a valid name"),
            beat,
            interrupts,
            pace: Pace::default(),
            told_seq: 0,
            act: 0,
            title: "",
            rollout: None,
            gate: None,
            verdicts: 0,
        })
    }

    /// Plays both acts; the second only if the first went well.
    pub(super) async fn play(mut self, cast: &Cast) -> Result<Summary, DemoError> {
        let began = self.clock.mono();
        self.begin("v2 is healthy and goes out");
        self.screen.say("Act 1: v1 serves; v2, which is healthy, is rolled out")?;
        let settled = |view: &View| view.health == HealthView::Settled;
        self.watch("targets are being probed", SETTLING, settled).await?;
        self.register(&cast.first).await?;
        let mut acts = vec![self.roll_out(&cast.good, StateName::Succeeded).await?];
        if acts.iter().all(|act| act.found == act.wanted) {
            self.begin("v3 is bad and is taken back");
            self.screen
                .say("Act 2: v2 serves; v3, which fails 30% of its requests, is rolled out")?;
            acts.push(self.roll_out(&cast.bad, StateName::RolledBack).await?);
        }
        self.pause(TAIL).await?;
        let report = self.load.stop().await;
        let took = self.clock.mono().since(began);
        Ok(Summary::new(acts, &report, cast.bad.revision, took.ms()))
    }

    fn begin(&mut self, title: &'static str) {
        self.act += 1;
        self.title = title;
        self.rollout = None;
        self.gate = None;
        self.verdicts = 0;
    }

    /// Tells Tidegate what serves at the beginning, as a deploy tool would have.
    async fn register(&self, pair: &Pair) -> Result<(), DemoError> {
        let group = FIRST_GROUP.parse().expect("the demo's group has a valid name");
        let command = Command::SetTargets {
            group: GroupRef::Named(group),
            targets: pair.targets(),
            revision: Some(revision(pair)),
        };
        self.send(command).await.map(drop)
    }

    async fn send(&self, command: Command) -> Result<Reply, DemoError> {
        let actor = Actor { name: "demo".to_owned(), origin: "demo".to_owned() };
        let request = Request { command, actor, reason: None, if_match: None };
        Ok(self.handle.send(request).await?)
    }

    /// One rollout from its start to its end, with some quiet before.
    async fn roll_out(&mut self, pair: &Pair, wanted: StateName) -> Result<ActReport, DemoError> {
        self.pause(LEAD).await?;
        let began = self.clock.mono();
        let start = StartRollout {
            service: self.service.clone(),
            revision: revision(pair),
            targets: Some(pair.targets()),
            strategy: None,
            description: self.title.to_owned(),
            ignore_alarms: Vec::new(),
            idempotency: None,
            draws: rand::random(),
            alarms: None,
        };
        let id = match self.send(Command::StartRollout(Box::new(start))).await? {
            Reply::Started { rollout } => rollout.id.clone(),
            Reply::Service { .. }
            | Reply::Rollout { .. }
            | Reply::Targets { .. }
            | Reply::AlarmPushed
            | Reply::AlertsHeard(_)
            | Reply::GateChanged
            | Reply::Reloaded(_) => return Err(DemoError::Start("no rollout was started".into())),
        };
        self.rollout = Some(id.clone());
        let state = |view: &View| view.rollouts.get(&id).map(|rollout| rollout.state);
        let over = |view: &View| state(view).is_some_and(StateName::is_terminal);
        self.watch("the rollout is under way", ACT, over).await?;
        let found = state(&self.handle.view()).unwrap_or(StateName::Failed);
        let took_ms = self.clock.mono().since(began).ms();
        let service = self.service.clone();
        let free = |view: &View| view.services.get(&service).is_some_and(|s| s.active.is_none());
        self.watch("the rollout's end is being saved", SETTLING, free).await?;
        let (revision, verdicts) = (pair.revision.to_owned(), self.verdicts);
        Ok(ActReport { revision, rollout: id, wanted, found, took_ms, verdicts })
    }

    /// Shows what goes on for a while.
    async fn pause(&mut self, length: Span) -> Result<(), DemoError> {
        let end = self.clock.mono().plus(length);
        while self.clock.mono() < end {
            self.show().await?;
        }
        Ok(())
    }

    /// Shows what goes on until something has come to pass.
    async fn watch(
        &mut self,
        meanwhile: &str,
        limit: Span,
        done: impl Fn(&View) -> bool,
    ) -> Result<(), DemoError> {
        let end: MonoTime = self.clock.mono().plus(limit);
        while !done(&self.handle.view()) {
            if self.clock.mono() >= end {
                return Err(self.too_long(meanwhile, limit));
            }
            self.show().await?;
        }
        Ok(())
    }

    fn too_long(&self, meanwhile: &str, limit: Span) -> DemoError {
        let view = self.handle.view();
        let rollout = self.rollout.as_ref().and_then(|id| view.rollouts.get(id));
        let holds = rollout.map(|rollout| {
            let holds: Vec<String> = rollout.holds.iter().map(ToString::to_string).collect();
            format!("; {}, holds: {}", rollout.state, holds.join("; "))
        });
        let what = format!("{meanwhile}{}", holds.unwrap_or_default());
        DemoError::TooLong { limit, what }
    }

    /// One beat: tells what is new in the ledger, and where everything stands.
    async fn show(&mut self) -> Result<(), DemoError> {
        tokio::select! {
            _ = self.beat.tick() => {}
            _ = self.interrupts.recv() => return Err(DemoError::Interrupted),
        }
        let query = LedgerQuery { after_seq: self.told_seq, ..LedgerQuery::default() };
        let at_ms = self.clock.mono().ms();
        for entry in self.handle.ledger(query).await? {
            self.told_seq = entry.seq;
            if let Some(happening) = Happening::of(&entry) {
                self.gate = happening.verdict().or(self.gate.take());
                self.verdicts += u64::from(happening.is_verdict());
                self.screen.happened(at_ms, &happening)?;
            }
        }
        let report = self.load.report();
        let seen = Seen {
            at_ms,
            act: self.act,
            title: self.title,
            rollout: self.rollout.as_ref(),
            gate: self.gate.as_deref(),
            report: &report,
            pace: self.pace.observe(self.clock.mono_us(), &report),
        };
        if let Some(status) = Status::of(&self.handle.view(), &self.service, &seen) {
            self.screen.status(&status)?;
        }
        Ok(())
    }
}

impl From<Refusal> for DemoError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

fn revision(pair: &Pair) -> Revision {
    pair.revision.parse().expect("the demo's revisions are valid")
}

/// How often it looks.
const BEAT: Duration = Duration::from_millis(100);
/// Traffic on blue alone before a rollout starts, and after the last one ended.
const LEAD: Span = Span::from_secs(3);
const TAIL: Span = Span::from_secs(3);
/// The longest that an act may take.
const ACT: Span = Span::from_secs(45);
/// The longest that probing and saving may take.
const SETTLING: Span = Span::from_secs(10);
