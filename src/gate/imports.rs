//! What a guest sees of the host during one call: the imports of the contract, each with a bound.
//!
//! These functions must not block: neither of a call's two deadlines can interrupt one that does.

use std::sync::Arc;

use super::bindings::tidegate::gate::log::{self, Level};
use super::bindings::tidegate::gate::telemetry::{
    self, Compared, Comparison, Side as WitSide, StatusCounts,
};
use super::bindings::tidegate::gate::{state, types};
use super::limiter::{Breach, Limiter};
use super::outside::Outside;
use super::recording::Recording;
use super::requests::{Exchanged, Requests};
use super::wasi::Wasi;
use super::words;
use crate::clock::Clock;
use crate::core::model::{
    GateGrants, GateLimits, GateName, MonoTime, ServiceName, Side, Span, WallTime,
};
use crate::core::rollout::{
    GateCall, GateEvidence, GateHearing, GateMetric, GateState, Heard, Number, TelemetryView,
};

/// What the imports read and write.
#[derive(Clone)]
pub(super) struct Views {
    pub(super) telemetry: Arc<dyn TelemetryView>,
    pub(super) state: Arc<dyn GateState>,
    pub(super) outside: Arc<dyn Outside>,
}

/// What a call is about.
pub(super) struct Subject {
    pub(super) service: ServiceName,
    pub(super) evidence: Option<GateEvidence>,
    pub(super) grants: Arc<GateGrants>,
}

/// The data of one store: one call's view of the host and what it has used of it.
pub(super) struct CallData {
    gate: GateName,
    views: Views,
    /// `None` while the gate describes itself: there is no service then.
    subject: Option<Subject>,
    limits: GateLimits,
    clock: Clock,
    /// When the call's time is over.
    end: MonoTime,
    /// Read when it is first asked for.
    wall: Option<WallTime>,
    /// The limiter of the store.
    pub(super) limiter: Limiter,
    /// The requests over HTTP that it sent.
    pub(super) requests: Requests,
    host_calls: u32,
    log_lines: u32,
    log_bytes: usize,
    /// What it was told so far.
    pub(super) recording: Recording,
    /// What it holds of WASI.
    pub(super) wasi: Wasi,
}

impl CallData {
    /// The most lines of log.
    const LOG_LINES: u32 = 64;

    /// The data of a fresh call, which begins now.
    pub(super) fn new(
        gate: GateName,
        views: Views,
        subject: Option<Subject>,
        limits: GateLimits,
        clock: Clock,
    ) -> Self {
        let before = subject.as_ref().map(|subject| views.state.values(&subject.service, &gate));
        let end = clock.mono().plus(limits.deadline);
        let requests = Requests::begin(&gate, &views, subject.as_ref(), &limits, (clock, end));
        Self {
            gate,
            views,
            subject,
            limits,
            clock,
            end,
            wall: None,
            limiter: Limiter::new(&limits),
            requests,
            host_calls: 0,
            log_lines: 0,
            log_bytes: 0,
            recording: Recording::begin(before.unwrap_or_default()),
            wasi: Wasi::default(),
        }
    }

    /// All that the guest could learn, now that the call is over.
    pub(super) fn into_hearing(mut self, call: GateCall) -> GateHearing {
        self.take_down_answered();
        let at = self.wall();
        let (grants, evidence) = match self.subject {
            Some(subject) => {
                let evidence = subject.evidence.as_ref().map(Into::into);
                ((*subject.grants).clone(), evidence)
            }
            None => (GateGrants::default(), None),
        };
        let (state, heard, incomplete) = self.recording.end();
        let limits = self.limits;
        GateHearing { call, at, limits, grants, evidence, state, heard, incomplete }
    }

    /// When the call's time is over.
    pub(super) fn end(&self) -> MonoTime {
        self.end
    }

    /// The world outside.
    pub(super) fn outside(&self) -> Arc<dyn Outside> {
        Arc::clone(&self.views.outside)
    }

    /// The time of day of the call.
    pub(super) fn wall(&mut self) -> WallTime {
        let outside = &self.views.outside;
        *self.wall.get_or_insert_with(|| outside.wall())
    }

    /// What its time is measured by.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Takes down what came of requests that it did not wait for one by one.
    pub(super) fn take_down_answered(&mut self) {
        for Exchanged { request, outcome } in self.requests.take_answered() {
            self.recording.fetched(&request, &outcome);
        }
    }

    /// Counts a call into the host; every import does.
    pub(super) fn count_host_call(&mut self) -> wasmtime::Result<()> {
        self.tally_host_call();
        self.check_host_calls()
    }

    /// Counts a call into the host that cannot be refused where it is counted.
    pub(super) fn tally_host_call(&mut self) {
        self.host_calls = self.host_calls.saturating_add(1);
    }

    /// Whether there were no more calls into the host than there may be, and none of those that
    /// could not be refused left too much with it.
    pub(super) fn check_host_calls(&self) -> wasmtime::Result<()> {
        let limit = self.limits.host_calls;
        if self.host_calls > limit {
            return Err(wasmtime::Error::new(Breach::HostCalls { limit }));
        }
        self.wasi.check_unsent()
    }

    /// How many calls into the host there were.
    pub(super) fn host_calls(&self) -> u32 {
        self.host_calls
    }

