//! Requests through `fetch` and through `wasi:http`: the same is permitted, the same goes out, and
//! the same is taken down.
//!
//! Here the host is asked as a guest's code would ask it; `wasi_guest.rs` has the guest.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttpView as _};

use super::bench::{Bench, patient};
use super::bindings::tidegate::gate::http::{self as own, Host as _};
use super::guest::component_of;
use super::imports::{CallData, Subject, Views};
use super::{
    FetchError, Fetching, IncomingResponse, MemoryState, Network, OutgoingRequest, Outside,
};
use crate::clock::Clock;
use crate::core::model::{GateGrants, GateLimits, HttpGrant, ServiceName, Side, Span, WallTime};
use crate::core::rollout::{Heard, Incomplete, TelemetryView};
use crate::promql::{Fake, Script};

pub(super) const API: &str = "http://api.example.com/health?a=b";

struct Nothing;

impl TelemetryView for Nothing {
    fn metric(&self, _: &ServiceName, _: Side, _: &str, _: Span) -> Option<f64> {
        None
    }
}

/// A world in which every request comes to the same.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) outcome: Result<IncomingResponse, FetchError>,
    asked: Mutex<Vec<OutgoingRequest>>,
    logged: Mutex<Vec<String>>,
}

impl Written {
    pub(super) fn with(outcome: Result<IncomingResponse, FetchError>) -> Arc<Self> {
        Arc::new(Self { outcome, asked: Mutex::default(), logged: Mutex::default() })
    }

    pub(super) fn well() -> Arc<Self> {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        Self::with(Ok(IncomingResponse { status: 200, headers, body: "all is well".to_owned() }))
    }

    pub(super) fn asked(&self) -> Vec<OutgoingRequest> {
        self.asked.lock().expect("not poisoned").clone()
    }

    fn logged(&self) -> String {
        self.logged.lock().expect("not poisoned").join("\n")
    }
}

impl Outside for Written {
    fn wall(&self) -> WallTime {
        WallTime::from_ms(12_345)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn fetch<'a>(&'a self, request: &'a OutgoingRequest) -> Fetching<'a> {
        self.asked.lock().expect("not poisoned").push(request.clone());
        Box::pin(std::future::ready(self.outcome.clone()))
    }

    fn logged(&self, level: &'static str, text: &str) {
        self.logged.lock().expect("not poisoned").push(format!("{level}: {text}"));
    }
}

pub(super) fn granted(host: &str) -> GateGrants {
    let http = HttpGrant {
        host: host.parse().expect("a host"),
        methods: vec!["GET".parse().expect("a method"), "POST".parse().expect("a method")],
        addresses: Vec::new(),
    };
    GateGrants { http: vec![http], ..GateGrants::default() }
}

/// One call of a gate.
fn a_call(outside: Arc<dyn Outside>, grants: GateGrants, limits: GateLimits) -> CallData {
    let state = Arc::new(MemoryState::default());
    let views = Views { telemetry: Arc::new(Nothing), state, outside };
    let service = "shop".parse().expect("valid");
    let subject = Subject { service, evidence: None, grants: Arc::new(grants) };
    let gate = "gate".parse().expect("valid");
    CallData::new(gate, views, Some(subject), limits, Clock::start())
}

fn call_of(outside: &Arc<Written>) -> CallData {
    a_call(outside.clone(), granted("api.example.com"), patient())
}

fn request(method: &str, url: &str) -> own::Request {
    own::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: vec![("x-token".to_owned(), "secret".to_owned())],
        body: "{}".to_owned(),
        timeout_ms: None,
    }
}

/// What comes of a request: a status and a body, or a word for why there is none.
type Outcome = Result<(u16, String), String>;

async fn by_fetch(call: &mut CallData, request: own::Request) -> Outcome {
    let fetched = call.fetch(request).await.expect("no trap");
    fetched.map(|response| (response.status, response.body)).map_err(|failure| failure.kind)
}

fn sent(
    call: &mut CallData,
    request: &own::Request,
    body: Bytes,
    options: Option<RequestOptions>,
) -> impl Future<Output = Outcome> + use<> {
    let body = Full::new(body).map_err(Error::from).boxed_unsync();
    let mut message =
        http::Request::builder().method(request.method.as_str()).uri(request.url.as_str());
    for (name, value) in &request.headers {
        message = message.header(name, value);
    }
    let message = message.body(body).expect("a message");
    let sending = call.http().hooks.send_request(message, options, Box::new(async { Ok(()) }));
    async move {
        let (answer, _) = Pin::from(sending).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        Ok((status, String::from_utf8(body.into()).expect("text")))
    }
}

