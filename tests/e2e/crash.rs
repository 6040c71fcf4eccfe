//! `kill -9` at any moment of a rollout: it goes on where it was, and never further than saved.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tempfile::TempDir;
use tidegate::admin::json::Service;
use tidegate::core::ledger::{Chain, Entry};
use tidegate::core::model::{TargetGroupName, Weight};
use tidegate::core::rollout::{Outcome, StateName};
use tidegate::store::{LedgerQuery, SqliteStore, Store as _};
use tokio::time::{Instant, sleep, sleep_until};

use crate::history::History;
use crate::kit::{
    Answers, Api, Dice, Home, Load, Origin, PATIENCE, Ports, Rate, Tidegate, Turn, report,
};

const KILLS: usize = 50;
/// How many of them must come in the middle of a rollout of each kind.
const KILLS_OF_EACH: usize = 25;
/// How long a process lives after it is ready. Two of three lives are long enough for the first
/// datapoint of an alarm with a period of a second, and most of them to get somewhere after it; the
/// others end while it still finds its feet.
const LIVES_MS: [Range<u64>; 3] = [0..100, 0..2_300, 0..2_300];
const RATE: Rate = Rate { per_second: 100, connections: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_end_as_they_should_although_the_process_is_killed_fifty_times() {
    let _turn = Turn::wait().await;
    let mut dice = Dice::seeded();
    let origins = Origins::start().await;
    let mut tidegate = Tidegate::start(|ports| config(ports, &origins)).await;
    let mut drills = [
        Drill::new("sound", Outcome::Succeeded, &tidegate),
        Drill::new("broken", Outcome::RolledBack, &tidegate),
    ];
    let mut saved = Saved::default();
    for _ in 0..KILLS {
        let life = LIVES_MS[usize::try_from(dice.of(0..3)).expect("small")].clone();
        live(&tidegate.api(), &mut drills, dice.of(life)).await;
        drills.iter().for_each(|drill| drill.load.expect_death());
        tidegate.kill().await;
        saved.read(tidegate.home()).await;
        drills.iter_mut().for_each(|drill| drill.killed(&saved));
        tidegate.restart().await;
        drills.iter().for_each(|drill| drill.load.expect_life());
    }
    let api = tidegate.api();
    for drill in &mut drills {
        drill.finish(&api).await;
    }
    let mut chain = Chain::new();
    for entry in api.ledger(None).await {
        chain.append(&entry).expect("the ledger is whole");
    }
    assert!(chain.head().seq >= saved.chain.head().seq);
    for drill in drills {
        drill.judge().await;
    }
}

/// Lets the process live, and watches it closely.
async fn live(api: &Api, drills: &mut [Drill], ms: u64) {
    let end = Instant::now() + Duration::from_millis(ms);
    loop {
        for drill in &mut *drills {
            drill.look(api).await;
        }
        let pause = Instant::now() + Duration::from_millis(15);
        if pause >= end {
            return sleep_until(end).await;
        }
        sleep_until(pause).await;
    }
}

/// The targets of both services. After a success the sound one's groups change roles, and both
/// are sound; the broken one's green is broken and stays green.
struct Origins {
    sound: [Origin; 2],
    broken: [Origin; 2],
}

impl Origins {
    async fn start() -> Self {
        let sound = [Origin::start("sound-a").await, Origin::start("sound-b").await];
        let broken = [Origin::start("broken-a").await, Origin::start("broken-b").await];
        broken[1].fail(5_000);
        Self { sound, broken }
    }
}

/// One service, rolled out again and again.
struct Drill {
    service: &'static str,
    /// How its rollouts end.
    expected: Outcome,
    load: Load,
    active: Option<Active>,
    ended: usize,
    /// Kills in the middle of a rollout, by the weight last seen.
    kills: BTreeMap<Weight, usize>,
    /// What the load had come to when this life began.
    before: Answers,
    /// The highest weight that was saved for a rollout of this life.
    bound: Weight,
    /// Green's answers in all lives, and how many of all answers could have been green's.
    green: u64,
    allowed: f64,
}

/// The rollout under way.
struct Active {
    id: String,
    blue: TargetGroupName,
    green: TargetGroupName,
    /// The weight in force, as last seen.
    weight: Weight,
    /// The highest that was seen.
    top: Weight,
}

impl Drill {
    fn new(service: &'static str, expected: Outcome, tidegate: &Tidegate) -> Self {
        Self {
            service,
            expected,
            load: Load::start(tidegate.public(), &format!("/{service}"), RATE),
            active: None,
            ended: 0,
            kills: BTreeMap::new(),
            before: Answers::default(),
            bound: Weight::ZERO,
            green: 0,
            allowed: 0.0,
        }
    }

    /// Looks at the service; starts the next rollout where one has ended.
    async fn look(&mut self, api: &Api) {
        let service = api.service(self.service).await;
        if let Some(active) = &mut self.active {
            if service.active_rollout.is_some() {
                active.weight = service.weights.in_force.green;
                active.top = active.top.max(active.weight);
                return;
            }
            self.ended(api, &service).await;
        }
        self.begin(api, &service).await;
    }

    async fn begin(&mut self, api: &Api, service: &Service) {
        assert_eq!(service.weights.in_force.green, Weight::ZERO, "{service:?}");
        match api.roll_out(service, &format!("v{}", self.ended)).await {
            Ok(rollout) => {
                self.active = Some(Active {
                    id: rollout.id.to_string(),
                    blue: service.blue.target_group.clone(),
                    green: service.green.target_group.clone(),
                    weight: Weight::ZERO,
                    top: Weight::ZERO,
                });
            }
            // What has ended the last one stands until its next datapoint.
            Err(problem) => assert_eq!(
                (problem.code.as_str(), self.expected),
                ("alarm_active", Outcome::RolledBack),
                "{problem:?}"
            ),
        }
    }

    /// The rollout is over: as expected, and by the rules.
    async fn ended(&mut self, api: &Api, service: &Service) {
        let active = self.active.take().expect("one is under way");
        let rollout = api.rollout(&active.id).await;
        let (mut state, mut blue, mut green) = (StateName::RolledBack, &active.blue, &active.green);
        if self.expected == Outcome::Succeeded {
            (state, blue, green) = (StateName::Succeeded, green, blue);
        }
        assert_eq!(rollout.state, state, "{rollout:?}");
        assert_eq!((&service.blue.target_group, &service.green.target_group), (blue, green));
        let history = History::read(&api.ledger(Some(&active.id)).await);
        history.assert_whole(self.expected);
        assert!(active.top <= history.intended(), "{} above {history:?}", active.top);
        self.bound = self.bound.max(history.intended());
        self.ended += 1;
    }

    /// The process was killed: what was seen of it must have been saved before.
    fn killed(&mut self, saved: &Saved) {
        if let Some(active) = &mut self.active {
            let history = History::read(&saved.about(&active.id));
            assert!(active.top <= history.intended(), "{} above {history:?}", active.top);
            self.bound = self.bound.max(history.intended());
            *self.kills.entry(active.weight).or_default() += 1;
        }
        self.count_answers();
        self.bound = Weight::ZERO;
    }

    /// Adds a life's answers to those of the lives before.
    fn count_answers(&mut self) {
        let now = self.load.answers();
        let green = now.green - self.before.green;
        let all = green + now.blue - self.before.blue;
        if self.bound == Weight::ZERO {
            assert_eq!(green, 0, "{}: green answers without a weight", self.service);
        }
        self.green += green;
        self.allowed += all as f64 * f64::from(self.bound.bp()) / 10_000.0;
        self.before = now;
    }

    /// Waits for the end of the rollout under way, and starts no other.
    async fn finish(&mut self, api: &Api) {
        let deadline = Instant::now() + PATIENCE;
        while self.active.is_some() {
            let service = api.service(self.service).await;
            match &mut self.active {
                Some(active) if service.active_rollout.is_some() => {
                    active.top = active.top.max(service.weights.in_force.green);
                }
                Some(_) | None => self.ended(api, &service).await,
            }
            assert!(Instant::now() < deadline, "{}: the last one does not end", self.service);
            sleep(Duration::from_millis(20)).await;
        }
        self.count_answers();
    }

    /// What all of it has come to.
    async fn judge(self) {
        let (answers, _) = self.load.stop().await;
        let kills: usize = self.kills.values().sum();
        report(&format!(
            "{}: {} rollouts, {kills} kills at {:?}, {} green answers of {:.0} allowed",
            self.service,
            self.ended,
            self.kills.iter().map(|(w, n)| format!("{w}: {n}")).collect::<Vec<_>>(),
            self.green,
            self.allowed
        ));
        assert_eq!(answers.failed, 0, "{:?}", answers.failures);
        if self.expected == Outcome::Succeeded {
            assert_eq!(answers.errors, 0);
        }
        assert!(kills >= KILLS_OF_EACH, "{}: only {kills} kills", self.service);
        assert!(self.ended >= 2, "{}: only {} rollouts", self.service, self.ended);
        // Five standard deviations of the draws.
        let most = self.allowed + 5.0 * self.allowed.sqrt();
        assert!(self.green as f64 <= most, "{} green answers, {most:.0} allowed", self.green);
    }
}

/// What the store had saved at the last kill.
#[derive(Default)]
struct Saved {
    chain: Chain,
    entries: Vec<Entry>,
}

impl Saved {
    /// Reads the ledger of a process that is dead, from a copy of its store; nothing that was
    /// saved at an earlier kill may be missing or changed.
    async fn read(&mut self, home: &Home) {
        let copy = TempDir::new().expect("a folder");
        for name in ["tidegate.db", "tidegate.db-wal"] {
            let file = home.path().join(name);
            if file.exists() {
                std::fs::copy(file, copy.path().join(name)).expect("copied");
            }
        }
        let store = SqliteStore::open(copy.path().join("tidegate.db")).await.expect("it opens");
        loop {
            let after_seq = self.chain.head().seq;
            let query = LedgerQuery { after_seq, ..LedgerQuery::default() };
            let page = store.ledger(query).await.expect("it can be read");
            if page.is_empty() {
                return;
            }
            for entry in page {
                self.chain.append(&entry).expect("the ledger is whole");
                self.entries.push(entry);
            }
        }
    }

    fn about(&self, rollout: &str) -> Vec<Entry> {
        let of = |entry: &&Entry| entry.rollout.as_ref().is_some_and(|id| id.as_str() == rollout);
        self.entries.iter().filter(of).cloned().collect()
    }
}

fn config(ports: &Ports, origins: &Origins) -> String {
    let Ports { public, admin } = ports;
    let [sound_a, sound_b] = origins.sound.each_ref().map(Origin::address);
    let [broken_a, broken_b] = origins.broken.each_ref().map(Origin::address);
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/dist/error-budget.wasm");
    let sha256 = digest();
    let common = "    health_check: { path: /healthz, interval: 100ms, timeout: 5s, healthy_after: 2, unhealthy_after: 5 }
    strategy: three-steps
    tell_side: true
    gates:
      - { gate: error-budget, at: [before-step], params: { slo: 95, max_burn: 2, window_ms: 1000, min_requests: 1, on_no_data: pass } }
";
    let own = "own: { metric: error_rate, side: green }, above: 5%, datapoints: 1 of 1, period: 1s";
    format!(
        "\
listeners:
  - name: public
    address: '{public}'
    rules:
      - {{ match: {{ path_prefix: /sound }}, service: sound }}
      - {{ match: {{ path_prefix: /broken }}, service: broken }}
target_groups:
  sound-a: {{ targets: ['{sound_a}'] }}
  sound-b: {{ targets: ['{sound_b}'] }}
  broken-a: {{ targets: ['{broken_a}'] }}
  broken-b: {{ targets: ['{broken_b}'] }}
services:
  sound:
    target_groups: [sound-a, sound-b]
    alarms: [errors-if-any]
{common}
  broken:
    target_groups: [broken-a, broken-b]
    alarms: [errors]
{common}
strategies:
  three-steps:
    steps:
      - {{ weight: 20%, bake: 300ms }}
      - {{ weight: 50%, bake: 300ms }}
      - {{ weight: 100%, bake: 200ms }}
alarms:
  errors: {{ {own} }}
  errors-if-any: {{ {own}, on_insufficient: ignore }}
gates:
  error-budget: {{ component: {component}, sha256: {sha256}, limits: {{ deadline: 1s }} }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}

/// The digest that was committed with the component.
fn digest() -> String {
    let sums = include_str!("../../plugins/dist/SHA256SUMS");
    let line = sums.lines().find(|line| line.ends_with("error-budget.wasm")).expect("listed");
    line.split(' ').next().expect("a digest").to_owned()
}
