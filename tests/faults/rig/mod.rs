//! What the faults need beside the kit of the end-to-end tests: clients and targets that behave
//! as told, load of which every request is kept, and a place for what was measured.

mod busy;
mod bystander;
mod client;
mod contest;
mod cpu;
#[expect(dead_code, reason = "it knows records that no fault is about")]
#[path = "../../../src/resolve/fake.rs"]
mod dns;
mod group;
mod http2;
mod link;
mod memory;
mod metrics;
mod overflows;
mod release;
mod row;
mod scene;
mod streams;
mod target;
mod traffic;

pub(crate) use busy::Busy;
pub(crate) use bystander::{Bystander, Speaks};
pub(crate) use client::{Answer, Client, get, post};
pub(crate) use contest::Contest;
pub(crate) use cpu::cpu_ms;
pub(crate) use dns::{Dns, Record};
pub(crate) use group::Group;
pub(crate) use http2::{Ending, Frame, Frames, Http2, frame, get_header, header_of, post_header};
pub(crate) use link::Link;
pub(crate) use memory::{
    LEEWAY_KIB, Memory, lower_limit_of, lower_own_limit, present_kib, raise_own_limit,
    require_bounded, require_given_back, restore_limit_of, room_for,
};
pub(crate) use metrics::metric;
pub(crate) use overflows::Overflows;
pub(crate) use release::{baking_at, ends_as, tell};
pub(crate) use row::{Row, ms};
pub(crate) use scene::Scene;
pub(crate) use streams::{Wire, reply_with, serve_streams};
pub(crate) use target::{
    LARGE, Request, Seen, Target, answer_large, answer_with, byte_at, read_request,
};
pub(crate) use traffic::{Method, Outcome, Plan, Sample, Traffic, p99_us};

/// The one of two sizes that this run has: the reduced form runs with every change, the full one
/// (`TIDEGATE_FAULTS=full`) has the sizes of the promises.
pub(crate) fn sized<T>(reduced: T, full: T) -> T {
    if is_full() { full } else { reduced }
}

/// Whether this run has the full size.
pub(crate) fn is_full() -> bool {
    std::env::var("TIDEGATE_FAULTS").is_ok_and(|size| size == "full")
}
