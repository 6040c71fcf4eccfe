//! Alarms from outside: the real binary with the real Prometheus and the real Alertmanager of
//! Debian's packages `prometheus` and `prometheus-alertmanager`.
//!
//! Both run from a folder of their own on ports of their own, whatever the machine runs besides.
//! `scripts/prepare.sh test` installs them; without them these tests fail.

mod alertmanager;
mod daemon;
mod exporter;
#[path = "../e2e/kit/mod.rs"]
#[expect(dead_code, unused_imports, reason = "of the scene of the other tests, a part is enough")]
mod kit;
mod prometheus;
