//! Blue's latencies of the last epochs, service by service: what thresholds are made of.
//!
//! They are kept outside of rollouts as well, so that a rollout has thresholds from its first
//! request on.

use std::collections::BTreeMap;

use crate::core::analysis::comparison::Calendar;
use crate::core::analysis::{LatencyTolerance, ThresholdBook, Thresholds};
use crate::core::model::{AnalysisSpec, MonoTime, ServiceName};
use crate::core::routing::LiveService;

use super::World;

/// The books of all services that compare.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    books: BTreeMap<ServiceName, Book>,
}

#[derive(Debug)]
struct Book {
    book: ThresholdBook,
    /// When its last epoch was closed.
    closed: MonoTime,
}

impl Latencies {
    /// Closes a service's epoch; the thresholds of the next.
    pub(super) fn next_epoch(
        &mut self,
        service: &ServiceName,
        spec: &AnalysisSpec,
        live: Option<&LiveService>,
        now: MonoTime,
    ) -> Thresholds {
        let tolerance = LatencyTolerance {
            relative_bp: spec.latency_relative_bp,
            absolute: spec.latency_absolute,
        };
        let new = || Book { book: ThresholdBook::new(tolerance), closed: now };
        let book = self.books.entry(service.clone()).or_insert_with(new);
        book.closed = now;
        book.book.tolerate(tolerance);
        if let Some(live) = live {
            book.book.present().merge(&live.latencies.take());
        }
        book.book.next_epoch()
    }

    /// Whether a service's epoch has lasted its time.
    fn is_over(&self, service: &ServiceName, now: MonoTime) -> bool {
        let book = self.books.get(service);
        book.is_none_or(|book| now.since(book.closed) >= Calendar::EPOCH)
    }
}

impl World {
    /// Closes the epochs of services that no comparison closes.
    pub(super) fn keep_latencies(&mut self) {
        let now = self.now.mono;
        let table = self.table.load();
        for spec in self.config.services.values() {
            let Some(analysis) = &spec.analysis else { continue };
            let active = self.services.get(&spec.name).and_then(|state| state.active.as_ref());
            let active = active.and_then(|id| self.rollouts.get(id));
            let compared = active.and_then(|active| active.comparing.as_ref());
            if compared.is_some_and(super::comparing::Comparing::has_begun)
                || !self.kept.latencies.is_over(&spec.name, now)
            {
                continue;
            }
            let live = table.services.get(&spec.name).map(|route| &*route.live);
            self.kept.latencies.next_epoch(&spec.name, analysis, live, now);
        }
    }
}
