//! The links of all groups: made anew only where a transport changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::model::{TargetGroupName, Transport};
use crate::core::routing::Link;

/// The links in use, by group.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_group: BTreeMap<TargetGroupName, Arc<Link>>,
    /// How many were made.
    made: u64,
}

impl Links {
    /// Makes the links those of a configuration; one whose transport stays is kept, with its
    /// connections.
    pub(super) fn follow(&mut self, transports: &BTreeMap<TargetGroupName, Transport>) {
        self.by_group.retain(|group, _| transports.contains_key(group));
        for (group, transport) in transports {
            let kept = self.by_group.get(group).is_some_and(|link| link.transport() == transport);
            if !kept {
                self.made += 1;
                let link = Arc::new(Link::new(self.made, transport.clone()));
                self.by_group.insert(group.clone(), link);
            }
        }
    }

    /// A group's link; one in the clear for a group that the configuration does not have.
    pub(super) fn of(&self, group: &TargetGroupName) -> Arc<Link> {
        let plain = || Arc::new(Link::new(0, Transport::default()));
        self.by_group.get(group).map_or_else(plain, Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::TargetProtocol;

    #[test]
    fn a_link_is_replaced_only_with_its_transport() {
        let (a, b): (TargetGroupName, TargetGroupName) =
            ("a".parse().expect("valid"), "b".parse().expect("valid"));
        let h2c = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
        let mut links = Links::default();
        links.follow(&BTreeMap::from([
            (a.clone(), Transport::default()),
            (b.clone(), Transport::default()),
        ]));
        let (before_a, before_b) = (links.of(&a), links.of(&b));
        links.follow(&BTreeMap::from([(a.clone(), Transport::default()), (b.clone(), h2c)]));
        assert!(Arc::ptr_eq(&before_a, &links.of(&a)));
        assert_ne!(before_b.number(), links.of(&b).number());
    }
}
