//! A world that says what was said in a call that was taken down.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::model::{ServiceName, Side, Span, WallTime};
use crate::core::rollout::{GateHearing, GateStatuses, Heard, HeardAnswer, TelemetryView};
use crate::gate::{CallCost, FetchError, Fetching, IncomingResponse, OutgoingRequest, Outside};

/// What was said, and what is asked now.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Scene>);

#[derive(Debug, Default)]
struct Scene {
    at: WallTime,
    /// Each with whether it was asked for again.
    heard: Vec<(bool, Heard)>,
    asked: AskedNow,
}

/// What was heard of a gate that was asked again.
#[derive(Debug, Default)]
pub(super) struct AskedNow {
    /// What it asked that there is no answer to.
    pub(super) not_said: BTreeSet<String>,
    pub(super) log: Vec<String>,
    pub(super) cost: CallCost,
}

impl Remembered {
    /// Says from now on what was said in a call.
    pub(super) fn begin(&self, hearing: &GateHearing) {
        let heard = hearing.heard.iter().map(|heard| (false, heard.clone())).collect();
        *self.lock() = Scene { at: hearing.at, heard, asked: AskedNow::default() };
    }

    /// What was heard since it began.
    pub(super) fn end(&self) -> AskedNow {
        std::mem::take(&mut self.lock().asked)
    }

