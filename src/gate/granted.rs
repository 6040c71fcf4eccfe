//! The contract's imports as a guest sees them: what is granted, what is not, and how much of it.
//!
//! The guests are core modules in text form. All of them import everything that the contract has,
//! as those in JavaScript and Python do.

use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::bench::{Bench, everything, evidence, guest, patient};
use super::hostile::{PATIENCE, call};
use super::{FetchError, Fetching, IncomingResponse, Network, OutgoingRequest, Outside};
use crate::clock::Clock;
use crate::core::model::{GateGrants, GateLimits, HttpGrant, Span, WallTime};
use crate::core::rollout::{
    GateAnswer, GateErrorKind, GateEvidence, GateState as _, Heard, HeardAnswer,
};

/// A world in which it is always the same time, chance is zero, and answers are one text.
#[derive(Debug, Default)]
struct Fake {
    asked: Mutex<Vec<OutgoingRequest>>,
}

impl Outside for Fake {
    fn wall(&self) -> WallTime {
        WallTime::from_ms(12_345)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn fetch<'a>(&'a self, request: &'a OutgoingRequest) -> Fetching<'a> {
        self.asked.lock().expect("not poisoned").push(request.clone());
        Box::pin(async {
            Ok::<_, FetchError>(IncomingResponse {
                status: 200,
                headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
                body: "all is well".to_owned(),
            })
        })
    }
}

/// A body that fails with the text whose place and length are here.
fn says(place: u32, length: u32) -> String {
    format!(
        "(i32.store8 (i32.const 1028) (i32.const 1))
         (i32.store (i32.const 1032) (i32.load (i32.const {place})))
         (i32.store (i32.const 1036) (i32.load (i32.const {length})))
         (i32.const 1024)"
    )
}

/// A body that passes if something is so, and traps otherwise.
fn passes_if(condition: &str) -> String {
    format!("(if (i32.eqz {condition}) (then unreachable)) (i32.const 1024)")
}

/// Sends a request to the URL at 80, and fails with the body or the reason.
fn fetches(length: u32) -> String {
    format!(
        "{} (if (i32.load8_u (i32.const 3072))
             (then
                 (i32.store (i32.const 3200) (i32.load (i32.const 3084)))
                 (i32.store (i32.const 3204) (i32.load (i32.const 3088))))
             (else
                 (i32.store (i32.const 3200) (i32.load (i32.const 3088)))
                 (i32.store (i32.const 3204) (i32.load (i32.const 3092)))))
         {}",
        fetch(length),
        says(3_200, 3_204)
    )
}

fn fetch(length: u32) -> String {
    format!(
        "(call $fetch
             (i32.const 64) (i32.const 3) (i32.const 80) (i32.const {length})
             (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
             (i32.const 0) (i32.const 0) (i32.const 3072))"
    )
}

/// The length of the URL in [`guest`].
const URL: u32 = 33;

#[test]
fn what_is_not_granted_is_refused_with_the_key_that_would_grant_it() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let component = guest("(i32.const 1024)");
    let refused = bench.load(&component, GateGrants::default(), patient());
    let text = refused.expect_err("nothing is granted").to_string();
    for part in [
        "import `tidegate:gate/wall-clock@1.0.0` is not granted: write `grants: { clock: true }`",
        "import `tidegate:gate/random@1.0.0` is not granted: write `grants: { random: true }`",
        "import `tidegate:gate/http@1.0.0` is not granted: write `grants: { http: [{ host: … }] }`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let clock_alone = GateGrants { clock: true, ..GateGrants::default() };
    let text = bench.load(&component, clock_alone, patient()).expect_err("not all").to_string();
    assert!(!text.contains("wall-clock") && text.contains("random"), "{text}");
    assert!(bench.load(&component, everything(), patient()).is_ok());
}

#[test]
fn a_component_of_every_released_version_still_loads_and_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gates/released");
    let bench = Bench::with(Arc::new(Fake::default()));
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the folder") {
        let path = file.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let bytes = std::fs::read(&path).expect("readable");
            let gate = bench.load(&bytes, everything(), patient()).expect("it is promised");
            assert_eq!(bench.ask(&gate, Some(evidence())), GateAnswer::Pass, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn clock_and_chance_come_from_outside() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let check = |condition| assert_eq!(bench.answer_of(&passes_if(condition)), GateAnswer::Pass);
    check("(f64.eq (call $now) (f64.const 12345))");
    check("(f64.eq (call $number) (f64.const 0))");
    let bytes = "(call $bytes (i32.const 8) (i32.const 3072))";
    let eight = passes_if("(i32.eq (i32.load (i32.const 3076)) (i32.const 8))");
    assert_eq!(bench.answer_of(&format!("{bytes} {eight}")), GateAnswer::Pass);
    let many = "(call $bytes (i32.const 4097) (i32.const 3072)) (i32.const 1024)";
    let GateAnswer::Error { kind, text } = bench.answer_of(many) else { panic!("no limit") };
    assert_eq!(kind, GateErrorKind::Limit);
    assert!(text.contains("4096 permitted"), "{text}");
}

