//! Tidegate: a reverse proxy that releases software.

pub mod clock;
pub mod core;
pub mod telemetry;
