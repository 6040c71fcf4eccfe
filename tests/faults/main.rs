//! Faults: the real binary under load, while something goes wrong around it.
//!
//! Each file is a fault, each test a row with a bar, and each row says what was measured. The
//! reduced form belongs to the tests; `make faults` runs the full one.

mod all_dead;
mod bad_files;
mod broken;
mod caps;
mod death;
mod descriptors;
mod download;
mod flaps;
mod floods;
mod gate_uploads;
mod gates;
mod goaway;
mod grpc_streams;
#[path = "../../src/gate/guest.rs"]
mod guest;
mod half_open;
mod http2;
#[expect(
    dead_code,
    unused_imports,
    reason = "the kit is that of the end-to-end tests, which need more of it"
)]
#[path = "../e2e/kit/mod.rs"]
mod kit;
mod latency;
mod logging;
mod losses;
#[path = "../../src/gate/malice.rs"]
mod malice;
mod memory;
mod misbehaviour;
mod mutations;
mod names;
mod outage;
mod pipelining;
mod pooled;
mod pressure;
mod reloads;
mod rig;
mod sigterm;
mod silent;
mod slow;
mod slow_download;
mod slow_http2;
mod standstill;
mod upgrades;
mod victim;
mod websockets;
mod weights;
