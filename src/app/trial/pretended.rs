//! A world that pretends a written situation, and listens.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{HttpOutcome, Situation};
use crate::core::model::{ServiceName, Side, Span, WallTime};
use crate::core::rollout::{GateStatuses, TelemetryView};
use crate::gate::{CallCost, FetchError, Fetching, IncomingResponse, OutgoingRequest, Outside};

/// What is pretended, and what was heard meanwhile.
#[derive(Debug, Default)]
pub(super) struct Pretended(Mutex<Scene>);

#[derive(Debug, Default)]
struct Scene {
    situation: Situation,
    chance: u64,
    heard: Heard,
}

/// What was heard of a gate.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) log: Vec<String>,
    pub(super) requests: Vec<String>,
    pub(super) unanswered: Vec<String>,
    /// The same is asked again and again.
    pub(super) not_said: BTreeSet<String>,
    pub(super) cost: CallCost,
}

impl Pretended {
    /// Pretends a situation from now on.
    pub(super) fn begin(&self, situation: &Situation) {
        let situation = situation.clone();
        *self.lock() = Scene { chance: situation.seed, situation, heard: Heard::default() };
    }

    /// What was heard since it began.
    pub(super) fn end(&self) -> Heard {
        std::mem::take(&mut self.lock().heard)
    }

    fn lock(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scene {
    /// Gives a number, and takes note where there is none.
    fn said<T>(&mut self, number: Option<T>, side: Side, what: &str, window: Span) -> Option<T> {
        if number.is_none() {
            self.heard.not_said.insert(format!("{side} {what} over {window}"));
        }
        number
    }

    /// The answer to a request: where several are written, one after the other, and then the last.
    fn answer(&mut self, request: &OutgoingRequest) -> Result<IncomingResponse, FetchError> {
        let asked = request.line();
        let told = format!("{asked} {}", request.body).trim_end().to_owned();
        let before = self.heard.requests.iter().filter(|sent| is_same(sent, &asked)).count();
        let outcome = {
            let fitting: Vec<_> =
                self.situation.http.iter().filter(|answer| answer.request == asked).collect();
            fitting.get(before).or(fitting.last()).map(|answer| answer.outcome.clone())
        };
        self.heard.requests.push(told.clone());
        let Some(outcome) = outcome else {
            self.heard.unanswered.push(told);
            return Err(FetchError::Unreachable(format!("the case has no answer to {asked}")));
        };
        match outcome {
            HttpOutcome::Response { body, .. } if body.len() > request.longest_body => {
                Err(FetchError::TooLarge(request.longest_body))
            }
            HttpOutcome::Response { status, headers, body } => {
                Ok(IncomingResponse { status, headers: headers.into_iter().collect(), body })
            }
            HttpOutcome::Unreachable => {
                Err(FetchError::Unreachable("the case says that nobody is there".to_owned()))
            }
            HttpOutcome::Timeout => Err(FetchError::Timeout(request.timeout)),
            HttpOutcome::TooLarge => Err(FetchError::TooLarge(request.longest_body)),
            HttpOutcome::Broken => {
                Err(FetchError::Broken("the case says that it is no HTTP".to_owned()))
            }
        }
    }

    /// The next number of a sequence (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.chance;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ (drawn >> 31)
    }
}

/// Whether a request that was sent is one of this method and URL.
fn is_same(sent: &str, asked: &str) -> bool {
    sent.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

impl TelemetryView for Pretended {
    fn metric(&self, _: &ServiceName, side: Side, name: &str, window: Span) -> Option<f64> {
        let mut scene = self.lock();
        let number = scene.situation.numbers(side).metric(name, window);
        scene.said(number, side, name, window)
    }

    fn statuses(&self, _: &ServiceName, side: Side, window: Span) -> Option<GateStatuses> {
        let mut scene = self.lock();
        let statuses = scene.situation.numbers(side).statuses(window);
        scene.said(statuses, side, "statuses", window)
    }

    fn latency(&self, _: &ServiceName, side: Side, q: f64, window: Span) -> Option<f64> {
        let mut scene = self.lock();
        let latency = scene.situation.numbers(side).latency(q, window);
        scene.said(latency, side, &format!("latency p{}", q * 100.0), window)
    }
}

impl Outside for Pretended {
    fn wall(&self) -> WallTime {
        self.lock().situation.clock
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut scene = self.lock();
        for part in bytes.chunks_mut(8) {
            let drawn = scene.draw().to_le_bytes();
            part.copy_from_slice(&drawn[..part.len()]);
        }
    }

    fn fetch<'a>(&'a self, request: &'a OutgoingRequest) -> Fetching<'a> {
        let answer = self.lock().answer(request);
        Box::pin(std::future::ready(answer))
    }

    fn logged(&self, level: &'static str, text: &str) {
        self.lock().heard.log.push(format!("{level}: {text}"));
    }

    fn took(&self, cost: CallCost) {
        self.lock().heard.cost = cost;
    }
}