async fn by_wasi(call: &mut CallData, request: &own::Request) -> Outcome {
    sent(call, request, request.body.clone().into(), None).await
}

fn heard(mut call: CallData) -> Vec<Heard> {
    call.take_down_answered();
    let (_, heard, incomplete) = call.recording.end();
    assert_eq!(incomplete, None::<Incomplete>);
    heard
}

#[tokio::test]
async fn both_ways_come_to_the_same() {
    let response = |body: &str| {
        let (headers, body) = (Vec::new(), body.to_owned());
        Ok(IncomingResponse { status: 201, headers, body })
    };
    let because = || "because".to_owned();
    let too_long = format!("http://api.example.com/{}", "x".repeat(9_000));
    for (method, url, outcome, fetched, answered) in [
        ("POST", API, response("well"), "", ""),
        ("GET", "http://evil.example.com/", response(""), "denied", "HttpRequestDenied"),
        ("GET", "http://169.254.169.254/latest", response(""), "denied", "HttpRequestDenied"),
        ("GET", "http://api.example.com:81/", response(""), "denied", "HttpRequestDenied"),
        ("DELETE", API, response(""), "denied", "HttpRequestDenied"),
        ("get", API, response(""), "denied", "HttpRequestDenied"),
        ("GET", too_long.as_str(), response(""), "invalid", "InternalError"),
        ("GET", "http://a:b@api.example.com/", response(""), "invalid", "InternalError"),
        ("GET", API, Err(FetchError::Denied(because())), "denied", "HttpRequestDenied"),
        ("GET", API, Err(FetchError::Invalid(because())), "invalid", "InternalError"),
        (
            "GET",
            API,
            Err(FetchError::Unreachable(because())),
            "unreachable",
            "DestinationUnavailable",
        ),
        (
            "GET",
            API,
            Err(FetchError::Timeout(Span::from_secs(1))),
            "timeout",
            "HttpResponseTimeout",
        ),
        ("GET", API, Err(FetchError::TooLarge(7)), "too-large", "HttpResponseBodySize(Some(7))"),
        ("GET", API, Err(FetchError::Broken(because())), "broken", "HttpProtocolError"),
    ] {
        let (one, other) = (Written::with(outcome.clone()), Written::with(outcome));
        let (mut by_one, mut by_other) = (call_of(&one), call_of(&other));
        let found = by_fetch(&mut by_one, request(method, url)).await;
        if fetched.is_empty() {
            assert_eq!(found, Ok((201, "well".to_owned())));
        } else {
            assert_eq!(found, Err(fetched.to_owned()), "{method} {url}");
        }
        let found = by_wasi(&mut by_other, &request(method, url)).await;
        if answered.is_empty() {
            assert_eq!(found, Ok((201, "well".to_owned())));
        } else {
            let code = found.expect_err(answered);
            assert!(code.starts_with(answered), "{method} {url}: {code}");
            assert!(other.logged().contains("warn: "), "the reason is told to somebody");
        }
        // Time goes by between the two.
        let timeless = |asked: OutgoingRequest| OutgoingRequest { timeout: Span::ZERO, ..asked };
        let sent =
            |written: &Written| written.asked().into_iter().map(timeless).collect::<Vec<_>>();
        assert_eq!(sent(&one), sent(&other), "{method} {url}");
        assert_eq!(heard(by_one), heard(by_other), "{method} {url}");
    }
}

#[tokio::test]
async fn the_number_of_requests_is_bounded_over_both_ways() {
    let written = Written::well();
    let mut call = call_of(&written);
    for _ in 0..8 {
        assert!(by_fetch(&mut call, request("GET", API)).await.is_ok());
        assert!(by_wasi(&mut call, &request("GET", API)).await.is_ok());
    }
    let denied = by_wasi(&mut call, &request("GET", API)).await;
    assert_eq!(denied, Err("HttpRequestDenied".to_owned()));
    assert!(written.logged().contains("more than 16 requests"), "{}", written.logged());
    assert_eq!(written.asked().len(), 16);
}

