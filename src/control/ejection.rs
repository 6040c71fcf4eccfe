//! Passive health and slow start: what each tick makes of what requests came to.
//!
//! The proxy counts on the live targets; here the counts are given to [`Outliers`] and
//! [`Warmup`], and what they say is set on the live targets, where the next request finds it. No
//! table is published for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::health::{EjectionReason, OutlierChange, Outliers, TargetSeen, Warmup};
use crate::core::model::{MonoTime, OutlierSpec, ServiceSpec, Span, TargetGroupName, TargetHealth};
use crate::core::routing::LiveTarget;
use crate::telemetry::EjectionsGauge;

use super::World;

/// What is remembered of a group's targets from tick to tick.
#[derive(Debug, Default)]
pub(super) struct GroupWatch {
    outliers: Outliers,
    /// By the number of the registration.
    warmups: BTreeMap<u64, Warmup>,
    /// Ejections since the process started.
    ejections: BTreeMap<EjectionReason, u64>,
}

impl World {
    /// Ejects and takes back targets, and lets their shares grow.
    pub(super) fn watch_targets(&mut self) {
        let now = self.now.mono;
        for spec in self.config.services.values() {
            for group in &spec.target_groups {
                let targets: Vec<Arc<LiveTarget>> =
                    self.kept.live.targets(group).cloned().collect();
                let watch = self.kept.watches.entry(group.clone()).or_default();
                self.changed |= watch.judge(spec, group, &targets, now);
                watch.warm_up(spec, &targets, now);
            }
        }
    }

    /// How often targets of each group were ejected, and why.
    pub(super) fn ejections(&self) -> Vec<EjectionsGauge> {
        let mut gauges = Vec::new();
        for spec in self.config.services.values() {
            for group in &spec.target_groups {
                let watch = self.kept.watches.get(group);
                gauges.extend(EjectionReason::ALL.map(|reason| EjectionsGauge {
                    service: spec.name.clone(),
                    target_group: group.clone(),
                    reason: reason.as_str(),
                    ejections: watch.and_then(|w| w.ejections.get(&reason).copied()).unwrap_or(0),
                }));
            }
        }
        gauges
    }
}

impl GroupWatch {
    /// Whether anything changed.
    fn judge(
        &mut self,
        spec: &ServiceSpec,
        group: &TargetGroupName,
        targets: &[Arc<LiveTarget>],
        now: MonoTime,
    ) -> bool {
        let changes = match &spec.outlier_ejection {
            Some(rules) => {
                let seen: Vec<TargetSeen> = targets.iter().map(|target| seen(target)).collect();
                self.outliers.look(rules, &seen, now)
            }
            None => self.outliers.release(),
        };
        for change in &changes {
            let found = targets.iter().find(|t| t.incarnation() == change.target());
            let Some(target) = found else { continue };
            let (service, address) = (&spec.name, target.address());
            match change {
                OutlierChange::Ejected { reason, length, .. } => {
                    target.eject();
                    *self.ejections.entry(*reason).or_default() += 1;
                    let reason = reason.as_str();
                    tracing::warn!(%service, %group, %address, reason, %length, "target ejected");
                }
                OutlierChange::Returned { .. } => {
                    target.readmit();
                    tracing::info!(%service, %group, %address, "target taken back");
                }
            }
        }
        !changes.is_empty()
    }

    /// Takes out a target on which all the evidence against its group rests; for how long. `None`
    /// if the rules do not permit it.
    pub(super) fn eject_for_evidence(
        &mut self,
        rules: &OutlierSpec,
        targets: &[Arc<LiveTarget>],
        target: &LiveTarget,
        now: MonoTime,
    ) -> Option<Span> {
        let seen: Vec<TargetSeen> = targets.iter().map(|target| seen(target)).collect();
        let length = self.outliers.eject_for_evidence(rules, &seen, target.incarnation(), now)?;
        target.eject();
        *self.ejections.entry(EjectionReason::Evidence).or_default() += 1;
        Some(length)
    }

    fn warm_up(&mut self, spec: &ServiceSpec, targets: &[Arc<LiveTarget>], now: MonoTime) {
        let mut before = std::mem::take(&mut self.warmups);
        for target in targets {
            let mut warmup = before.remove(&target.incarnation()).unwrap_or_default();
            target.set_share(warmup.share(spec.slow_start, target.is_able(), now));
            self.warmups.insert(target.incarnation(), warmup);
        }
    }
}

fn seen(target: &LiveTarget) -> TargetSeen {
    TargetSeen {
        target: target.incarnation(),
        successes: target.successes(),
        failures: target.failures(),
        consecutive: target.consecutive_failures(),
        healthy: target.health() == TargetHealth::Healthy,
    }
}
