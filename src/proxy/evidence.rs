//! What a request says for or against green.
//!
//! A request that was drawn is counted in right after its side was chosen, and settled by what its
//! *first* attempt came to, for the side that it was *assigned*: that blue rescued it, or a second
//! target answered, takes nothing back. It is settled at the headers of the final answer, or at
//! whatever came instead; also when its future is dropped, which is a client that went away and bad
//! on both sides. What breaks afterwards is counted apart (`late_failure`).
//!
//! A first attempt that is given up sooner than one of the other side would be (`per_try`, where one
//! side alone has somebody else to ask) is not known to have failed: it stays open.
//!
//! Left out are only requests of which that is known before the draw, for both sides alike: those
//! that no draw decides or whose path is excluded ([`Selection::scored`]), those of a table with
//! another weight than the present cohort's, and all while blue has no target that may be given a
//! request, for they are routed by panic or to a green that stands in.
//!
//! Latency runs from where the request is about to be written to a connection that stands
//! (`upstream_request_filter`) to where the answer's header was read: a new connection is no
//! slowness, or a green with few requests and a cold pool would look slow. A body that is on its
//! way after its header is in it, on both sides. Where it begins is counted, too, so that a request
//! that is not answered is known to be slow before it ends.

use std::sync::Arc;

use crate::core::analysis::comparison::{Settled, Ticket};
use crate::core::model::{MonoTime, Side};
use crate::core::routing::{MeterId, ServiceRoute};
use crate::telemetry::Recorder;

use super::selection::Selection;

/// The evidence of one request.
#[derive(Debug)]
pub(super) struct Evidence {
    service: Arc<ServiceRoute>,
    side: Side,
    /// `None` for one that is not counted, or was settled.
    ticket: Option<Ticket>,
    is_counted: bool,
    /// The place of green's target that is tried first; `None` on blue and without a target.
    endpoint: Option<usize>,
    /// When it was about to be written, or else when it began.
    sent_us: u64,
    stand: Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Nothing is known.
    Open,
    /// The header of the final answer is there, and may say more than its status.
    Answered { grade: Grade, latency_us: u64 },
    /// It was answered without a failure, and settled.
    Settled,
    /// It was settled as a failure, or a failure after the answer was counted.
    Over,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    ClientError,
    Failure,
}

impl Grade {
    fn of(status: u16) -> Self {
        match status {
            // Whoever is not let in, or asks too often, has found the service as it should be.
            401 | 407 | 429 => Self::Good,
            400..=499 => Self::ClientError,
            100..=399 => Self::Good,
            _ => Self::Failure,
        }
    }
}

impl Evidence {
    /// Counts a request in; to be called before it is sent.
    pub(super) fn arrive(selection: &Selection<'_>, started_us: u64) -> Self {
        let Selection { service, side, target, unit, .. } = *selection;
        let counters = service.comparison.as_ref().filter(|_| service.blue_may_serve());
        let weight = service.exposure.split.green();
        let ticket = counters.and_then(|counters| counters.arrive(side, weight, unit));
        let endpoint = match side {
            Side::Green => target.map(|target| target.place()),
            Side::Blue => None,
        };
        Self {
            service: Arc::clone(service),
            side,
            is_counted: ticket.is_some(),
            ticket,
            endpoint,
            sent_us: started_us,
            stand: Stand::Open,
        }
    }

    /// The request is about to be written to a connection that stands.
    pub(super) fn sent(&mut self, now_us: u64) {
        self.sent_us = now_us;
        if let Some((counters, ticket)) = self.service.comparison.as_ref().zip(self.ticket.as_mut())
        {
            counters.written(ticket, self.endpoint, MonoTime::from_ms(now_us / 1_000));
        }
    }

    /// The header of a final answer is there.
    pub(super) fn answered(&mut self, status: u16, now_us: u64) {
        if self.stand == Stand::Open {
            let latency_us = now_us.saturating_sub(self.sent_us);
            self.stand = Stand::Answered { grade: Grade::of(status), latency_us };
        }
    }

    /// All that the header says is known: `grpc` is the status of HTTP that stands for the status
    /// in it of a call of gRPC, `None` where it has none.
    pub(super) fn header_ended(&mut self, grpc: Option<u16>, recorder: &Recorder) {
        let Stand::Answered { grade, latency_us } = self.stand else { return };
        let grade = match grpc {
            Some(200) | None => grade,
            Some(_) => Grade::Failure,
        };
        self.stand = if grade == Grade::Failure { Stand::Over } else { Stand::Settled };
        self.settle(grade, latency_us, recorder, self.sent_us + latency_us);
    }

    /// Its target is given up sooner than one of the other side would be. What it would have come to
    /// is not known: it stays open for good, which speaks against whatever is to be shown, or a side
    /// that is as good would fail what the other one is given the time for.
    pub(super) fn cut_short(&mut self, now_us: u64) {
        if let Some((counters, ticket)) = self.service.comparison.as_ref().zip(self.ticket.take()) {
            counters.cut_short(&ticket, self.endpoint, MonoTime::from_ms(now_us / 1_000));
        }
    }

    /// An attempt failed, or what an answer's header promised did not come.
    pub(super) fn failed(&mut self, meter: MeterId, recorder: &Recorder, now_us: u64) {
        match self.stand {
            Stand::Open | Stand::Answered { .. } => {
                self.settle(Grade::Failure, 0, recorder, now_us);
            }
            Stand::Settled => {
                recorder.late_failure(meter);
                let counters = self.service.comparison.as_ref().filter(|_| self.is_counted);
                if let Some(counters) = counters {
                    counters.late_failure(self.side);
                }
            }
            Stand::Over => {}
        }
        self.stand = Stand::Over;
    }

    /// The request is over: one of which nothing is known was given up by its client.
    pub(super) fn over(&mut self, recorder: &Recorder, now_us: u64) {
        self.header_ended(None, recorder);
        if self.stand == Stand::Open {
            self.settle(Grade::Failure, 0, recorder, now_us);
        }
        self.stand = Stand::Over;
    }

    fn settle(&mut self, grade: Grade, latency_us: u64, recorder: &Recorder, now_us: u64) {
        let latency_us = match grade {
            Grade::Good | Grade::ClientError => Some(latency_us),
            Grade::Failure => None,
        };
        if let (Side::Blue, Some(latency_us)) = (self.side, latency_us) {
            self.service.live.latencies.record(latency_us);
        }
        let Some((counters, ticket)) = self.service.comparison.as_ref().zip(self.ticket.take())
        else {
            return;
        };
        let settled = Settled {
            errors: grade == Grade::Failure,
            client4xx: grade == Grade::ClientError,
            latency_us,
            endpoint: self.endpoint,
        };
        counters.settle(ticket, settled, MonoTime::from_ms(now_us / 1_000));
        if self.side == Side::Green && grade != Grade::Good {
            recorder.tell_green_failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_graded_by_who_is_to_blame() {
        let check = |statuses: &[u16], grade: Grade| {
            assert!(statuses.iter().all(|status| Grade::of(*status) == grade), "{grade:?}");
        };
        check(&[101, 200, 204, 302, 304, 399, 401, 407, 429], Grade::Good);
        check(&[400, 403, 404, 408, 410, 428, 430, 451, 499], Grade::ClientError);
        check(&[0, 99, 500, 501, 503, 599, 600, 700], Grade::Failure);
    }
}