#[tokio::test]
async fn what_is_told_of_requests_that_come_to_nothing_is_bounded_and_no_secret() {
    let written = Written::with(Err(FetchError::Unreachable("nobody is there".to_owned())));
    let mut call = call_of(&written);
    let secret = "http://api.example.com/hooks/s3cret?key=s3cret";
    assert!(by_wasi(&mut call, &request("GET", secret)).await.is_err());
    let told = written.logged();
    assert!(told.contains("nobody is there (GET to \"api.example.com\")"), "{told}");
    for url in ["http://u:s3cret@api.example.com/", "http://evil.example.com/?key=s3cret"] {
        assert!(by_wasi(&mut call, &request("GET", url)).await.is_err(), "{url}");
    }
    for _ in 0..100 {
        assert!(by_wasi(&mut call, &request("DELETE", API)).await.is_err());
    }
    let told = written.logged();
    assert!(!told.contains("s3cret"), "{told}");
    assert_eq!(told.lines().count(), 1 + 16, "{told}");
}

#[tokio::test]
async fn requests_go_out_in_the_order_of_their_calls() {
    let written = Written::well();
    let mut call = call_of(&written);
    let mut begin = |path: &str| {
        let asked = request("GET", &format!("http://api.example.com/{path}"));
        sent(&mut call, &asked, Bytes::new(), None)
    };
    let (first, second, third) = (begin("1"), begin("2"), begin("3"));
    // Given up, it is none: the others do not wait for it.
    drop(second);
    let (third, first) = tokio::join!(third, first);
    assert!(first.is_ok() && third.is_ok());
    let paths: Vec<_> = written.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/1", "/3"]);
    assert_eq!(heard(call).len(), 2);
}

#[tokio::test]
async fn the_answers_that_the_host_holds_are_bounded() {
    let written = Written::well();
    let mut call = call_of(&written);
    let asked = request("GET", API);
    let open: Vec<_> = (0..4).map(|_| sent(&mut call, &asked, Bytes::new(), None)).collect();
    assert!(by_wasi(&mut call, &asked).await.is_err());
    assert!(written.logged().contains("more than 4 requests"), "{}", written.logged());
    drop(open);
    assert!(by_wasi(&mut call, &asked).await.is_ok());
    let sending = sending(&mut call, &asked).await;
    let held: Vec<_> = (0..3).map(|_| sent(&mut call, &asked, Bytes::new(), None)).collect();
    assert!(by_wasi(&mut call, &asked).await.is_err(), "an answer that was not read counts");
    drop((sending, held));
    assert!(by_wasi(&mut call, &asked).await.is_ok());
}

/// An answer that is not read yet.
async fn sending(
    call: &mut CallData,
    request: &own::Request,
) -> http::Response<wasmtime_wasi_http::WasiBody> {
    let body = Full::<Bytes>::default().map_err(Error::from).boxed_unsync();
    let message = http::Request::builder().uri(request.url.as_str()).body(body);
    let message = message.expect("a message");
    let sending = call.http().hooks.send_request(message, None, Box::new(async { Ok(()) }));
    Pin::from(sending).await.expect("an answer").0
}

#[tokio::test]
async fn a_body_is_text_and_not_too_long() {
    let written = Written::well();
    let limits = GateLimits { response_bytes: 1_000, ..patient() };
    let mut call = a_call(written.clone(), granted("api.example.com"), limits);
    let asked = request("POST", API);
    let no_text =
        sent(&mut call, &asked, Bytes::from_static(&[0xff]), None).await.expect_err("no text");
    assert!(no_text.contains("UTF-8"), "{no_text}");
    let long = sent(&mut call, &asked, "x".repeat(1_001).into(), None).await;
    assert_eq!(long, Err("HttpRequestBodySize(Some(1000))".to_owned()));
    assert!(written.asked().is_empty());
    assert!(sent(&mut call, &asked, "x".repeat(1_000).into(), None).await.is_ok());
}

#[tokio::test]
async fn a_guest_can_say_how_long_it_waits() {
    let written = Written::well();
    let mut call = call_of(&written);
    let ms = |ms| Some(Duration::from_millis(ms));
    for (connect_timeout, first_byte_timeout, between_bytes_timeout) in
        [(ms(100), ms(500), None), (ms(100), None, ms(1)), (None, ms(60_000), None)]
    {
        let options = RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout };
        let asked = request("GET", API);
        assert!(sent(&mut call, &asked, Bytes::new(), Some(options)).await.is_ok());
    }
    let waits: Vec<_> = written.asked().iter().map(|asked| asked.timeout).collect();
    assert_eq!(waits[0], Span::from_ms(600));
    let whole = patient().deadline;
    assert!(waits[1] > whole.saturating_sub(Span::from_secs(3)) && waits[1] < whole, "{waits:?}");
    assert!(waits[2] < whole, "{waits:?}");
}

