//! The epochs that are still of interest, each with the tables of its weight.

use std::collections::VecDeque;

use crate::core::model::Weight;

use super::bets::BetTable;
use super::certificate::{CertificateRule, CertificateTable};
use super::margins::MarginTable;
use super::metric::{Metric, PerMetric};
use super::ratio::RatioTables;

/// An epoch with everything that is computed once for it.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub(super) index: u64,
    pub(super) weight: Weight,
    pub(super) bets: PerMetric<BetTable>,
    pub(super) ratios: RatioTables,
    pub(super) certificates: PerMetric<Option<CertificateTable>>,
}

impl Epoch {
    pub(super) fn new(
        index: u64,
        weight: Weight,
        margins: &MarginTable,
        certificate: Option<&CertificateRule>,
    ) -> Self {
        let w = weight.share();
        Self {
            index,
            weight,
            bets: Metric::ALL.map(|metric| BetTable::against(w, margins.of(metric))),
            ratios: RatioTables::new(w),
            certificates: Metric::ALL.map(|metric| {
                certificate
                    .and_then(|rule| rule.gating[metric.index()])
                    .map(|margins| CertificateTable::new(w, margins))
            }),
        }
    }
}

/// The epoch of what was folded last and those of all open cohorts, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    kept: VecDeque<Epoch>,
}

impl Epochs {
    pub(super) fn newest(&self) -> Option<&Epoch> {
        self.kept.back()
    }

    pub(super) fn push(&mut self, epoch: Epoch) {
        self.kept.push_back(epoch);
    }

    /// An epoch that something folded or open belongs to.
    pub(super) fn of(&self, index: u64) -> &Epoch {
        let found = self.kept.iter().find(|epoch| epoch.index == index);
        found.expect("an epoch is kept as long as anything belongs to it")
    }

    /// Forgets the epochs before this one.
    pub(super) fn forget_before(&mut self, index: u64) {
        while self.kept.front().is_some_and(|epoch| epoch.index < index) {
            self.kept.pop_front();
        }
    }
}
