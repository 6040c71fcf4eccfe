//! Clients: programs that other people wrote, against the real binary, with targets that other
//! people wrote.
//!
//! The scripts in Python hold server and client apart, so that each pair can be tried without a
//! proxy in between: what fails only with one is the proxy's fault.

mod authority;
mod certificate;
mod curl;
mod grpc;
mod http1;
mod http2;
mod http2_targets;
#[path = "../e2e/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "of the scene of the other tests, a part is enough")]
mod kit;
mod load;
#[path = "../faults/rig/metrics.rs"]
mod metrics;
mod program;
mod proxy;
mod streams;
mod websocket;
