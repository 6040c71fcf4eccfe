//! Clients: programs that other people wrote, against the real binary, with targets that other
//! people wrote.
//!
//! The scripts in Python hold server and client apart, so that each pair can be tried without a
//! proxy in between: what fails only with one is the proxy's fault.

mod curl;
mod http1;
#[path = "../e2e/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "of the scene of the other tests, a part is enough")]
mod kit;
mod load;
mod program;
mod proxy;
// TODO: goes when the proxy serves HTTP/2, TLS and upgrades. Then these are tests like the others:
// mod certificate;
// mod grpc;
// mod http2;
// mod websocket;
