//! The data plane: accepts requests, chooses side and target, forwards, answers, counts.
//!
//! It reads the routing table, once per request, and counts outcomes; it decides no rollout and
//! writes no state. Pingora does the HTTP, embedded on the caller's runtime: one proxy per listener,
//! with a connection pool of its own. The listening sockets are bound and accepted on here.
//!
//! The layers of a connection, from the outside:
//!
//! - `accepting`: takes clients from the listening socket, whatever is short, until the stop;
//! - `edge`: lets a connection in, reads its PROXY header, shakes hands, counts it, so that a
//!   shutdown can wait for it and cut what is left; `wire` is the stream that Pingora gets, which
//!   tells a client to go on where its target does not (`word`), ends chunks with `trailers`, and does
//!   what HTTP/2 needs beside Pingora (`wire_frames`): it ends a connection that is flooded (`flood`),
//!   and says on a stream what a request has to say besides its answer (`claim`);
//! - `deadline`: bounds the time of a request's whole header, and ends what is left of a group that
//!   has departed (`departures`);
//! - `phases`: Pingora's hooks, which admit and choose (`route`: `admission`, `selection`),
//!   forward (`forward`, `rewrite`), try again (`attempt`, `retry`), answer (`answer`, `redirect`),
//!   score (`score`, `evidence`) and log (`access_log`). Upgrades leave Pingora there (`tunnel`), and
//!   so does the way to targets of HTTP/2, and where trailers pass (`exchange`);
//! - `mirror`: sends a share of the requests to green as well, before it has any weight.
//!
//! A client that closes its sending half keeps waiting for the answer, which a target goes on
//! working for. To drop the request instead would hide a green so slow that its users give up:
//! their requests would never be scored.

mod accepting;
mod access_log;
mod access_record;
mod access_writer;
mod admission;
mod answer;
mod answer_bounds;
mod attempt;
#[cfg(test)]
mod back_pressure;
mod backlog;
#[cfg(test)]
mod balancers;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod calls;
mod carrier;
mod claim;
mod client_socket;
#[cfg(test)]
mod comparisons;
mod connection;
mod context;
mod cookie;
mod course;
#[cfg(test)]
mod crowds;
mod deadline;
mod departures;
mod descriptors;
mod drain;
mod early;
mod edge;
mod evidence;
mod exchange;
#[cfg(test)]
mod exchanges;
mod field_block;
mod fields;
mod flood;
#[cfg(test)]
mod floods;
mod forward;
mod forwarded;
mod frame_budget;
mod frame_writer;
mod frames;
mod framing;
mod grpc;
#[cfg(test)]
mod h2kit;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod hints;
mod in_flight;
mod inherit;
mod inspector;
#[cfg(test)]
mod interim;
mod interim_frame;
#[cfg(test)]
mod legs;
mod listener;
mod mirror;
#[cfg(test)]
mod mirrors;
#[cfg(test)]
mod mixed_groups;
mod open_streams;
#[cfg(test)]
mod originkit;
#[cfg(test)]
mod pauses;
mod peer;
mod phases;
mod proxy_header;
mod redirect;
mod repeatable;
mod retry;
mod rewrite;
mod route;
mod running;
mod score;
#[cfg(test)]
mod second_attempts;
mod selection;
mod session_limits;
#[cfg(test)]
mod sharing;
mod stream_tag;
#[cfg(test)]
mod streams;
mod substitute;
mod table_sizes;
mod tagger;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod timeouts;
mod trailer_section;
mod trailers;
#[cfg(test)]
mod transports;
mod trust;
mod tunnel;
mod turnstile;
mod unclaimed;
#[cfg(test)]
mod unfinished;
#[cfg(test)]
mod upgrade_departures;
#[cfg(test)]
mod upgradekit;
#[cfg(test)]
mod upgrades;
mod upload;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod vanishing;
mod wire;
mod wire_frames;
#[cfg(test)]
mod wirekit;
mod word;

pub use access_log::AccessLog;
pub use cookie::CohortId;
pub use inherit::bind_or_inherit;
pub use listener::{BoundListener, ProxyError, bind};
pub use running::{ProxyParts, RunningProxy, start};
pub use selection::{AssignedBy, Draws, Lot, Question, Selection, Unrouted};