    fn count_log(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.log_lines += 1;
        self.log_bytes = self.log_bytes.saturating_add(bytes);
        let limit = as_size(self.limits.log_bytes);
        if self.log_lines > Self::LOG_LINES || self.log_bytes > limit {
            let breach = Breach::Log { lines: Self::LOG_LINES, bytes: limit };
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
        let Some(Subject { service, .. }) = &self.subject else { return Ok(None) };
        let (side, window) = (role(side), Span::from_ms(window_ms.into()));
        let value = self.views.telemetry.metric(service, side, &name, window);
        let value = value.filter(|value| value.is_finite());
        self.recording.hear(Heard::Metric { side, name, window_ms, value: value.map(Number) });
        Ok(value)
    }

    fn statuses(
        &mut self,
        side: WitSide,
        window_ms: u32,
    ) -> wasmtime::Result<Option<StatusCounts>> {
        self.count_host_call()?;
        let Some(Subject { service, .. }) = &self.subject else { return Ok(None) };
        let (side, window) = (role(side), Span::from_ms(window_ms.into()));
        let found = self.views.telemetry.statuses(service, side, window);
        self.recording.hear(Heard::Statuses { side, window_ms, counts: found });
        Ok(found.map(|found| {
            let [informational, successful, redirection, client_error, server_error] =
                found.by_class.map(as_number);
            StatusCounts {
                informational,
                successful,
                redirection,
                client_error,
                server_error,
                no_answer: as_number(found.no_answer),
                client_gone: as_number(found.client_gone),
            }
        }))
    }

    fn latency_quantile(
        &mut self,
        side: WitSide,
        q: f64,
        window_ms: u32,
    ) -> wasmtime::Result<Option<f64>> {
        self.count_host_call()?;
        let Some(Subject { service, .. }) = &self.subject else { return Ok(None) };
        if !(0.0..=1.0).contains(&q) {
            return Ok(None);
        }
        let (side, window) = (role(side), Span::from_ms(window_ms.into()));
        let value = self.views.telemetry.latency(service, side, q, window);
        let value = value.filter(|value| value.is_finite());
        let kept = value.map(Number);
        self.recording.hear(Heard::Latency { side, q: Number(q), window_ms, value: kept });
        Ok(value)
    }

    fn evidence(&mut self) -> wasmtime::Result<Option<Comparison>> {
        self.count_host_call()?;
        Ok(self.subject.as_ref().and_then(|subject| subject.evidence.as_ref()).map(comparison))
    }
}

impl state::Host for CallData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.count_host_call()?;
        let Some(Subject { service, .. }) = &self.subject else { return Ok(None) };
        let value = self.views.state.value(service, &self.gate, &key);
        self.recording.read(&key, value.as_deref());
        Ok(value)
    }

    fn set(&mut self, key: String, value: String) -> wasmtime::Result<Result<(), String>> {
        self.count_host_call()?;
        let Some(Subject { service, .. }) = &self.subject else {
            return Ok(Err("there is no state while a gate describes itself".to_owned()));
        };
        let set = self.views.state.set_value(service, &self.gate, &key, &value);
        self.recording.wrote(&key, &value, &set);
        Ok(set.map_err(|error| error.to_string()))
    }

    fn keys(&mut self) -> wasmtime::Result<Vec<String>> {
        self.count_host_call()?;
        let Some(Subject { service, .. }) = &self.subject else { return Ok(Vec::new()) };
        let keys = self.views.state.keys(service, &self.gate);
        self.recording.listed(&keys);
        Ok(keys)
    }
}

impl log::Host for CallData {
    fn write(&mut self, level: Level, text: String) -> wasmtime::Result<()> {
        self.count_host_call()?;
        self.count_log(text.len())?;
        let (gate, text) = (&self.gate, words::clean(&text));
        let service = self.subject.as_ref().map(|subject| subject.service.as_str());
        self.views.outside.logged(level_word(level), &text);
        match level {
            Level::Debug => tracing::debug!(%gate, service, "{text}"),
            Level::Info => tracing::info!(%gate, service, "{text}"),
            Level::Warn => tracing::warn!(%gate, service, "{text}"),
            Level::Error => tracing::error!(%gate, service, "{text}"),
        }
        Ok(())
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn role(side: WitSide) -> Side {
    match side {
        WitSide::Blue => Side::Blue,
        WitSide::Green => Side::Green,
    }
}

/// What a guest sees of the evidence: a number that is none is left out, or as large as there is.
fn comparison(evidence: &GateEvidence) -> Comparison {
    let finite = |number: f64| if number.is_finite() { number } else { f64::MAX };
    Comparison {
        verdict: evidence.verdict.to_owned(),
        reason: evidence.reason.clone(),
        evidence: finite(evidence.evidence),
        needed: finite(evidence.needed),
        p_value: finite(evidence.p_value),
        lower_bound: evidence.lower_bound.filter(|bound| bound.is_finite()),
        missing_requests: evidence.missing.map(as_number),
        metrics: evidence.metrics.iter().map(compared).collect(),
    }
}

fn compared(metric: &GateMetric) -> Compared {
    let (blue, green) = (metric.blue, metric.green);
    Compared {
        metric: metric.name.clone(),
        blue_samples: as_number(blue.0),
        blue_bad: as_number(blue.1),
        green_samples: as_number(green.0),
        green_bad: as_number(green.1),
        share: if metric.share.is_finite() { metric.share } else { 0.0 },
    }
}

fn as_number(count: u64) -> f64 {
    count as f64
}

fn as_size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
