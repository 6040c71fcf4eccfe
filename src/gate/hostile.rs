//! The host against gates that are good, bad and hostile.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::guest::{guest, guest_with_schema, says};
use super::malice::{Malice, of_another_version, of_another_world, with_forbidden_import};
use super::{GateError, GateHost, GateHostParts, LoadedGate, MemoryState, Network};
use crate::clock::Clock;
use crate::core::model::{
    GateGrants, GateLimits, GateMode, GateSpec, GateStage, GateUse, HttpGrant, OnGateError,
    ParamsText, ServiceName, Sha256, Side, Span, Weight,
};
use crate::core::rollout::{GateAnswer, GateCall, GateErrorKind, TelemetryView};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Fixed numbers of green.
struct Numbers {
    requests: f64,
    error_rate: f64,
}

impl TelemetryView for Numbers {
    fn metric(&self, service: &ServiceName, side: Side, name: &str, window: Span) -> Option<f64> {
        assert_eq!(service.as_str(), "shop");
        assert_eq!((side, window), (Side::Green, Span::from_mins(1)));
        match name {
            "requests" => Some(self.requests),
            "error_rate" => Some(self.error_rate),
            _ => None,
        }
    }
}

struct Panicking;

impl TelemetryView for Panicking {
    fn metric(&self, _: &ServiceName, _: Side, _: &str, _: Span) -> Option<f64> {
        panic!("a fault in the host")
    }
}

/// Says that a gate is running.
struct Signal(Sender<()>);

impl TelemetryView for Signal {
    fn metric(&self, _: &ServiceName, _: Side, _: &str, _: Span) -> Option<f64> {
        self.0.send(()).expect("a test waits");
        None
    }
}

struct Bench {
    host: GateHost,
    folder: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        Self::with(Numbers { requests: 1_000.0, error_rate: 0.0 })
    }

    fn with(telemetry: impl TelemetryView + 'static) -> Self {
        let host = GateHost::start(GateHostParts {
            clock: Clock::start(),
            telemetry: Arc::new(telemetry),
            state: Arc::new(MemoryState::default()),
            cache: None,
            outside: Arc::new(Network::new(Clock::start())),
        });
        Self { host: host.expect("a host"), folder: tempfile::tempdir().expect("a directory") }
    }

    fn load(&self, bytes: &[u8]) -> Result<LoadedGate, GateError> {
        std::fs::write(self.folder.path().join("gate.wasm"), bytes).expect("writable");
        self.host.load(&spec("gate.wasm", Sha256::of(bytes)), self.folder.path())
    }

    fn load_good(&self) -> LoadedGate {
        self.load(&good()).expect("the committed component")
    }

    fn ask(&self, gate: &LoadedGate) -> GateAnswer {
        self.ask_with(gate, "{}")
    }

    fn ask_with(&self, gate: &LoadedGate, params: &str) -> GateAnswer {
        self.send(call(gate, params)).recv_timeout(PATIENCE).expect("an answer")
    }

    fn send(&self, call: GateCall) -> Receiver<GateAnswer> {
        let (sender, receiver) = channel();
        self.host.ask(call, None, move |answer| sender.send(answer).expect("a test waits"));
        receiver
    }

    /// Loads a gate with this body of `evaluate`, asks it, and sees that the host still answers.
    fn answer_of(&self, evaluate: &str) -> GateAnswer {
        let gate = self.load(&guest(evaluate)).expect("a valid component");
        let answer = self.ask(&gate);
        assert_eq!(self.ask(&self.load_good()), GateAnswer::Pass, "after {answer:?}");
        answer
    }

    fn error_of(&self, evaluate: &str) -> (GateErrorKind, String) {
        let answer = self.answer_of(evaluate);
        let GateAnswer::Error { kind, text } = answer else { panic!("{answer:?} is no error") };
        (kind, text)
    }
}

fn good() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed")
}

pub(super) fn spec(component: &str, sha256: Sha256) -> GateSpec {
    let name = "gate".parse().expect("valid");
    GateSpec {
        name,
        component: component.to_owned(),
        sha256,
        limits: limits(),
        grants: GateGrants::default(),
    }
}

/// The default limits with a deadline that an honest gate keeps on a busy machine.
fn limits() -> GateLimits {
    GateLimits { deadline: Span::from_ms(500), ..GateLimits::default() }
}

