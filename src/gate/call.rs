//! One call of a guest: a fresh store, two deadlines, and what came of it in our words.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::bindings::tidegate::gate::types::{Call, Description, Hold, Verdict};
use super::bindings::{Gate as Instance, GatePre};
use super::imports::{CallData, Subject};
use super::limiter::Breach;
use super::outside::CallCost;
use super::registry::Gate;
use super::runtime::Guests;
use super::{wasi, words};
use crate::clock::Clock;
use crate::core::model::{GateLimits, GateMode, GateName, Span};
use crate::core::rollout::{GateAnswer, GateCall, GateErrorKind, GateEvidence, GateHearing};

/// How long after its deadline a call is dropped that no epoch has ended.
const GRACE: Duration = Duration::from_millis(100);

type Failure = (GateErrorKind, String);

impl Guests {
    /// Asks a component what it is.
    pub(super) async fn describe(
        &self,
        name: &GateName,
        component: &GatePre<CallData>,
        limits: GateLimits,
    ) -> Result<Description, Failure> {
        let mut store = self.store(name, None, limits);
        let call = async {
            let instance = component.instantiate_async(&mut store).await?;
            let description = instance.call_describe(&mut store).await?;
            store.data().check_host_calls().map(|()| description)
        };
        within(limits, call).await
    }

    /// Asks a gate a question; `evidence` is what the comparison said when it was put. Gives the
    /// answer and what the gate was told, which is nothing if it was not asked.
    pub(super) async fn evaluate(
        &self,
        gate: &Gate,
        call: &GateCall,
        evidence: Option<GateEvidence>,
    ) -> (GateAnswer, Option<Box<GateHearing>>) {
        let begun = self.clock.mono_us();
        if let Err(error) = gate.schema.check(&call.gate.params) {
            let text = words::clean(&error.to_string());
            return (failed((GateErrorKind::Unavailable, text)), None);
        }
        let (service, grants) = (call.service.clone(), Arc::clone(&gate.grants));
        let subject = Subject { service, evidence, grants };
        let mut store = self.store(call.name(), Some(subject), gate.limits);
        // The time of the call is that of its beginning.
        store.data_mut().wall();
        let question = question(call);
        let evaluation = async {
            let instance: Instance = gate.component.instantiate_async(&mut store).await?;
            let verdict = instance.call_evaluate(&mut store, &question).await?;
            store.data().check_host_calls().map(|()| verdict)
        };
        let evaluated = within(gate.limits, evaluation).await;
        let used = used(&store, gate.limits);
        let hearing = store.into_data().into_hearing(call.clone());
        // Giving back what it used is part of what it takes.
        let micros = self.clock.mono_us().saturating_sub(begun);
        self.views.outside.took(CallCost { micros, ..used });
        let answer = match evaluated {
            Ok(Ok(verdict)) => answer(verdict),
            Ok(Err(text)) => failed((GateErrorKind::Guest, words::clean(&text))),
            Err(failure) => failed(failure),
        };
        (answer, Some(Box::new(hearing)))
    }

    fn store(
        &self,
        name: &GateName,
        subject: Option<Subject>,
        limits: GateLimits,
    ) -> Store<CallData> {
        let clock: Clock = self.clock;
        let data = CallData::new(name.clone(), self.views.clone(), subject, limits, clock);
        let (end, deadline) = (data.end(), limits.deadline);
        let mut store = Store::new(&self.engine, data);
        store.limiter(|data| &mut data.limiter);
        store.set_hostcall_fuel(usize::try_from(limits.response_bytes).unwrap_or(usize::MAX));
        store.set_fuel(limits.fuel.unwrap_or(u64::MAX)).expect("the engine counts fuel");
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            if clock.mono() >= end {
                return Err(wasmtime::Error::new(Breach::Deadline { after: deadline }));
            }
            context.data().check_host_calls()?;
            // To yield is what lets other guests run and the outer timeout fire.
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}

/// What a call has used, but for the time.
fn used(store: &Store<CallData>, limits: GateLimits) -> CallCost {
    let left = store.get_fuel().expect("the engine counts fuel");
    CallCost {
        micros: 0,
        memory_bytes: store.data().limiter.memory() as u64,
        fuel: limits.fuel.unwrap_or(u64::MAX).saturating_sub(left),
        host_calls: store.data().host_calls(),
    }
}

/// The outer deadline, for the time that no guest code runs.
async fn within<T>(
    limits: GateLimits,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Failure> {
    let deadline = limits.deadline;
    match timeout(Duration::from(deadline) + GRACE, call).await {
        Ok(result) => result.map_err(|error| classify(&error, limits)),
        Err(_) => Err((GateErrorKind::Deadline, Breach::Deadline { after: deadline }.to_string())),
    }
}

/// What an error of wasmtime's means. The order matters: a breach arrives wrapped in a backtrace,
/// and only what is left over is the guest's own trap.
fn classify(error: &wasmtime::Error, limits: GateLimits) -> Failure {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        let kind = match breach {
            Breach::Deadline { .. } => GateErrorKind::Deadline,
            Breach::Memory { .. } | Breach::Table { .. } => GateErrorKind::Memory,
            Breach::HostCalls { .. }
            | Breach::Log { .. }
            | Breach::Unsent { .. }
            | Breach::Random { .. } => GateErrorKind::Limit,
        };
        return (kind, breach.to_string());
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return (GateErrorKind::Busy, "no place for another instance".to_owned());
    }
    if let Some(text) = wasi::breach(error) {
        return (GateErrorKind::Limit, text);
    }
    if let (Some(Trap::OutOfFuel), Some(fuel)) = (error.downcast_ref::<Trap>(), limits.fuel) {
        return (GateErrorKind::Limit, format!("more than {fuel} units of fuel"));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return (GateErrorKind::Trap, words::clean(&trap.to_string()));
    }
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls") {
        let text = format!("more than {} bytes handed to the host", limits.response_bytes);
        return (GateErrorKind::Limit, text);
    }
    (GateErrorKind::Trap, words::clean(&text))
}

/// An error as an answer.
pub(super) fn failed((kind, text): Failure) -> GateAnswer {
    GateAnswer::Error { kind, text }
}

fn answer(verdict: Verdict) -> GateAnswer {
    match verdict {
        Verdict::Pass => GateAnswer::Pass,
        Verdict::Fail(reason) => GateAnswer::Fail { reason: words::clean(&reason) },
        Verdict::Hold(Hold { reason, retry_after_ms }) => GateAnswer::Hold {
            reason: words::clean(&reason),
            retry_after: retry_after_ms.map(|ms| Span::from_ms(ms.into())),
        },
    }
}

fn question(call: &GateCall) -> Call {
    let percent = |bp: u16| f64::from(bp) / 100.0;
    let mode = match call.gate.mode {
        GateMode::Enforce => "enforce",
        GateMode::Shadow => "shadow",
    };
    Call {
        rollout: call.rollout.to_string(),
        service: call.service.to_string(),
        stage: call.stage.as_str().to_owned(),
        step: call.step,
        attempt: call.attempt,
        blue_revision: call.blue_revision.as_ref().map(ToString::to_string),
        green_revision: call.green_revision.to_string(),
        weight_percent: percent(call.weight.bp()),
        next_weight_percent: percent(call.next_weight.bp()),
        elapsed_ms: call.elapsed.ms() as f64,
        params: call.gate.params.as_str().to_owned(),
        attributes: vec![
            ("gate".to_owned(), call.name().to_string()),
            ("mode".to_owned(), mode.to_owned()),
        ],
    }
}
