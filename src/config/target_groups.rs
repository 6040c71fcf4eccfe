//! `target_groups`: named sets of targets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::node::Node;
use super::targets_file::targets_file;
use super::transport::transport;
use crate::core::model::{
    Target, TargetError, TargetGroup, TargetGroupName, TargetName, Transport,
};

/// What the section says of each group.
#[derive(Debug, Default)]
pub(super) struct TargetGroups {
    /// The groups with the targets that seed them.
    pub(super) groups: BTreeMap<TargetGroupName, TargetGroup>,
    /// How their targets are spoken to.
    pub(super) transports: BTreeMap<TargetGroupName, Transport>,
    /// The files that list the targets of some of them.
    pub(super) files: BTreeMap<TargetGroupName, PathBuf>,
}

/// Reads the section; groups whose targets stand in a file have them from there.
pub(super) fn target_groups(node: &Node<'_>, base_dir: &Path) -> TargetGroups {
    let mut all = TargetGroups::default();
    let (transports, files) = (&mut all.transports, &mut all.files);
    let groups = node.named(MAX_TARGET_GROUPS, |name, node| {
        target_group(name, node, base_dir, transports, files)
    });
    all.groups = groups;
    all
}

fn target_group(
    name: Option<TargetGroupName>,
    node: &Node<'_>,
    base_dir: &Path,
    transports: &mut BTreeMap<TargetGroupName, Transport>,
    files: &mut BTreeMap<TargetGroupName, PathBuf>,
) -> Option<TargetGroup> {
    let mut fields = node.fields();
    let list = fields.take("targets");
    let file = fields.take("targets_file");
    let transport = transport(&mut fields, base_dir);
    transports.extend(name.clone().map(|name| (name, transport)));
    fields.finish();
    let targets = match (list, file) {
        (Some(_), Some(file)) => {
            file.mistake("only one of `targets`, `targets_file` can be here");
            return None;
        }
        (None, Some(file)) => {
            let (path, targets) = targets_file(&file, base_dir)?;
            files.extend(name.clone().map(|name| (name, path)));
            targets
        }
        (list, None) => list.map(|list| targets(&list)).unwrap_or_default(),
    };
    TargetGroup::new(name?, targets).map_err(|error| node.mistake(error.to_string())).ok()
}

fn targets(list: &Node<'_>) -> Vec<Target> {
    let mut seen = BTreeSet::new();
    let target = |item: &Node<'_>| {
        let address = item.parsed::<TargetName>()?;
        if !seen.insert(address.clone()) {
            item.mistake(TargetError::Duplicate { address }.to_string());
            return None;
        }
        Some(Target { address })
    };
    list.items(TargetGroup::LIMIT).iter().filter_map(target).collect()
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
    fn a_target_is_an_address_or_a_name_that_is_listed_once() {
        check(
            "{ targets: [8080] }",
            "line 2: target_groups.c.targets[0]: wanted a text, found the number",
        );
        check(
            "{ targets: ['shop'] }",
            "target_groups.c.targets[0]: \"shop\" is not a target: write",
        );
        check(
            "{ targets: ['shop_:80', 'sh op:80'] }",
            "target_groups.c.targets[1]: \"sh op:80\" is not a target: a host name is made of",
        );
        check(
            "{ targets: ['shop:80', 'Shop:80'] }",
            "target_groups.c.targets[1]: target shop:80 is listed twice",
        );
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
