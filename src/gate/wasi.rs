//! What of WASI 0.2 a gate may import that was granted HTTP: `wasi:http` and what it stands on.
//!
//! It is another way to the same requests as the contract's `fetch`: [`super::requests`] decides of
//! both. Whatever else WASI has (files, sockets, environment, chance, the time of day) is refused
//! when a component is loaded, as ever.
//!
//! `wasi:clocks/monotonic-clock` is there since the types of `wasi:http` have a duration of its and
//! guests wait for an answer no longer than some time. Its clock stands still, whatever is granted:
//! it is the same at every call and each time that it is read, as the time of day is the same during
//! a call. So nothing can be told from it, and what a guest waits for comes all the same. A guest
//! that loops until the clock has moved ends by its deadline.
//!
//! What the host holds for a guest is bounded: [`RESOURCES`], their headers, the texts of requests
//! that are not sent ([`UNSENT_BYTES`]), and what is written of a body before it is sent. Every call into any of this counts as one into the host. There is no way
//! to refuse one right there: a guest that makes too many is ended at the next tick of the epoch, or
//! at its own end.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi_http::p2::bindings::http::types::Method;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{FieldMapError, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::imports::CallData;
use super::limiter::Breach;
use crate::clock::Clock;
use crate::core::model::{MonoTime, Span};

/// The version that is offered. Any other of 0.2 is served as well.
pub(super) const VERSION: &str = "0.2.12";
/// The interfaces.
pub(super) const OFFERED: [&str; 6] = [
    "wasi:clocks/monotonic-clock",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
];
/// The most resources of WASI that the host holds for one call: requests, headers, streams and so on.
const RESOURCES: usize = 256;
/// The most bytes of one request's headers, as they lie in memory.
const HEADER_BYTES: usize = 32 << 10;
/// The most bytes of methods, hosts and paths of all requests that are not sent. The library bounds
/// none of them but the path, and there can be as many as [`RESOURCES`].
const UNSENT_BYTES: usize = 256 << 10;
/// What the clock shows, in nanoseconds. Not zero: some runtimes count from when they were built.
const NOW_NS: u64 = 1_000_000_000;
const RESOLUTION_NS: u64 = 1_000_000;

/// What the host holds for one call.
pub(super) struct Wasi {
    table: ResourceTable,
    http: WasiHttpCtx,
    /// Whether there were more than [`UNSENT_BYTES`].
    had_too_much_unsent: bool,
}

impl Default for Wasi {
    fn default() -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADER_BYTES);
        Self { table, http, had_too_much_unsent: false }
    }
}

impl Wasi {
    /// Lets go of the texts of requests that are not sent if they are too long together.
    fn bound_unsent(&mut self) {
        let bytes: usize = self.unsent().map(|request| length(request)).sum();
        if bytes <= UNSENT_BYTES {
            return;
        }
        self.had_too_much_unsent = true;
        for request in self.unsent() {
            request.method = Method::Get;
            request.authority = None;
            request.path_with_query = None;
        }
    }

    fn unsent(&mut self) -> impl Iterator<Item = &mut HostOutgoingRequest> {
        self.table.iter_mut().filter_map(|held| held.downcast_mut::<HostOutgoingRequest>())
    }

    /// Whether the texts of requests that are not sent were never too long.
    pub(super) fn check_unsent(&self) -> wasmtime::Result<()> {
        if self.had_too_much_unsent {
            return Err(wasmtime::Error::new(Breach::Unsent { limit: UNSENT_BYTES }));
        }
        Ok(())
    }
}

/// What the guest wrote of a request beside its headers and its body, in bytes.
fn length(request: &HostOutgoingRequest) -> usize {
    let method = if let Method::Other(method) = &request.method { method.len() } else { 0 };
    let texts = [&request.authority, &request.path_with_query];
    method + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// Links the interfaces.
pub(super) fn link(linker: &mut Linker<CallData>) -> wasmtime::Result<()> {
    wasmtime_wasi_io::add_to_linker_async(linker)?;
    monotonic_clock::add_to_linker::<CallData, Standing>(linker, standing)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// The bound on what the host holds that an error is about; `None` if it is about something else.
pub(super) fn breach(error: &wasmtime::Error) -> Option<String> {
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(format!("more than {RESOURCES} resources of WASI"));
    }
    match error.downcast_ref::<FieldMapError>()? {
        FieldMapError::TooManyFields | FieldMapError::TotalSizeTooBig => {
            Some(format!("more than {HEADER_BYTES} bytes of headers"))
        }
        FieldMapError::Immutable
        | FieldMapError::InvalidHeaderName
        | FieldMapError::InvalidHeaderValue
        | FieldMapError::Forbidden => None,
    }
}

impl CallData {
    /// A guest calls something in here: the call is counted, and what was answered by now is taken
    /// down, which is before the guest can see any of it.
    fn enter_wasi(&mut self) {
        self.tally_host_call();
        self.take_down_answered();
    }
}

impl IoView for CallData {
    fn table(&mut self) -> &mut ResourceTable {
        self.enter_wasi();
        &mut self.wasi.table
    }
}

impl WasiHttpView for CallData {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.enter_wasi();
        // Of what the call before this one wrote; it was no longer than `response` permits.
        self.wasi.bound_unsent();
        WasiHttpCtxView {
            hooks: &mut self.requests,
            table: &mut self.wasi.table,
            ctx: &mut self.wasi.http,
        }
    }
}

