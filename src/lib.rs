//! Tidegate: a reverse proxy that releases software.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod gate;
pub mod probe;
pub mod promql;
pub mod proxy;
pub mod resolve;
pub mod store;
pub mod telemetry;
pub mod tls;