pub(super) fn call(gate: &LoadedGate, params: &str) -> GateCall {
    let weight = Weight::from_bp(1_000).expect("valid");
    GateCall {
        rollout: "d-ABCDEFGH1".parse().expect("valid"),
        service: "shop".parse().expect("valid"),
        gate: GateUse {
            gate: gate.name.clone(),
            at: vec![GateStage::DuringStep],
            params: ParamsText::from_canonical(params),
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
        green_revision: "v2".parse().expect("valid"),
        weight,
        next_weight: weight,
        elapsed: Span::from_secs(1),
    }
}

#[test]
fn the_committed_error_budget_passes_holds_and_fails() {
    let check = |requests, error_rate, expected: fn(&GateAnswer) -> bool| {
        let bench = Bench::with(Numbers { requests, error_rate });
        let gate = bench.load_good();
        assert_eq!((gate.title.as_str(), gate.version.as_str()), ("error-budget", "1.0.0"));
        let answer = bench.ask_with(&gate, r#"{"slo":99.9}"#);
        assert!(expected(&answer), "{answer:?}");
        bench.host.shutdown();
    };
    check(1_000.0, 0.0, |answer| *answer == GateAnswer::Pass);
    check(
        1_000.0,
        5.0,
        |answer| matches!(answer, GateAnswer::Fail { reason } if reason.contains("5.000%")),
    );
    check(
        99.0,
        5.0,
        |answer| matches!(answer, GateAnswer::Hold { reason, retry_after: None } if reason.contains("99")),
    );
    check(f64::NAN, 0.0, |answer| matches!(answer, GateAnswer::Hold { .. }));
}

#[test]
fn parameters_are_checked_before_the_gate_sees_them() {
    let bench = Bench::start();
    let gate = bench.load_good();
    let check = |params| bench.host.check_params(gate.digest, &ParamsText::from_canonical(params));
    assert!(check(r#"{"slo":99.9}"#).is_ok());
    let text = check(r#"{"slo":100,"sloo":1}"#).expect_err("two mistakes").to_string();
    assert!(text.contains("/slo: ") && text.contains("sloo"), "{text}");
    let GateAnswer::Error { kind, text } = bench.ask_with(&gate, r#"{"slo":100}"#) else {
        panic!("the gate was asked");
    };
    assert_eq!(kind, GateErrorKind::Unavailable);
    assert!(text.contains("/slo: "), "{text}");
    let unknown = bench.host.check_params(Sha256::of(b"?"), &ParamsText::default());
    assert!(matches!(unknown, Err(GateError::NotLoaded { .. })));
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let (kind, text) = Bench::start().error_of("(loop $l (br $l)) unreachable");
    assert_eq!((kind, text.as_str()), (GateErrorKind::Deadline, "no answer within 500ms"));
}

#[test]
fn a_trap_is_an_error_with_its_name() {
    let (kind, text) = Bench::start().error_of("unreachable");
    assert_eq!(kind, GateErrorKind::Trap);
    assert!(text.contains("unreachable"), "{text}");
}

#[test]
fn endless_recursion_is_a_trap() {
    let (kind, text) = Bench::start().error_of("(call $deeper (local.get 0))");
    assert_eq!(kind, GateErrorKind::Trap);
    assert!(text.contains("stack"), "{text}");
}

#[test]
fn memory_and_tables_beyond_the_limit_are_refused() {
    let bench = Bench::start();
    let (kind, text) =
        bench.error_of("(loop $l (drop (memory.grow (i32.const 16))) (br $l)) unreachable");
    assert_eq!(kind, GateErrorKind::Memory);
    assert!(text.contains("16777216 permitted"), "{text}");
    let (kind, text) = bench
        .error_of("(drop (table.grow $table (ref.null func) (i32.const 20000))) (i32.const 1024)");
    assert_eq!(kind, GateErrorKind::Memory);
    assert!(text.contains("20000 permitted"), "{text}");
}

#[test]
fn each_gate_of_the_hostile_set_comes_to_its_error_and_passes_the_fifth_time() {
    let bench = Bench::start();
    for malice in Malice::ALL {
        // Nobody listens there, which is told at once; then it waits.
        let component = malice.component("http://127.0.0.1:9/");
        std::fs::write(bench.folder.path().join("gate.wasm"), &component).expect("writable");
        let grants = match malice {
            Malice::SlowHostCall => GateGrants { http: vec![nobody()], ..GateGrants::default() },
            Malice::EndlessLoop
            | Malice::MemoryBomb
            | Malice::DeepRecursion
            | Malice::Trap
            | Malice::HugeAnswer
            | Malice::LogFlood
            | Malice::TableGrowth
            | Malice::StateFlood => GateGrants::default(),
        };
        let name = malice.name().parse().expect("a name");
        let spec = GateSpec { name, grants, ..spec("gate.wasm", Sha256::of(&component)) };
        let gate = bench.host.load(&spec, bench.folder.path()).expect("a valid component");
        for _ in 0..4 {
            let answer = bench.ask(&gate);
            let GateAnswer::Error { kind, text } = answer else { panic!("{malice:?}: {answer:?}") };
            assert_eq!(kind.as_str(), malice.error(), "{malice:?}: {text}");
        }
        assert_eq!(bench.ask(&gate), GateAnswer::Pass, "{malice:?}");
    }
}

/// A host to which requests are granted.
fn nobody() -> HttpGrant {
    HttpGrant {
        host: "127.0.0.1:9".parse().expect("a host"),
        methods: vec!["GET".parse().expect("a method")],
        addresses: Vec::new(),
    }
}

#[test]
fn floods_of_log_and_of_calls_into_the_host_are_ended() {
    let bench = Bench::start();
    let (kind, text) = bench.error_of(
        "(loop $l (call $log (i32.const 1) (i32.const 16) (i32.const 5)) (br $l)) unreachable",
    );
    assert_eq!(kind, GateErrorKind::Limit);
    assert!(text.contains("64 lines"), "{text}");
    let (kind, text) = bench.error_of(
        "(loop $l (call $get (i32.const 16) (i32.const 5) (i32.const 3000)) (br $l)) unreachable",
    );
    assert_eq!(kind, GateErrorKind::Limit);
    assert!(text.contains("1000 calls"), "{text}");
}

#[test]
fn a_reason_is_kept_within_bounds_and_a_huge_one_is_an_error() {
    let bench = Bench::start();
    let hello = bench.answer_of(&says(0, 8, 16, 5));
    assert_eq!(hello, GateAnswer::Fail { reason: "hello".to_owned() });
    let GateAnswer::Fail { reason } = bench.answer_of(&says(0, 8, 65_536, 100_000)) else {
        panic!("expected a fail");
    };
    assert!(reason.len() <= 1_024 && reason.chars().all(|c| !c.is_control()), "{reason:?}");
    let (kind, text) = bench.error_of(&says(0, 8, 65_536, 3_000_000));
    assert_eq!(kind, GateErrorKind::Limit);
    assert!(text.contains("1048576 bytes"), "{text}");
}

#[test]
fn an_error_that_a_gate_returns_is_its_own_kind() {
    let (kind, text) = Bench::start().error_of(&says(1, 4, 16, 5));
    assert_eq!((kind, text.as_str()), (GateErrorKind::Guest, "hello"));
}

#[test]
fn a_panic_in_the_host_is_an_answer_too() {
    let bench = Bench::with(Panicking);
    let gate = bench.load_good();
    for _ in 0..2 {
        let GateAnswer::Error { kind, text } = bench.ask(&gate) else { panic!("no panic") };
        assert_eq!(kind, GateErrorKind::Unavailable);
        assert!(text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_full_queue_answers_at_once_that_it_is_busy() {
    let bench = Bench::start();
    let gate = bench.load(&guest("(loop $l (br $l)) unreachable")).expect("valid");
    let replies: Vec<_> = (0..200).map(|_| bench.send(call(&gate, "{}"))).collect();
    let answers: Vec<_> = replies.iter().filter_map(|reply| reply.try_recv().ok()).collect();
    assert!(!answers.is_empty());
    for answer in answers {
        assert!(matches!(answer, GateAnswer::Error { kind: GateErrorKind::Busy, .. }));
    }
    bench.host.shutdown();
    for reply in replies {
        // Answered before, ended at the deadline, or refused by the shutdown: never left alone.
        match reply.recv() {
            Ok(GateAnswer::Error { kind, .. }) => {
                let expected = matches!(
                    kind,
                    GateErrorKind::Deadline
                        | GateErrorKind::Unavailable
                        | GateErrorKind::CircuitOpen
                );
                assert!(expected, "{kind:?}");
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
}

#[test]
fn a_gate_that_takes_its_time_leaves_places_for_others() {
    let bench = Bench::start();
    let good = bench.load_good();
    let bytes = guest("(loop $l (br $l)) unreachable");
    std::fs::write(bench.folder.path().join("gate.wasm"), &bytes).expect("writable");
    let limits = GateLimits { deadline: Span::from_secs(2), ..GateLimits::default() };
    let slow = GateSpec { limits, ..spec("gate.wasm", Sha256::of(&bytes)) };
    let slow = bench.host.load(&slow, bench.folder.path()).expect("valid");
    let replies: Vec<_> =
        (0..GateLimits::CONCURRENT_CALLS).map(|_| bench.send(call(&slow, "{}"))).collect();
    assert_eq!(bench.ask(&good), GateAnswer::Pass);
    assert!(replies.iter().all(|reply| reply.try_recv().is_err()), "it waited for the others");
    // They end at their deadline, or have no place any more.
    bench.host.shutdown();
}

#[test]
fn a_running_gate_comes_to_its_deadline_though_the_host_is_dropped() {
    let (sender, running) = channel();
    let bench = Bench::with(Signal(sender));
    let body =
        "(call $metric (i32.const 1) (i32.const 16) (i32.const 5) (i32.const 1) (i32.const 3000))
        (loop $l (br $l)) unreachable";
    let gate = bench.load(&guest(body)).expect("valid");
    let reply = bench.send(call(&gate, "{}"));
    running.recv_timeout(PATIENCE).expect("it runs");
    drop(bench.host);
    let answer = reply.recv_timeout(PATIENCE).expect("an answer");
    assert!(matches!(answer, GateAnswer::Error { kind: GateErrorKind::Deadline, .. }));
}

#[test]
fn a_gate_that_is_not_loaded_is_unavailable() {
    let bench = Bench::start();
    let gate = bench.load_good();
    assert_eq!(bench.host.list(), std::slice::from_ref(&gate));
    assert!(bench.host.unload(&gate.name, gate.digest));
    assert!(!bench.host.unload(&gate.name, gate.digest));
    let GateAnswer::Error { kind, .. } = bench.ask(&gate) else { panic!("it was asked") };
    assert_eq!(kind, GateErrorKind::Unavailable);
}

#[test]
fn what_is_no_gate_is_refused_with_the_reason() {
    let bench = Bench::start();
    let check = |bytes: &[u8], expected: &str| {
        let text = bench.load(bytes).expect_err(expected).to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains('\n'), "{text}");
    };
    check(&wat::parse_str("(module)").expect("valid"), "a core module, not a component");
    check(&good()[..30_000], "cut off or damaged");
    check(&good()[..6], "cut off");
    check(b"#!/bin/sh", "not a WebAssembly file");
    check(&of_another_world(), "export `describe` is missing");
    let text = "exports `evaluate`; wanted is the world `gate` of tidegate:gate@1.0.0";
    check(&of_another_world(), text);
    check(&with_forbidden_import(), "import `other:thing/clock@1.0.0` is not available");
    let text = "built for version 2.0.0 of the contract, this host offers version 1.0.0";
    check(&of_another_version(), text);
    check(&guest_with_schema(r#"{"$ref":"https://a.example/s"}"#, "unreachable"), "`$ref`");
    assert_eq!(bench.ask(&bench.load_good()), GateAnswer::Pass);
}

#[test]
fn a_file_with_another_digest_is_refused() {
    let bench = Bench::start();
    std::fs::write(bench.folder.path().join("gate.wasm"), good()).expect("writable");
    let pinned = spec("gate.wasm", Sha256::of(b"another"));
    let refused = bench.host.load(&pinned, bench.folder.path());
    assert!(matches!(refused, Err(GateError::Digest { .. })), "{refused:?}");
}

#[test]
fn compiled_components_are_kept_in_the_cache() {
    let folder = tempfile::tempdir().expect("a directory");
    let cache = folder.path().join("cache");
    let host = GateHost::start(GateHostParts {
        clock: Clock::start(),
        telemetry: Arc::new(Panicking),
        state: Arc::new(MemoryState::default()),
        cache: Some(cache.clone()),
        outside: Arc::new(Network::new(Clock::start())),
    })
    .expect("a host");
    std::fs::write(folder.path().join("gate.wasm"), good()).expect("writable");
    let pinned = spec("gate.wasm", Sha256::of(&good()));
    assert!(host.load(&pinned, folder.path()).is_ok());
    host.shutdown();
    assert!(cache.join("modules").is_dir());
}