#[test]
fn headers_that_are_the_hosts_are_no_guests_to_set() {
    let mut call = call_of(&Written::well());
    let hooks = call.http().hooks;
    for (name, expected) in [
        ("host", true),
        ("connection", true),
        ("transfer-encoding", true),
        ("expect", true),
        ("te", true),
        ("proxy-authorization", true),
        ("http2-settings", true),
        ("content-length", false),
        ("authorization", false),
    ] {
        let name = name.parse().expect("a name");
        assert_eq!(hooks.is_forbidden_header(&name), expected, "{name}");
    }
    assert!(!hooks.set_host_header());
}

#[tokio::test]
async fn on_the_network_the_same_limits_hold() {
    let outcome = async |script: Script, host: &str, limits: GateLimits| {
        let fake = Fake::start(script).await;
        let url = fake.url();
        let (_, port) = url.rsplit_once(':').expect("a port");
        let authority = format!("{host}:{port}");
        let outside = Arc::new(Network::new(Clock::start()));
        let mut call = a_call(outside, granted(&authority), limits);
        let asked = request("GET", &format!("http://{authority}/"));
        let outcome = by_wasi(&mut call, &asked).await;
        (outcome, fake.asked())
    };
    let well = || Script::Json(200, "inside".to_owned());
    let (answer, asked) = outcome(well(), "127.0.0.1", patient()).await;
    assert_eq!((answer, asked), (Ok((200, "inside".to_owned())), 1));
    let (private, asked) = outcome(well(), "localhost", patient()).await;
    assert_eq!((private, asked), (Err("HttpRequestDenied".to_owned()), 0));
    let short = GateLimits { deadline: Span::from_ms(200), ..patient() };
    let (late, _) = outcome(Script::Silence, "127.0.0.1", short).await;
    assert_eq!(late, Err("HttpResponseTimeout".to_owned()));
    let small = GateLimits { http_response_bytes: 1_000, ..patient() };
    let (long, _) = outcome(Script::Endless, "127.0.0.1", small).await;
    assert_eq!(long, Err("HttpResponseBodySize(Some(1000))".to_owned()));
}

/// A component that imports one function of an interface.
fn importing(package: &str, interface: &str, version: &str) -> Vec<u8> {
    let wit = format!(
        "package {package}@{version}; interface {interface} {{ now: func() -> u32; }}
         world gate {{ import {interface}; export evaluate: func(); }}"
    );
    let name = format!("{package}/{interface}@{version}");
    let module = format!(
        "(module (import \"{name}\" \"now\" (func (result i32))) (func (export \"evaluate\")))"
    );
    component_of(&wit, "gate", &module)
}

#[test]
fn what_of_wasi_is_not_granted_or_not_there_is_refused_by_name() {
    let bench = Bench::with(Written::well());
    let refused = |package: &str, interface, version, grants| {
        let component = importing(package, interface, version);
        bench.load(&component, grants, patient()).expect_err(interface).to_string()
    };
    for interface in ["types", "outgoing-handler"] {
        let text = refused("wasi:http", interface, "0.2.3", GateGrants::default());
        let expected = format!(
            "import `wasi:http/{interface}@0.2.3` is not granted: write `grants: {{ http: [{{ host: …"
        );
        assert!(text.contains(&expected), "{text}");
    }
    let text = refused("wasi:io", "poll", "0.2.0", GateGrants::default());
    assert!(text.contains("import `wasi:io/poll@0.2.0` is not granted"), "{text}");
    let text = refused("wasi:http", "types", "0.3.0", granted("api.example.com"));
    assert!(text.contains("built for version 0.3.0 of WASI"), "{text}");
    for (package, interface) in
        [("wasi:cli", "environment"), ("wasi:clocks", "wall-clock"), ("wasi:sockets", "tcp")]
    {
        let text = refused(package, interface, "0.2.0", granted("api.example.com"));
        let expected = format!("import `{package}/{interface}@0.2.0` is not available to gates");
        assert!(text.contains(&expected), "{text}");
    }
}
