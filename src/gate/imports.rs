//! What a guest sees of the host during one call: the imports of the contract, each with a bound.
//!
//! These functions must not block: neither of a call's two deadlines can interrupt one that does.

use std::sync::Arc;

use super::bindings::tidegate::gate::log::{self, Level};
use super::bindings::tidegate::gate::telemetry::{self, Side as WitSide};
use super::bindings::tidegate::gate::{state, types};
use super::limiter::{Breach, Limiter};
use super::words;
use crate::core::model::{GateName, ServiceName, Side, Span};
use crate::core::rollout::{GateState, TelemetryView};

/// What the imports read and write.
#[derive(Clone)]
pub(super) struct Views {
    pub(super) telemetry: Arc<dyn TelemetryView>,
    pub(super) state: Arc<dyn GateState>,
}

/// What a call is about.
pub(super) struct Subject {
    pub(super) service: ServiceName,
    pub(super) views: Views,
}

/// The data of one store: one call's view of the host and what it has used of it.
pub(super) struct CallData {
    gate: GateName,
    /// `None` while the gate describes itself: there is no service then.
    subject: Option<Subject>,
    /// The limiter of the store.
    pub(super) limiter: Limiter,
    host_calls: u32,
    log_lines: u32,
    log_bytes: usize,
}

impl CallData {
    /// The most calls into the host, of all imports together.
    const HOST_CALLS: u32 = 1_000;
    /// The most lines of log.
    const LOG_LINES: u32 = 64;
    /// The most bytes of log.
    const LOG_BYTES: usize = 16 << 10;

    /// The data of a fresh call.
    pub(super) fn new(gate: GateName, subject: Option<Subject>, memory_limit: usize) -> Self {
        let limiter = Limiter::new(memory_limit);
        Self { gate, subject, limiter, host_calls: 0, log_lines: 0, log_bytes: 0 }
    }

    fn count_host_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        if self.host_calls > Self::HOST_CALLS {
            return Err(wasmtime::Error::new(Breach::HostCalls { limit: Self::HOST_CALLS }));
        }
        Ok(())
    }

    fn count_log(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.log_lines += 1;
        self.log_bytes = self.log_bytes.saturating_add(bytes);
        if self.log_lines > Self::LOG_LINES || self.log_bytes > Self::LOG_BYTES {
            let breach = Breach::Log { lines: Self::LOG_LINES, bytes: Self::LOG_BYTES };
            return Err(wasmtime::Error::new(breach));
        }
        Ok(())
    }
}

impl types::Host for CallData {}

impl telemetry::Host for CallData {
    fn metric(
        &mut self,
        side: WitSide,
        name: String,
        window_ms: u32,
    ) -> wasmtime::Result<Option<f64>> {
        self.count_host_call()?;
        let side = match side {
            WitSide::Blue => Side::Blue,
            WitSide::Green => Side::Green,
        };
        let window = Span::from_ms(window_ms.into());
        let value = self.subject.as_ref().and_then(|subject| {
            subject.views.telemetry.metric(&subject.service, side, &name, window)
        });
        Ok(value.filter(|value| value.is_finite()))
    }
}

impl state::Host for CallData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.count_host_call()?;
        Ok(self
            .subject
            .as_ref()
            .and_then(|subject| subject.views.state.value(&subject.service, &self.gate, &key)))
    }

    fn set(&mut self, key: String, value: String) -> wasmtime::Result<Result<(), String>> {
        self.count_host_call()?;
        let Some(subject) = &self.subject else {
            return Ok(Err("there is no state while a gate describes itself".to_owned()));
        };
        let set = subject.views.state.set_value(&subject.service, &self.gate, &key, &value);
        Ok(set.map_err(|error| error.to_string()))
    }
}

impl log::Host for CallData {
    fn write(&mut self, level: Level, text: String) -> wasmtime::Result<()> {
        self.count_host_call()?;
        self.count_log(text.len())?;
        let (gate, text) = (&self.gate, words::clean(&text));
        let service = self.subject.as_ref().map(|subject| subject.service.as_str());
        match level {
            Level::Debug => tracing::debug!(%gate, service, "{text}"),
            Level::Info => tracing::info!(%gate, service, "{text}"),
            Level::Warn => tracing::warn!(%gate, service, "{text}"),
            Level::Error => tracing::error!(%gate, service, "{text}"),
        }
        Ok(())
    }
}