#[test]
fn a_request_that_is_granted_comes_back_with_its_answer() {
    let fake = Arc::new(Fake::default());
    let bench = Bench::with(fake.clone());
    assert_eq!(bench.words_of(&fetches(URL)), "all is well");
    let asked = fake.asked.lock().expect("not poisoned").clone();
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((asked.host.as_str(), asked.port, asked.is_https), ("api.example.com", 80, false));
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/health?a=b"));
    assert!(asked.timeout < Span::from_secs(5), "the gate still has to answer: {asked:?}");
}

#[test]
fn what_a_gate_was_told_is_taken_down_as_it_was_told() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let draws = "(call $bytes (i32.const 2) (i32.const 3072))";
    let gate = bench.load(&guest(&format!("{draws} {}", fetches(URL))), everything(), patient());
    let gate = gate.expect("a valid component");
    let (sender, receiver) = channel();
    let asked = call(&gate, "{}");
    bench.host.hear(asked.clone(), Some(evidence()), move |answer, hearing| {
        sender.send((answer, hearing)).expect("a test waits");
    });
    let (answer, hearing) = receiver.recv_timeout(PATIENCE).expect("an answer");
    assert_eq!(answer, GateAnswer::Fail { reason: "all is well".to_owned() });
    let hearing = *hearing.expect("it was asked");
    assert_eq!((hearing.call, hearing.at), (asked, WallTime::from_ms(12_345)));
    assert_eq!((hearing.limits, hearing.grants), (patient(), everything()));
    assert_eq!(hearing.evidence.as_ref().map(GateEvidence::from), Some(evidence()));
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    let body = "all is well".to_owned();
    let http = Heard::Http {
        request: "GET http://api.example.com/health?a=b".to_owned(),
        body: String::new(),
        answer: HeardAnswer::Response { status: 200, headers, body },
    };
    assert_eq!(hearing.heard, [Heard::Chance { bytes: "0000".to_owned() }, http]);
    assert_eq!(hearing.incomplete, None);
}

#[test]
fn a_request_that_is_not_granted_goes_nowhere() {
    let fake = Arc::new(Fake::default());
    let bench = Bench::with(fake.clone());
    // Cut off, it is another host.
    let words = bench.words_of(&fetches(URL - 14));
    assert!(words.contains("no grant is about api.example:"), "{words}");
    assert!(fake.asked.lock().expect("not poisoned").is_empty());
    let sixteen = fetch(URL).repeat(16);
    let words = bench.words_of(&format!("{sixteen} {}", fetches(URL)));
    assert!(words.contains("more than 16 requests"), "{words}");
    assert_eq!(fake.asked.lock().expect("not poisoned").len(), 16);
}

#[test]
fn a_request_that_is_not_answered_leaves_the_gate_time_to_say_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let bench = Bench::with(Arc::new(Network::new(Clock::start())));
    let url = format!("http://127.0.0.1:{port}/");
    let http = HttpGrant {
        host: format!("127.0.0.1:{port}").parse().expect("a host"),
        methods: vec!["GET".parse().expect("a method")],
        addresses: Vec::new(),
    };
    let grants = GateGrants { http: vec![http], ..everything() };
    let length = u32::try_from(url.len()).expect("short");
    let store: String = url
        .bytes()
        .zip(80..)
        .map(|(byte, at)| format!("(i32.store8 (i32.const {at}) (i32.const {byte}))"))
        .collect();
    let limits = GateLimits { deadline: Span::from_secs(1), ..GateLimits::default() };
    let gate = bench.load(&guest(&format!("{store} {}", fetches(length))), grants, limits);
    let answer = bench.ask(&gate.expect("a valid component"), None);
    let GateAnswer::Fail { reason } = answer else { panic!("{answer:?}") };
    assert!(reason.contains("no answer within"), "{reason}");
}

#[test]
fn telemetry_has_statuses_quantiles_and_the_evidence() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let check = |call: &str, condition: &str| {
        let answer = bench.answer_of(&format!("{call} {}", passes_if(condition)));
        assert_eq!(answer, GateAnswer::Pass, "{condition}");
    };
    let statuses =
        |side| format!("(call $statuses (i32.const {side}) (i32.const 1000) (i32.const 3072))");
    check(&statuses(0), "(i32.eqz (i32.load8_u (i32.const 3072)))");
    for (place, expected) in (0..7).zip(1..) {
        let at = 3_080 + 8 * place;
        check(
            &statuses(1),
            &format!("(f64.eq (f64.load (i32.const {at})) (f64.const {expected}))"),
        );
    }
    let quantile = |q| {
        format!("(call $quantile (i32.const 1) (f64.const {q}) (i32.const 1000) (i32.const 3072))")
    };
    check(&quantile("0.25"), "(f64.eq (f64.load (i32.const 3080)) (f64.const 25))");
    check(&quantile("1.5"), "(i32.eqz (i32.load8_u (i32.const 3072)))");
    let evidence = "(call $evidence (i32.const 3072))";
    for (at, expected) in [(3_096, 1.5), (3_104, 20.0), (3_112, 0.5), (3_128, 1.25), (3_144, 312.0)]
    {
        check(evidence, &format!("(f64.eq (f64.load (i32.const {at})) (f64.const {expected}))"));
    }
    check(evidence, "(i32.eq (i32.load (i32.const 3156)) (i32.const 1))");
    assert_eq!(bench.words_of(&format!("{evidence} {}", says(3_080, 3_084))), "insufficient");
    assert_eq!(
        bench.words_of(&format!("{evidence} {}", says(3_088, 3_092))),
        "not enough is known"
    );
}