    fn lock(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scene {
    /// The next answer to a question; where it was asked less often then, the last one.
    fn next(&mut self, is_it: impl Fn(&Heard) -> bool) -> Option<Heard> {
        let unused = self.heard.iter().position(|(used, heard)| !*used && is_it(heard));
        let place = unused.or_else(|| self.heard.iter().rposition(|(_, heard)| is_it(heard)))?;
        let (used, heard) = &mut self.heard[place];
        *used = true;
        Some(heard.clone())
    }

    fn not_said(&mut self, what: String) {
        self.asked.not_said.insert(what);
    }

    fn chance(&mut self, bytes: &mut [u8]) {
        let wanted = bytes.len();
        let place = self.heard.iter().position(|(used, heard)| {
            !*used && matches!(heard, Heard::Chance { bytes } if bytes.len() == 2 * wanted)
        });
        let drawn = place.and_then(|place| {
            let (used, heard) = &mut self.heard[place];
            *used = true;
            let Heard::Chance { bytes } = heard else { return None };
            from_digits(bytes)
        });
        match drawn {
            Some(drawn) if drawn.len() == wanted => bytes.copy_from_slice(&drawn),
            Some(_) | None => {
                bytes.fill(0);
                self.not_said(format!("{wanted} bytes of chance"));
            }
        }
    }

    fn answer(&mut self, request: &OutgoingRequest) -> Result<IncomingResponse, FetchError> {
        let line = request.line();
        let is_it = |heard: &Heard| {
            matches!(heard, Heard::Http { request: asked, body, .. }
                if *asked == line && *body == request.body)
        };
        let Some(Heard::Http { answer, .. }) = self.next(is_it) else {
            let told = format!("{line} {}", request.body);
            self.not_said(format!("the answer to {}", told.trim_end()));
            let text = format!("the record has no answer to {line}");
            return Err(FetchError::Unreachable(text));
        };
        match answer {
            HeardAnswer::Response { status, headers, body } => {
                Ok(IncomingResponse { status, headers, body })
            }
            HeardAnswer::Long { .. } => {
                self.not_said(format!("the answer to {line}, which was too long to be kept"));
                Err(FetchError::TooLarge(request.longest_body))
            }
            HeardAnswer::Denied { reason } => Err(FetchError::Denied(reason)),
            HeardAnswer::Invalid { reason } => Err(FetchError::Invalid(reason)),
            HeardAnswer::Unreachable { reason } => Err(FetchError::Unreachable(reason)),
            HeardAnswer::Timeout { after } => Err(FetchError::Timeout(after)),
            HeardAnswer::TooLarge { bytes } => {
                Err(FetchError::TooLarge(usize::try_from(bytes).unwrap_or(usize::MAX)))
            }
            HeardAnswer::Broken { reason } => Err(FetchError::Broken(reason)),
        }
    }
}

/// Bytes of hexadecimal digits; `None` if they are none.
fn from_digits(digits: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn is_over(window: Span, window_ms: u32) -> bool {
    window == Span::from_ms(window_ms.into())
}

impl TelemetryView for Remembered {
    fn metric(&self, _: &ServiceName, side: Side, name: &str, window: Span) -> Option<f64> {
        let mut scene = self.lock();
        let found = scene.next(|heard| {
            matches!(heard, Heard::Metric { side: of, name: what, window_ms, .. }
                if *of == side && what == name && is_over(window, *window_ms))
        });
        let Some(Heard::Metric { value, .. }) = found else {
            scene.not_said(format!("{side} {name} over {window}"));
            return None;
        };
        value.map(|value| value.0)
    }

    fn statuses(&self, _: &ServiceName, side: Side, window: Span) -> Option<GateStatuses> {
        let mut scene = self.lock();
        let found = scene.next(|heard| {
            matches!(heard, Heard::Statuses { side: of, window_ms, .. }
                if *of == side && is_over(window, *window_ms))
        });
        let Some(Heard::Statuses { counts, .. }) = found else {
            scene.not_said(format!("{side} statuses over {window}"));
            return None;
        };
        counts
    }

    fn latency(&self, _: &ServiceName, side: Side, q: f64, window: Span) -> Option<f64> {
        let mut scene = self.lock();
        let found = scene.next(|heard| {
            matches!(heard, Heard::Latency { side: of, q: share, window_ms, .. }
                if *of == side && share.0.to_bits() == q.to_bits() && is_over(window, *window_ms))
        });
        let Some(Heard::Latency { value, .. }) = found else {
            scene.not_said(format!("{side} latency p{} over {window}", q * 100.0));
            return None;
        };
        value.map(|value| value.0)
    }
}

impl Outside for Remembered {
    fn wall(&self) -> WallTime {
        self.lock().at
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.lock().chance(bytes);
    }

    fn fetch<'a>(&'a self, request: &'a OutgoingRequest) -> Fetching<'a> {
        let answer = self.lock().answer(request);
        Box::pin(std::future::ready(answer))
    }

    fn logged(&self, level: &'static str, text: &str) {
        self.lock().asked.log.push(format!("{level}: {text}"));
    }

    fn took(&self, cost: CallCost) {
        self.lock().asked.cost = cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rollout::Number;

    #[test]
    fn the_same_question_gets_its_answers_in_order_and_then_the_last() {
        let world = Remembered::default();
        let metric = |value| {
            let (side, name, window_ms) = (Side::Green, "errors".to_owned(), 60_000);
            (false, Heard::Metric { side, name, window_ms, value: Some(Number(value)) })
        };
        world.lock().heard = vec![metric(1.0), metric(2.0)];
        let shop: ServiceName = "shop".parse().expect("a name");
        let ask = |side| world.metric(&shop, side, "errors", Span::from_mins(1));
        assert_eq!(
            [ask(Side::Green), ask(Side::Green), ask(Side::Green)],
            [1.0, 2.0, 2.0].map(Some)
        );
        assert!(world.end().not_said.is_empty());
        assert_eq!(ask(Side::Blue), None);
        let not_said: Vec<_> = world.end().not_said.into_iter().collect();
        assert_eq!(not_said, ["blue errors over 1m"]);
    }

    #[test]
    fn chance_is_what_it_was_and_nothing_where_it_was_not_drawn() {
        let world = Remembered::default();
        world.lock().heard = vec![(false, Heard::Chance { bytes: "0aff".to_owned() })];
        let mut bytes = [1; 2];
        world.fill(&mut bytes);
        assert_eq!(bytes, [0x0a, 0xff]);
        world.fill(&mut bytes);
        assert_eq!(bytes, [0, 0]);
        let not_said: Vec<_> = world.end().not_said.into_iter().collect();
        assert_eq!(not_said, ["2 bytes of chance"]);
    }
}
