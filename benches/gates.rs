//! What gates cost: a call in each language, a load out of the cache, and the memory of many.
//!
//! A call is timed where it runs, on the gates' own thread: its parameters checked, a fresh store,
//! an instance, the evaluation, and the end of them all. Its caller waits for two queues more, which
//! is told as well and has no bar. Gates that were not built are said to be left out.
//!
//! Fails above a bar.

mod figures;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use criterion::Criterion;
use tempfile::TempDir;
use tidegate::clock::Clock;
use tidegate::core::model::{
    GateGrants, GateLimits, GateMode, GateSpec, GateStage, GateUse, OnGateError, ParamsText,
    ServiceName, Sha256, Side, Span, WallTime, Weight,
};
use tidegate::core::rollout::{GateAnswer, GateCall, TelemetryView};
use tidegate::gate::{
    CallCost, FetchError, Fetching, GateHost, GateHostParts, IncomingResponse, LoadedGate,
    MemoryState, OutgoingRequest, Outside, compile_gate,
};
use tikv_jemallocator::Jemalloc;

use figures::Figure;

/// The allocator of the binary: another one would take another amount of memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    // What compiles a component is this binary again, told to do that and nothing else.
    if let [_, command, folder, limits] = &args[..]
        && command == "compile-gate"
    {
        let limits = limits.to_str().expect("they are numbers");
        return ExitCode::from(compile_gate(Path::new(folder), limits));
    }
    let clock = Clock::start();
    // First, while nothing else has taken memory.
    let mut figures = vec![many(clock)];
    let house = House::start(clock);
    figures.push(cached_load(&house));
    let mut criterion = Criterion::default().configure_from_args();
    for guest in &GUESTS {
        match spec(&root().join(guest.component)) {
            Some(spec) => figures.extend(calls(&house, guest, &spec, &mut criterion)),
            None => tell_left_out(guest),
        }
    }
    criterion.final_summary();
    house.host.shutdown();
    figures::tell(&figures, 1.0);
    ExitCode::SUCCESS
}

/// The time of a call of a gate, and how long its caller waited: the medians.
fn calls(house: &House, guest: &Guest, spec: &GateSpec, criterion: &mut Criterion) -> [Figure; 2] {
    let gate = house.load(spec);
    // The first ones find pages that nobody has touched yet.
    for _ in 0..WARM_UP {
        house.ask(&gate);
    }
    let run = |each: u64| (0..each).map(|_| house.ask(&gate).ran).sum::<Duration>();
    criterion.bench_function(guest.name, |bencher| bencher.iter_custom(run));
    let asked: Vec<Took> = (0..CALLS).map(|_| house.ask(&gate)).collect();
    let micros = |times: Vec<Duration>| median(times).as_secs_f64() * 1e6;
    let ran = micros(asked.iter().map(|took| took.ran).collect());
    let waited = micros(asked.iter().map(|took| took.waited).collect());
    [
        Figure { name: guest.name, found: ran, unit: "µs", bar: Some(guest.most_us) },
        Figure { name: guest.waited, found: waited, unit: "µs", bar: None },
    ]
}

/// The time of a load of a component whose native code is in the cache: the median.
fn cached_load(house: &House) -> Figure {
    let spec = spec(&root().join(RUST)).expect("it is committed");
    house.load(&spec);
    let compiled = house.host.compilations();
    let load = |_| {
        house.host.unload(&spec.name, spec.sha256);
        let begun = house.clock.mono_us();
        house.load(&spec);
        Duration::from_micros(house.clock.mono_us() - begun)
    };
    let found = median((0..LOADS).map(load).collect()).as_secs_f64() * 1e3;
    assert_eq!(house.host.compilations(), compiled, "all came out of the cache");
    Figure { name: "load in Rust, out of the cache", found, unit: "ms", bar: Some(5.0) }
}

/// The memory that is taken by so many gates in Rust, each of another component.
fn many(clock: Clock) -> Figure {
    let house = House::start(clock);
    let good = fs::read(root().join(RUST)).expect("it is committed");
    let load = |number: u8| {
        let file = house.folder.path().join(format!("gate-{number}.wasm"));
        // A section of its own makes it another component.
        let bytes = [&good[..], &[0, 3, 1, b'x', number][..]].concat();
        fs::write(&file, bytes).expect("the folder can be written");
        house.load(&spec(&file).expect("it is there now"));
    };
    // What comes with the first one is the host's, and there only once.
    load(MANY);
    let before_kb = rss_kb();
    (0..MANY).for_each(load);
    let found = f64::from(rss_kb().saturating_sub(before_kb)) * 1_024.0 / 1e6;
    assert_eq!(house.host.list().len(), usize::from(MANY) + 1, "all are loaded");
    house.host.shutdown();
    Figure { name: "200 gates in Rust", found, unit: "MB", bar: Some(200.0) }
}

/// A host of gates, in a folder of its own.
struct House {
    host: GateHost,
    clock: Clock,
    heard: Arc<Heard>,
    folder: TempDir,
}