#[test]
fn what_is_set_is_there_at_the_next_call_and_its_key_is_listed() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let set =
        "(call $set (i32.const 16) (i32.const 5) (i32.const 64) (i32.const 3) (i32.const 3072))";
    assert_eq!(bench.answer_of(&format!("{set} (i32.const 1024)")), GateAnswer::Pass);
    let (shop, gate) = ("shop".parse().expect("valid"), "gate".parse().expect("valid"));
    assert_eq!(bench.state.value(&shop, &gate, "hello"), Some("GET".to_owned()));
    let get = "(call $get (i32.const 16) (i32.const 5) (i32.const 3072))";
    assert_eq!(bench.words_of(&format!("{get} {}", says(3_076, 3_080))), "GET");
    let keys = "(call $keys (i32.const 3072))
        (i32.store (i32.const 3200) (i32.load (i32.load (i32.const 3072))))
        (i32.store (i32.const 3204) (i32.load offset=4 (i32.load (i32.const 3072))))";
    assert_eq!(bench.words_of(&format!("{keys} {}", says(3_200, 3_204))), "hello");
}

#[test]
fn a_hold_says_when_to_ask_again() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let hold = "(i32.store8 (i32.const 1028) (i32.const 2))
        (i32.store (i32.const 1032) (i32.const 16)) (i32.store (i32.const 1036) (i32.const 5))
        (i32.store8 (i32.const 1040) (i32.const 1)) (i32.store (i32.const 1044) (i32.const 1500))
        (i32.const 1024)";
    let retry_after = Some(Span::from_ms(1_500));
    let expected = GateAnswer::Hold { reason: "hello".to_owned(), retry_after };
    assert_eq!(bench.answer_of(hold), expected);
}

#[test]
fn every_limit_is_the_gates_own() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let check = |limits: GateLimits, evaluate: &str, kind, expected: &str| {
        let answer = bench.answer_within(evaluate, limits);
        let GateAnswer::Error { kind: found, text } = answer else { panic!("{answer:?}") };
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    let log = "(call $log (i32.const 1) (i32.const 16) (i32.const 5))";
    let answer = "(i32.const 1024)";
    let fuel = GateLimits { fuel: Some(100_000), ..patient() };
    let text = "more than 100000 units of fuel";
    check(fuel, "(loop $l (br $l)) unreachable", GateErrorKind::Limit, text);
    let log_bytes = GateLimits { log_bytes: 9, ..patient() };
    check(log_bytes, &format!("{log} {log} {answer}"), GateErrorKind::Limit, "9 bytes of log");
    let host_calls = GateLimits { host_calls: 2, ..patient() };
    let text = "more than 2 calls into the host";
    check(host_calls, &format!("{log} {log} {log} {answer}"), GateErrorKind::Limit, text);
    let response_bytes = GateLimits { response_bytes: 100, ..patient() };
    let long = "(call $log (i32.const 1) (i32.const 4096) (i32.const 200)) (i32.const 1024)";
    check(response_bytes, long, GateErrorKind::Limit, "more than 100 bytes handed to the host");
    let memory = GateLimits { memory_bytes: 64 << 10, ..patient() };
    let bytes = guest(answer);
    let refused = bench.load(&bytes, everything(), memory).expect_err("it needs two pages");
    assert!(refused.to_string().contains("65536 permitted"), "{refused}");
}

#[test]
fn one_gate_cannot_run_more_calls_at_once_than_it_may() {
    let bench = Bench::with(Arc::new(Fake::default()));
    let deadline = Span::from_ms(200);
    let limits = GateLimits { deadline, concurrent_calls: 1, ..GateLimits::default() };
    let forever = guest("(loop $l (br $l)) unreachable");
    let gate = bench.load(&forever, everything(), limits).expect("a valid component");
    let (sender, receiver) = channel();
    let clock = Clock::start();
    for _ in 0..3 {
        let sender = sender.clone();
        let reply = move |answer| sender.send(answer).expect("a test waits");
        bench.host.ask(call(&gate, "{}"), None, reply);
    }
    for _ in 0..3 {
        let answer = receiver.recv_timeout(PATIENCE).expect("an answer");
        let GateAnswer::Error { kind, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(kind, GateErrorKind::Deadline);
    }
    let took = clock.mono().ms();
    // Whole milliseconds, cut off at each end.
    assert!(took + 10 >= 3 * deadline.ms(), "one after the other, not in {took} ms");
}
