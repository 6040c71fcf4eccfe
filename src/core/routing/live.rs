//! What a target keeps while tables come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::core::model::{
    GroupHealth, TargetAddress, TargetGroup, TargetGroupName, TargetHealth, TargetName,
};

use super::Resolved;
use super::passive::Passive;

/// The state of one target, shared by every table that lists it. A target that is written as a name
/// is one for each address of that name.
#[derive(Debug)]
pub struct LiveTarget {
    address: TargetAddress,
    incarnation: u64,
    in_flight: AtomicU32,
    health: AtomicU8,
    name: TargetName,
    pub(super) passive: Passive,
    place: usize,
}

impl LiveTarget {
    /// The target as written.
    #[must_use]
    pub fn name(&self) -> &TargetName {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> TargetAddress {
        self.address
    }

    /// The number of this registration: a target that left and came back has another one, so that
    /// connections of its earlier life are not used again.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Its place in its group: it keeps it while it is registered, whoever comes and goes; the
    /// smallest that was free.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request in.
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request out.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Its health by its checks.
    #[must_use]
    pub fn health(&self) -> TargetHealth {
        match self.health.load(Ordering::Relaxed) {
            1 => TargetHealth::Healthy,
            2 => TargetHealth::Unhealthy,
            _ => TargetHealth::Unknown,
        }
    }

    /// Sets its health; the next request sees it.
    pub fn set_health(&self, health: TargetHealth) {
        let code = match health {
            TargetHealth::Unknown => 0,
            TargetHealth::Healthy => 1,
            TargetHealth::Unhealthy => 2,
        };
        self.health.store(code, Ordering::Relaxed);
    }
}

/// The state of one group, shared by every table that lists it.
#[derive(Debug, Default)]
pub struct LiveGroup {
    rotation: AtomicU32,
    departures: AtomicU64,
    carried_in: AtomicU64,
}

impl LiveGroup {
    /// The next number of the round robin.
    pub fn next_turn(&self) -> u32 {
        self.rotation.fetch_add(1, Ordering::Relaxed)
    }

    /// How often what ran on the group was told to leave. Who began at another number has to.
    #[must_use]
    pub fn departures(&self) -> u64 {
        self.departures.load(Ordering::Acquire)
    }

    /// The newest table in which requests could come to the group, by its generation; 0 before
    /// the first.
    #[must_use]
    pub fn carried_in(&self) -> u64 {
        self.carried_in.load(Ordering::Acquire)
    }

    /// Notes that requests can come to the group in a table, before anybody loads it.
    pub fn carry(&self, generation: u64) {
        self.carried_in.store(generation, Ordering::Release);
    }

    /// Tells what runs on the group to leave; what begins later stays.
    pub fn depart(&self) {
        self.departures.fetch_add(1, Ordering::AcqRel);
    }
}

/// Every live target by group: the registry from which tables are built.
#[derive(Debug, Default)]
pub struct LiveTargets {
    groups: BTreeMap<TargetGroupName, Registered>,
    incarnations: AtomicU64,
    resolved: Resolved,
}

#[derive(Debug, Default)]
struct Registered {
    group: Arc<LiveGroup>,
    targets: BTreeMap<(TargetAddress, TargetName), Arc<LiveTarget>>,
}

impl LiveTargets {
    /// Makes the registry hold exactly a group's targets, each name at its last known addresses;
    /// those that stay keep their state, new ones start with the given health.
    pub fn register(&mut self, group: &TargetGroup, initial: TargetHealth) {
        let registered = self.groups.entry(group.name().clone()).or_default();
        let mut before = std::mem::take(&mut registered.targets);
        let names = group.targets().iter().map(|target| &target.address);
        let keys: Vec<(TargetAddress, TargetName)> = names
            .flat_map(|name| self.resolved.of(name).iter().map(move |at| (*at, name.clone())))
            .collect();
        let stays = keys.iter().filter_map(|key| before.get(key));
        let taken: BTreeSet<usize> = stays.map(|target| target.place).collect();
        let mut free = (0_usize..).filter(|place| !taken.contains(place));
        for key in keys {
            let (address, name) = (key.0, &key.1);
            let kept = before.remove(&key).unwrap_or_else(|| {
                let target = LiveTarget {
                    address,
                    incarnation: self.incarnations.fetch_add(1, Ordering::Relaxed),
                    in_flight: AtomicU32::new(0),
                    health: AtomicU8::new(0),
                    name: name.clone(),
                    passive: Passive::default(),
                    place: free.next().expect("there are more numbers than targets"),
                };
                target.set_health(initial);
                Arc::new(target)
            });
            registered.targets.insert(key, kept);
        }
    }

    /// Takes the addresses of a name; gives whether they are others than before. They count from
    /// the next [`Self::register`]. No addresses change nothing: what was known stays.
    pub fn resolve(&mut self, name: &TargetName, addresses: &[TargetAddress]) -> bool {
        self.resolved.set(name, addresses)
    }

    /// What names resolved to last.
    #[must_use]
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Forgets the addresses of every other name.
    pub fn keep_only(&mut self, names: &BTreeSet<TargetName>) {
        self.resolved.keep_only(names);
    }

    /// A group's targets, ordered by address.
    pub fn targets(&self, group: &TargetGroupName) -> impl Iterator<Item = &Arc<LiveTarget>> {
        self.groups.get(group).into_iter().flat_map(|registered| registered.targets.values())
    }

