//! `target_groups`: named sets of targets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::node::Node;
use super::transport::transport;
use crate::core::model::{
    Target, TargetAddress, TargetError, TargetGroup, TargetGroupName, Transport,
};

/// Every group with the targets that seed it, and how its targets are spoken to.
#[derive(Debug, Default)]
pub(super) struct TargetGroups {
    pub(super) groups: BTreeMap<TargetGroupName, TargetGroup>,
    pub(super) transports: BTreeMap<TargetGroupName, Transport>,
}

/// Reads the section.
pub(super) fn target_groups(node: &Node<'_>, base_dir: &Path) -> TargetGroups {
    let mut transports = BTreeMap::new();
    let groups = node.named(MAX_TARGET_GROUPS, |name: Option<TargetGroupName>, node| {
        let (group, transport) = target_group(name, node, base_dir);
        let group = group?;
        transports.insert(group.name().clone(), transport);
        Some(group)
    });
    TargetGroups { groups, transports }
}

fn target_group(
    name: Option<TargetGroupName>,
    node: &Node<'_>,
    base_dir: &Path,
) -> (Option<TargetGroup>, Transport) {
    let mut fields = node.fields();
    let list = fields.take("targets");
    let transport = transport(&mut fields, base_dir);
    fields.finish();
    let mut seen = BTreeSet::new();
    let target = |item: &Node<'_>| {
        let address = item.parsed::<TargetAddress>()?;
        if !seen.insert(address) {
            item.mistake(TargetError::Duplicate { address }.to_string());
            return None;
        }
        Some(Target { address })
    };
    let targets = list.map(|list| list.items(TargetGroup::LIMIT)).unwrap_or_default();
    let targets = targets.iter().filter_map(target).collect();
    let group = name.and_then(|name| {
        TargetGroup::new(name, targets).map_err(|error| node.mistake(error.to_string())).ok()
    });
    (group, transport)
}

/// The most target groups of a configuration.
const MAX_TARGET_GROUPS: usize = 2_000;

#[cfg(test)]
mod tests {
    use crate::config::tests::{BASE, refuses};

    fn check(targets: &str, expected: &str) {
        refuses(&BASE.replace("c: {}", &format!("c: {targets}")), expected);
    }

    #[test]
    fn a_target_is_an_address_that_is_listed_once() {
        check(
            "{ targets: [8080] }",
            "line 2: target_groups.c.targets[0]: wanted a text, found the number",
        );
        check("{ targets: ['shop:80'] }", "target_groups.c.targets[0]: \"shop:80\" is a host name");
        check(
            "{ targets: ['127.0.0.1:0'] }",
            "target_groups.c.targets[0]: \"127.0.0.1:0\" has port 0",
        );
        check(
            "{ targets: ['1.1.1.1:1', '1.1.1.1:2', '1.1.1.1:1'] }",
            "target_groups.c.targets[2]: target 1.1.1.1:1 is listed twice",
        );
        check("{ targets: 1.1.1.1:1 }", "target_groups.c.targets: wanted a list, found the text");
        check("{ target: [] }", "target_groups.c.target: unknown key; did you mean `targets`?");
        check("[]", "target_groups.c: wanted a mapping, found a list");
        let many: Vec<String> = (1..=1_001).map(|port| format!("'1.1.1.1:{port}'")).collect();
        check(
            &format!("{{ targets: [{}] }}", many.join(",")),
            "there are 1001, at most 1000 are allowed",
        );
    }

    #[test]
    fn a_bad_name_does_not_hide_mistakes_below_it() {
        let errors = crate::config::tests::parse(&BASE.replace("c: {}", "c c: { target: 1 }"));
        let errors = errors.unwrap_err().to_string();
        assert!(
            errors.contains("target_groups.\"c c\": a target group name is made of"),
            "{errors}"
        );
        assert!(errors.contains("target_groups.\"c c\".target: unknown key"), "{errors}");
    }
}