impl House {
    fn start(clock: Clock) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let heard = Arc::new(Heard::default());
        let host = GateHost::start(GateHostParts {
            clock,
            telemetry: Arc::new(Numbers),
            state: Arc::new(MemoryState::default()),
            cache: Some(folder.path().join("cache")),
            outside: heard.clone(),
        });
        Self { host: host.expect("a host starts"), clock, heard, folder }
    }

    fn load(&self, spec: &GateSpec) -> LoadedGate {
        let loaded = self.host.load(spec, Path::new(""));
        loaded.unwrap_or_else(|error| panic!("{}: {error}", spec.component))
    }

    /// Asks a gate, which passes.
    fn ask(&self, gate: &LoadedGate) -> Took {
        let (sender, receiver) = channel();
        let call = call(gate);
        let begun = self.clock.mono_us();
        self.host.ask(call, None, move |answer| {
            // The receiver is waiting below; it cannot have gone.
            let _ = sender.send(answer);
        });
        let answer = receiver.recv_timeout(PATIENCE).expect("an answer comes");
        let waited = Duration::from_micros(self.clock.mono_us() - begun);
        assert_eq!(answer, GateAnswer::Pass, "{}", gate.title);
        let ran = Duration::from_micros(self.heard.ran_us.load(Ordering::Relaxed));
        Took { ran, waited }
    }
}

/// What a call took.
struct Took {
    /// On the gates' thread.
    ran: Duration,
    /// Until its caller had the answer.
    waited: Duration,
}

/// A green with which every gate is content.
struct Numbers;

impl TelemetryView for Numbers {
    fn metric(&self, _: &ServiceName, _: Side, name: &str, _: Span) -> Option<f64> {
        match name {
            "requests" => Some(1_000.0),
            "error_rate" => Some(0.05),
            _ => None,
        }
    }
}

/// A world in which it is always noon of a working day, and what was heard of the last call.
#[derive(Debug, Default)]
struct Heard {
    ran_us: AtomicU64,
}

impl Outside for Heard {
    fn wall(&self) -> WallTime {
        WallTime::from_ms(FRIDAY_NOON_MS)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn fetch<'a>(&'a self, _: &'a OutgoingRequest) -> Fetching<'a> {
        Box::pin(async {
            Err::<IncomingResponse, _>(FetchError::Denied("there is no network".to_owned()))
        })
    }

    fn took(&self, cost: CallCost) {
        self.ran_us.store(cost.micros, Ordering::Relaxed);
    }
}

/// What the component in a file is loaded as, under the file's name; `None` if it is not there.
fn spec(file: &Path) -> Option<GateSpec> {
    let bytes = fs::read(file).ok()?;
    let name = file.file_stem().and_then(|stem| stem.to_str()).expect("it has a name");
    Some(GateSpec {
        name: name.parse().expect("it is one of a gate"),
        component: file.to_string_lossy().into_owned(),
        sha256: Sha256::of(&bytes),
        // The default would be too short for a machine that does other things as well.
        limits: GateLimits { deadline: Span::from_secs(5), ..GateLimits::default() },
        grants: GateGrants { clock: true, ..GateGrants::default() },
    })
}

fn call(gate: &LoadedGate) -> GateCall {
    let weight = Weight::from_bp(1_000).expect("10 % is a weight");
    GateCall {
        rollout: "d-ABCDEFGH1".parse().expect("it is an id"),
        service: "shop".parse().expect("it is a name"),
        gate: GateUse {
            gate: gate.name.clone(),
            at: vec![GateStage::DuringStep],
            params: ParamsText::from_canonical("{}"),
            on_error: OnGateError::Hold,
            every: Span::from_secs(10),
            mode: GateMode::Enforce,
            on_timeout: None,
        },
        digest: gate.digest,
        stage: GateStage::DuringStep,
        step: 0,
        attempt: 1,
        blue_revision: None,
        green_revision: "v2".parse().expect("it is a revision"),
        weight,
        next_weight: weight,
        elapsed: Span::from_secs(1),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Resident memory of this process in kilobytes.
fn rss_kb() -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("this process is alive");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("VmRSS is a number of kilobytes")
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn tell_left_out(guest: &Guest) {
    println!("{}: left out, `make plugins` builds {}", guest.name, guest.component);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A gate that is asked.
struct Guest {
    /// Of the time of its call.
    name: &'static str,
    /// Of the time that its caller waits.
    waited: &'static str,
    component: &'static str,
    /// The most that a call may take in microseconds.
    most_us: f64,
}

const GUESTS: [Guest; 4] = [
    Guest {
        name: "call in Rust",
        waited: "call in Rust, until its caller has the answer",
        component: RUST,
        most_us: 60.0,
    },
    Guest {
        name: "call in C",
        waited: "call in C, until its caller has the answer",
        component: "plugins/dist/minimum-traffic-c.wasm",
        most_us: 50.0,
    },
    Guest {
        name: "call in JavaScript",
        waited: "call in JavaScript, until its caller has the answer",
        component: "target/plugins/error-budget-js.wasm",
        most_us: 500.0,
    },
    Guest {
        name: "call in Python",
        waited: "call in Python, until its caller has the answer",
        component: "target/plugins/freeze-calendar-py.wasm",
        most_us: 3_000.0,
    },
];
const RUST: &str = "plugins/dist/error-budget.wasm";
/// How many gates are many; as a byte, it tells their components apart.
const MANY: u8 = 200;
const LOADS: usize = 100;
const WARM_UP: usize = 100;
const CALLS: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Of 13 March 2026.
const FRIDAY_NOON_MS: u64 = 1_773_403_200_000;