    /// A group's shared state; a new one if the group was never registered.
    #[must_use]
    pub fn group(&self, group: &TargetGroupName) -> Arc<LiveGroup> {
        self.groups.get(group).map(|registered| Arc::clone(&registered.group)).unwrap_or_default()
    }

    /// How many of a group's targets are healthy: by their checks, and not ejected.
    #[must_use]
    pub fn health(&self, group: &TargetGroupName) -> GroupHealth {
        self.targets(group).fold(GroupHealth::default(), |seen, target| GroupHealth {
            targets: seen.targets + 1,
            healthy: seen.healthy + u32::from(target.is_able()),
            unknown: seen.unknown + u32::from(target.is_unchecked()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Target;

    fn group(addresses: &[&str]) -> TargetGroup {
        let targets =
            addresses.iter().map(|a| Target { address: a.parse().expect("valid") }).collect();
        TargetGroup::new("g".parse().expect("valid"), targets).expect("valid")
    }

    #[test]
    fn a_target_that_stays_keeps_its_state_and_one_that_comes_back_does_not() {
        let mut live = LiveTargets::default();
        live.register(&group(&["127.0.0.1:1", "127.0.0.1:2"]), TargetHealth::Healthy);
        let name = group(&[]).name().clone();
        let first = Arc::clone(live.targets(&name).next().expect("two targets"));
        first.enter();
        live.register(&group(&["127.0.0.1:1"]), TargetHealth::Unknown);
        let kept = Arc::clone(live.targets(&name).next().expect("one target"));
        assert!(Arc::ptr_eq(&first, &kept));
        assert_eq!(live.health(&name), GroupHealth { targets: 1, healthy: 1, unknown: 0 });
        live.register(&group(&[]), TargetHealth::Unknown);
        live.register(&group(&["127.0.0.1:1"]), TargetHealth::Unknown);
        let back = live.targets(&name).next().expect("one target");
        assert_ne!(back.incarnation(), first.incarnation());
        assert_eq!(back.in_flight(), 0);
    }

    #[test]
    fn a_target_keeps_its_place_whoever_comes_and_goes() {
        let mut live = LiveTargets::default();
        let mut places = |addresses: &[&str]| -> Vec<usize> {
            let group = group(addresses);
            live.register(&group, TargetHealth::Healthy);
            live.targets(group.name()).map(|target| target.place()).collect()
        };
        assert_eq!(places(&["127.0.0.1:2", "127.0.0.1:3"]), [0, 1]);
        assert_eq!(places(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]), [2, 0, 1]);
        assert_eq!(places(&["127.0.0.1:1", "127.0.0.1:3"]), [2, 1]);
        assert_eq!(places(&["127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:4"]), [2, 1, 0]);
    }

    #[test]
    fn a_name_is_a_target_at_each_of_its_addresses_and_those_that_stay_keep_their_state() {
        let mut live = LiveTargets::default();
        let listed = group(&["shop.internal:80", "127.0.0.1:1"]);
        let shop = listed.targets()[0].address.clone();
        let address = |text: &str| text.parse::<TargetAddress>().expect("valid");
        live.register(&listed, TargetHealth::Unknown);
        assert_eq!(live.health(listed.name()).targets, 1, "a name without an answer is no target");

        let (one, two, three) =
            (address("10.0.0.1:80"), address("10.0.0.2:80"), address("10.0.0.3:80"));
        assert!(live.resolve(&shop, &[one, two]));
        live.register(&listed, TargetHealth::Unknown);
        let of_name = |live: &LiveTargets| -> Vec<Arc<LiveTarget>> {
            live.targets(listed.name()).filter(|t| *t.name() == shop).cloned().collect()
        };
        let before = of_name(&live);
        assert_eq!(before.iter().map(|t| t.address()).collect::<Vec<_>>(), [one, two]);
        before[1].set_health(TargetHealth::Healthy);

        assert!(live.resolve(&shop, &[two, three]));
        live.register(&listed, TargetHealth::Unknown);
        let after = of_name(&live);
        assert_eq!(after.iter().map(|t| t.address()).collect::<Vec<_>>(), [two, three]);
        assert!(Arc::ptr_eq(&before[1], &after[0]));
        let health: Vec<_> = after.iter().map(|t| t.health()).collect();
        assert_eq!(health, [TargetHealth::Healthy, TargetHealth::Unknown]);

        assert!(!live.resolve(&shop, &[]));
        live.register(&listed, TargetHealth::Unknown);
        assert_eq!(of_name(&live).len(), 2, "an empty answer takes nothing away");
    }

    #[test]
    fn an_ejected_target_is_not_healthy_whatever_its_checks_say() {
        let mut live = LiveTargets::default();
        let group = group(&["127.0.0.1:1", "127.0.0.1:2"]);
        live.register(&group, TargetHealth::Healthy);
        let first = Arc::clone(live.targets(group.name()).next().expect("two targets"));
        for _ in 0..3 {
            first.count_failure();
        }
        first.eject();
        let health = |healthy, unknown| GroupHealth { targets: 2, healthy, unknown };
        assert_eq!(live.health(group.name()), health(1, 0));
        first.set_health(TargetHealth::Unknown);
        assert_eq!(live.health(group.name()), health(1, 0), "it is decided, and against it");
        first.readmit();
        assert_eq!(live.health(group.name()), health(1, 1));
        assert_eq!((first.failures(), first.consecutive_failures()), (3, 0));
    }
}
