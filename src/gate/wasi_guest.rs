//! A guest that sends its requests through `wasi:http`, against the host as a whole.
//!
//! It is `plugins/endpoint-check`, which is built with the library that anybody would take.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use super::bench::{Bench, patient};
use super::both_ways::{API, Written, granted};
use super::hostile::{PATIENCE, call};
use super::{FetchError, LoadedGate, Network};
use crate::clock::Clock;
use crate::core::model::{GateLimits, Span};
use crate::core::rollout::{GateAnswer, GateErrorKind, Heard, HeardAnswer};

/// The gate that is built with the `wasi` library.
fn endpoint_check() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("plugins/dist/endpoint-check.wasm")).expect("committed")
}

fn check(bench: &Bench, host: &str, limits: GateLimits) -> LoadedGate {
    bench.load(&endpoint_check(), granted(host), limits).expect("a valid component")
}

fn ask(bench: &Bench, gate: &LoadedGate, params: &Value) -> GateAnswer {
    let (sender, receiver) = channel();
    let reply = move |answer| sender.send(answer).expect("a test waits");
    bench.host.ask(call(gate, &params.to_string()), None, reply);
    receiver.recv_timeout(PATIENCE).expect("an answer")
}

#[test]
fn a_guest_of_the_usual_library_asks_and_is_answered() {
    let written = Written::well();
    let bench = Bench::with(written.clone());
    let gate = check(&bench, "api.example.com", patient());
    let params = json!({
        "url": API, "method": "POST", "body": r#"{"a":1}"#, "headers": { "x-token": "secret" },
        "contains": "is well",
    });
    assert_eq!(ask(&bench, &gate, &params), GateAnswer::Pass);
    let asked = written.asked();
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(asked.line(), format!("POST {API}"));
    assert_eq!(asked.body, r#"{"a":1}"#);
    assert!(asked.headers.contains(&("x-token".to_owned(), "secret".to_owned())), "{asked:?}");
}

#[test]
fn a_guest_of_the_usual_library_is_told_why_there_is_no_answer() {
    let answer = |outcome, params: &Value| {
        let written = Written::with(outcome);
        let bench = Bench::with(written.clone());
        let gate = check(&bench, "api.example.com", patient());
        (ask(&bench, &gate, params), written.asked().len())
    };
    let down = Err(FetchError::Unreachable("nobody is there".to_owned()));
    let (failed, asked) = answer(down, &json!({ "url": API }));
    let GateAnswer::Fail { reason } = failed else { panic!("{failed:?}") };
    assert!(reason.contains("DestinationUnavailable") && asked == 1, "{reason}");
    let well = || Written::well().outcome.clone();
    let (elsewhere, asked) = answer(well(), &json!({ "url": "http://evil.example.com/" }));
    let GateAnswer::Error { kind, text } = elsewhere else { panic!("{elsewhere:?}") };
    assert_eq!((kind, asked), (GateErrorKind::Guest, 0), "{text}");
    assert!(text.contains("HttpRequestDenied"), "{text}");
    let (method, asked) = answer(well(), &json!({ "url": API, "method": "DELETE" }));
    assert!(matches!(method, GateAnswer::Error { kind: GateErrorKind::Guest, .. }) && asked == 0);
}

#[test]
fn what_a_guest_of_the_usual_library_is_told_is_taken_down() {
    let bench = Bench::with(Written::well());
    let gate = check(&bench, "api.example.com", patient());
    let ((sender, receiver), params) = (channel(), json!({ "url": API }));
    bench.host.hear(call(&gate, &params.to_string()), None, move |answer, hearing| {
        sender.send((answer, hearing)).expect("a test waits");
    });
    let (answer, hearing) = receiver.recv_timeout(PATIENCE).expect("an answer");
    assert_eq!(answer, GateAnswer::Pass);
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    let body = "all is well".to_owned();
    let http = Heard::Http {
        request: format!("GET {API}"),
        body: String::new(),
        answer: HeardAnswer::Response { status: 200, headers, body },
    };
    let hearing = *hearing.expect("it was asked");
    assert_eq!((hearing.heard, hearing.incomplete), (vec![http], None));
}

#[test]
fn calls_into_wasi_are_calls_into_the_host() {
    let written = Written::well();
    let bench = Bench::with(written);
    let limits = GateLimits { host_calls: 5, ..patient() };
    let gate = check(&bench, "api.example.com", limits);
    let answer = ask(&bench, &gate, &json!({ "url": API }));
    let GateAnswer::Error { kind, text } = answer else { panic!("{answer:?}") };
    assert_eq!(kind, GateErrorKind::Limit);
    assert!(text.contains("more than 5 calls into the host"), "{text}");
}

#[test]
fn a_guest_that_waits_for_an_answer_in_vain_can_still_say_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let bench = Bench::with(Arc::new(Network::new(Clock::start())));
    let limits = GateLimits { deadline: Span::from_secs(1), ..patient() };
    let gate = check(&bench, &format!("127.0.0.1:{port}"), limits);
    let url = format!("http://127.0.0.1:{port}/");
    let answer = ask(&bench, &gate, &json!({ "url": url, "timeout_ms": 10_000 }));
    let GateAnswer::Fail { reason } = answer else { panic!("{answer:?}") };
    assert!(reason.contains("HttpResponseTimeout"), "{reason}");
}