/// A clock that stands still.
struct Standing;

impl HasData for Standing {
    type Data<'a> = StandingClock<'a>;
}

struct StandingClock<'a> {
    table: &'a mut ResourceTable,
    /// What it is waited by.
    clock: Clock,
}

fn standing(data: &mut CallData) -> StandingClock<'_> {
    data.enter_wasi();
    let clock = data.clock();
    StandingClock { table: &mut data.wasi.table, clock }
}

impl monotonic_clock::Host for StandingClock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(NOW_NS)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION_NS)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(when.saturating_sub(NOW_NS))
    }

    fn subscribe_duration(&mut self, ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let wait = Span::from_ms(ns.div_ceil(RESOLUTION_NS));
        let timer = Timer { clock: self.clock, at: self.clock.mono().plus(wait) };
        let timer = self.table.push(timer)?;
        subscribe(self.table, timer)
    }
}

/// Is ready from some time on.
struct Timer {
    clock: Clock,
    at: MonoTime,
}

#[async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        sleep(Duration::from(self.at.since(self.clock.mono()))).await;
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;
    use wasmtime::component::Component;
    use wasmtime_wasi_http::FieldMap;

    use super::*;

    #[test]
    fn what_is_linked_is_what_is_offered() {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        link(&mut linker).expect("no interface twice");
        let something_of = |interface: &str| match interface {
            "wasi:clocks/monotonic-clock" => r#"(export "now" (func (result u64)))"#,
            "wasi:http/outgoing-handler" => "",
            "wasi:http/types" => r#"(export "outgoing-request" (type (sub resource)))"#,
            "wasi:io/error" => r#"(export "error" (type (sub resource)))"#,
            "wasi:io/poll" => r#"(export "pollable" (type (sub resource)))"#,
            "wasi:io/streams" => r#"(export "input-stream" (type (sub resource)))"#,
            other => panic!("{other} is not tried"),
        };
        // Gates are built for one and the other version, and for some that are not out yet.
        for version in [VERSION, "0.2.0", "0.2.99"] {
            for interface in OFFERED {
                let import =
                    format!(r#""{interface}@{version}" (instance {})"#, something_of(interface));
                let text = format!("(component (import {import}))");
                let bytes = wat::parse_str(text).expect("valid text");
                let component = Component::new(&engine, bytes).expect("valid");
                let linked = linker.instantiate_pre(&component);
                assert!(linked.is_ok(), "{import}: {:#}", linked.err().expect("it is one"));
            }
        }
    }

    #[tokio::test]
    async fn the_clock_stands_still_and_what_is_waited_for_comes() {
        let mut table = ResourceTable::new();
        let clock = Clock::start();
        let mut standing = StandingClock { table: &mut table, clock };
        let now = |standing: &mut StandingClock<'_>| {
            monotonic_clock::Host::now(standing).expect("it never fails")
        };
        let before = now(&mut standing);
        let mut timer = Timer { clock, at: clock.mono().plus(Span::from_ms(20)) };
        timer.ready().await;
        assert!(clock.mono().ms() >= 20);
        assert_eq!(now(&mut standing), before);
        let subscribed = monotonic_clock::Host::subscribe_instant(&mut standing, before + 1);
        assert!(subscribed.is_ok());
    }

    #[test]
    fn what_is_written_of_requests_that_are_not_sent_is_bounded() {
        let request = |method: String, authority: String| HostOutgoingRequest {
            method: Method::Other(method),
            scheme: None,
            authority: Some(authority),
            path_with_query: Some("/".to_owned()),
            headers: FieldMap::new_mutable(HEADER_BYTES),
            body: None,
        };
        let mut wasi = Wasi::default();
        let half = "X".repeat(UNSENT_BYTES / 2 - 1);
        wasi.table.push(request(half.clone(), half)).expect("room");
        wasi.bound_unsent();
        assert!(wasi.check_unsent().is_ok());
        wasi.table.push(request("XX".to_owned(), String::new())).expect("room");
        wasi.bound_unsent();
        let error = wasi.check_unsent().expect_err("two bytes too many");
        assert_eq!(error.downcast_ref(), Some(&Breach::Unsent { limit: UNSENT_BYTES }));
        let left: usize = wasi.unsent().map(|request| length(request)).sum();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_the_host_holds_is_bounded() {
        let mut wasi = Wasi::default();
        let full = (0..=RESOURCES).find_map(|i| wasi.table.push(i).err()).expect("bounded");
        let text = breach(&wasmtime::Error::new(full)).expect("a bound");
        assert_eq!(text, "more than 256 resources of WASI");
        assert_eq!(breach(&wasmtime::Error::new(ResourceTableError::NotPresent)), None);
        let headers = wasmtime::Error::new(FieldMapError::TotalSizeTooBig);
        assert!(breach(&headers).is_some_and(|text| text.contains("32768 bytes of headers")));
    }
}
