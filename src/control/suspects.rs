//! Suspects: the target of green on which alone the evidence rests is taken out of its group.
//!
//! That is leave-one-out (section 6.5 of the analysis): the evidence against green suffices, but
//! not without that target. It goes through the same door as every other ejection, with its limits:
//! a share of the group at most, and never the last target that may be given requests.

use std::sync::Arc;

use crate::core::analysis::comparison::ENDPOINTS;
use crate::core::model::RolloutId;
use crate::core::rollout::Actor;
use crate::core::routing::LiveTarget;

use super::World;
use super::draft::{About, EntryKind, entry};

impl World {
    /// Ejects the target that the evidence against a rollout's green rests on, if there is one and
    /// it may be ejected.
    pub(super) fn eject_suspect(&mut self, id: &RolloutId) {
        let now = self.now;
        let Some(active) = self.rollouts.get_mut(id) else {
            return;
        };
        let spec = Arc::clone(active.rollout.spec());
        let Some(comparing) = &mut active.comparing else {
            return;
        };
        let Some(suspect) = comparing.suspect() else {
            return;
        };
        let Some(service) = self.config.services.get(&spec.service) else {
            return;
        };
        let targets: Vec<Arc<LiveTarget>> = self.kept.live.targets(&spec.green).cloned().collect();
        let Some(target) = likeliest(&targets, suspect.place) else {
            comparing.deal_with_suspect(suspect, now.mono);
            return;
        };
        if !comparing.is_suspect_due(suspect) {
            return;
        }
        let shown = target.name().shown_at(target.address());
        let watch = self.kept.watches.entry(spec.green.clone()).or_default();
        let ejected = match &service.outlier_ejection {
            Some(rules) => watch
                .eject_for_evidence(rules, &targets, &target, now.mono)
                .ok_or("too many are out, or no other one is left"),
            None => Err("`outlier_ejection` is off"),
        };
        let length = match ejected {
            Ok(length) => length,
            Err(why) => {
                let why = format!(
                    "all the evidence against green rests on its target {shown}, which is not \
                     ejected: {why}"
                );
                comparing.keep_suspect(why, now.mono);
                return;
            }
        };
        let (service, group, evidence) = (&spec.service, &spec.green, suspect.evidence);
        tracing::warn!(
            rollout = %id, %service, %group, address = shown, evidence, %length,
            "target ejected: all the evidence against green rests on it"
        );
        let told = format!("{shown} for {length}, at evidence {evidence:.1}");
        comparing.eject_suspect(suspect, told, now.mono);
        let detail = serde_json::json!({
            "target_group": group, "target": shown, "reason": "evidence",
            "length_ms": length.ms(), "evidence": evidence, "needed": comparing.needed(),
        });
        let about = About { service: Some(service.clone()), rollout: Some(id.clone()) };
        let by = Actor::tidegate();
        self.note(entry(EntryKind::TargetEjected, about, &detail, (&by, None), now.wall));
        self.changed = true;
    }
}

/// The target at a place; of several that share it the one that fails most. `None` if there is
/// none, or one of them is out already.
fn likeliest(targets: &[Arc<LiveTarget>], place: usize) -> Option<Arc<LiveTarget>> {
    let here = || targets.iter().filter(|target| target.place() % ENDPOINTS == place);
    if here().any(|target| target.is_ejected()) {
        return None;
    }
    let failing = |target: &Arc<LiveTarget>| {
        let (bad, good) = (target.failures(), target.successes());
        bad as f64 / (bad + good).max(1) as f64
    };
    here().max_by(|one, other| failing(one).total_cmp(&failing(other))).cloned()
}
