//! What is known of targets, carried over to a table whose targets were not checked yet: without
//! it the first requests after an upgrade would go to targets that have failed their checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::model::{TargetGroupName, TargetHealth};
use crate::core::routing::{LiveTarget, RoutingTable};

/// A target whose checks have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct KnownTarget {
    group: TargetGroupName,
    address: String,
    healthy: bool,
}

/// The targets of a table whose checks have decided.
pub(in crate::app) fn known_targets(table: &RoutingTable) -> Vec<KnownTarget> {
    known(targets(table))
}

/// Tells the targets of a table what was known of them; those that were checked since know better.
pub(in crate::app) fn remember(table: &RoutingTable, known: &[KnownTarget]) {
    tell(targets(table), known);
}

fn targets(table: &RoutingTable) -> impl Iterator<Item = (&TargetGroupName, &LiveTarget)> {
    let sides = table.services.values().flat_map(|service| [&service.blue, &service.green]);
    sides.flat_map(|side| side.targets.iter().map(move |target| (&side.group, target.as_ref())))
}

fn known<'t>(
    targets: impl Iterator<Item = (&'t TargetGroupName, &'t LiveTarget)>,
) -> Vec<KnownTarget> {
    let decided = targets.filter_map(|(group, target)| {
        let healthy = match target.health() {
            TargetHealth::Unknown => return None,
            TargetHealth::Healthy => true,
            TargetHealth::Unhealthy => false,
        };
        let address = target.address().to_string();
        Some(KnownTarget { group: group.clone(), address, healthy })
    });
    decided.take(MOST_TARGETS).collect()
}

fn tell<'t>(
    targets: impl Iterator<Item = (&'t TargetGroupName, &'t LiveTarget)>,
    known: &[KnownTarget],
) {
    let known: BTreeMap<(&str, &str), bool> = known
        .iter()
        .map(|known| ((known.group.as_str(), known.address.as_str()), known.healthy))
        .collect();
    for (group, target) in targets {
        let address = target.address().to_string();
        let before = known.get(&(group.as_str(), address.as_str()));
        let health = match (target.health(), before) {
            (TargetHealth::Unknown, Some(true)) => TargetHealth::Healthy,
            (TargetHealth::Unknown, Some(false)) => TargetHealth::Unhealthy,
            (TargetHealth::Unknown, None)
            | (TargetHealth::Healthy | TargetHealth::Unhealthy, _) => continue,
        };
        target.set_health(health);
    }
}

/// More would take longer to tell than to check.
const MOST_TARGETS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::{Target, TargetGroup};
    use crate::core::routing::LiveTargets;

    fn live(group: &TargetGroupName, healths: [TargetHealth; 4]) -> LiveTargets {
        let address = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let targets = (1..=4).map(|port| Target { address: address(port).into() }).collect();
        let mut live = LiveTargets::default();
        live.register(
            &TargetGroup::new(group.clone(), targets).expect("valid"),
            TargetHealth::Unknown,
        );
        live.targets(group).zip(healths).for_each(|(target, health)| target.set_health(health));
        live
    }

    #[test]
    fn what_was_decided_is_known_again_and_what_was_checked_since_stays() {
        let (healthy, unhealthy, unknown) =
            (TargetHealth::Healthy, TargetHealth::Unhealthy, TargetHealth::Unknown);
        let group: TargetGroupName = "shop-a".parse().expect("valid");
        let before = live(&group, [healthy, unhealthy, unknown, unhealthy]);
        let after = live(&group, [unknown, unknown, unknown, healthy]);
        let of = |live: &LiveTargets| -> Vec<std::sync::Arc<LiveTarget>> {
            live.targets(&group).cloned().collect()
        };
        let (before, after) = (of(&before), of(&after));
        let told = known(before.iter().map(|target| (&group, target.as_ref())));
        let told = serde_json::to_string(&told).expect("text");
        let told: Vec<KnownTarget> = serde_json::from_str(&told).expect("the same");
        tell(after.iter().map(|target| (&group, target.as_ref())), &told);
        let found: Vec<TargetHealth> = after.iter().map(|target| target.health()).collect();
        assert_eq!(found, [healthy, unhealthy, unknown, healthy]);
    }
}
