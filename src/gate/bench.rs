//! For tests: a host with one gate, which may have everything that the contract has.

use std::sync::Arc;
use std::sync::mpsc::channel;

use super::guest::{WIT, component_of};
use super::hostile::{PATIENCE, call, spec};
use super::{GateError, GateHost, GateHostParts, LoadedGate, MemoryState, Outside};
use crate::clock::Clock;
use crate::core::model::{
    GateGrants, GateLimits, GateSpec, HttpGrant, ServiceName, Sha256, Side, Span,
};
use crate::core::rollout::{GateAnswer, GateEvidence, GateMetric, GateStatuses, TelemetryView};

/// Green's numbers, each another one.
struct Numbers;

impl TelemetryView for Numbers {
    fn metric(&self, _: &ServiceName, _: Side, _: &str, _: Span) -> Option<f64> {
        Some(1.0)
    }

    fn statuses(&self, _: &ServiceName, side: Side, _: Span) -> Option<GateStatuses> {
        (side == Side::Green).then_some(GateStatuses {
            by_class: [1, 2, 3, 4, 5],
            no_answer: 6,
            client_gone: 7,
        })
    }

    fn latency(&self, _: &ServiceName, _: Side, q: f64, _: Span) -> Option<f64> {
        Some(q * 100.0)
    }
}

/// A host with one gate.
pub(super) struct Bench {
    pub(super) host: GateHost,
    pub(super) state: Arc<MemoryState>,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(super) fn with(outside: Arc<dyn Outside>) -> Self {
        let state = Arc::new(MemoryState::default());
        let host = GateHost::start(GateHostParts {
            clock: Clock::start(),
            telemetry: Arc::new(Numbers),
            state: state.clone(),
            cache: None,
            outside,
        });
        let folder = tempfile::tempdir().expect("a directory");
        Self { host: host.expect("a host"), state, folder }
    }

    pub(super) fn load(
        &self,
        bytes: &[u8],
        grants: GateGrants,
        limits: GateLimits,
    ) -> Result<LoadedGate, GateError> {
        std::fs::write(self.folder.path().join("gate.wasm"), bytes).expect("writable");
        let spec = spec("gate.wasm", Sha256::of(bytes));
        self.host.load(&GateSpec { limits, grants, ..spec }, self.folder.path())
    }

    pub(super) fn ask(&self, gate: &LoadedGate, evidence: Option<GateEvidence>) -> GateAnswer {
        let (sender, receiver) = channel();
        let reply = move |answer| sender.send(answer).expect("a test waits");
        self.host.ask(call(gate, "{}"), evidence, reply);
        receiver.recv_timeout(PATIENCE).expect("an answer")
    }

    /// The answer of a gate that may do everything.
    pub(super) fn answer_of(&self, evaluate: &str) -> GateAnswer {
        self.answer_within(evaluate, patient())
    }

    pub(super) fn answer_within(&self, evaluate: &str, limits: GateLimits) -> GateAnswer {
        let gate = self.load(&guest(evaluate), everything(), limits).expect("a valid component");
        self.ask(&gate, Some(evidence()))
    }

    /// What it says where it fails.
    pub(super) fn words_of(&self, evaluate: &str) -> String {
        let answer = self.answer_of(evaluate);
        let GateAnswer::Fail { reason } = answer else { panic!("{answer:?} has no words") };
        reason
    }
}

pub(super) fn evidence() -> GateEvidence {
    let metric = GateMetric { name: "errors".to_owned(), blue: (9, 1), green: (8, 2), share: 1.0 };
    GateEvidence {
        verdict: "insufficient",
        reason: "not enough is known".to_owned(),
        evidence: 1.5,
        needed: 20.0,
        p_value: 0.5,
        lower_bound: Some(1.25),
        missing: Some(312),
        metrics: vec![metric],
    }
}

/// The default limits with a deadline that an honest gate keeps on a busy machine.
pub(super) fn patient() -> GateLimits {
    GateLimits { deadline: Span::from_secs(5), ..GateLimits::default() }
}

/// All that the contract has, and one host.
pub(super) fn everything() -> GateGrants {
    let http = HttpGrant {
        host: "api.example.com".parse().expect("a host"),
        methods: vec!["GET".parse().expect("a method")],
        addresses: Vec::new(),
    };
    GateGrants { clock: true, random: true, http: vec![http] }
}

/// The component of version 1.0.0 with another body of `evaluate`.
pub(super) fn guest(evaluate: &str) -> Vec<u8> {
    let text = include_str!("../../tests/gates/released/1.0.0.wat");
    let (head, _) = text.split_once("  (func (export \"evaluate\")").expect("it is there");
    let head = head.replace("http://localhost:1/", "http://api.example.com/health?a=b");
    let evaluate = format!("(func (export \"evaluate\") (param i32) (result i32) {evaluate})");
    component_of(WIT, "gate-with-all", &format!("{head}{evaluate})"))
}
