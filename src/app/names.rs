//! The names of a configuration's targets: whether DNS knows them, told with their key paths.

use std::collections::BTreeSet;

use tokio::runtime::Builder;

use crate::config::Config;
use crate::core::model::{TargetGroupName, TargetName};
use crate::resolve;

/// Resolves every name of a configuration that is not known to resolve.
///
/// # Errors
/// A sentence for each that does not, with its key path.
pub(super) async fn check_names(
    config: &Config,
    known: impl Fn(&TargetName) -> bool,
) -> Result<(), String> {
    let names = named(config).map(|(_, _, name)| name).filter(|name| !known(name));
    let names: BTreeSet<TargetName> = names.cloned().collect();
    let failed = resolve::check_names(&config.resolver, names).await;
    let mistake = |(group, at, name): (&TargetGroupName, usize, &TargetName)| {
        let error = failed.get(name)?;
        let key = match config.targets_files.contains_key(group) {
            true => "targets_file".to_owned(),
            false => format!("targets[{at}]"),
        };
        Some(format!("target_groups.{group}.{key}: {name} does not resolve: {error}"))
    };
    let mistakes: Vec<String> = named(config).filter_map(mistake).collect();
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("\n")) }
}

/// The same for whoever does not wait for anything else. Blocks.
///
/// # Errors
/// A sentence for each name that does not resolve, with its key path.
pub(super) fn check_names_now(config: &Config) -> Result<(), String> {
    if named(config).next().is_none() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("names cannot be resolved: {error}"))?;
    runtime.block_on(check_names(config, |_| false))
}

/// Every target that is a name, with its group and its place there.
fn named(config: &Config) -> impl Iterator<Item = (&TargetGroupName, usize, &TargetName)> {
    let targets = config.target_groups.values().flat_map(|group| {
        let targets = group.targets().iter().enumerate();
        targets.map(move |(at, target)| (group.name(), at, &target.address))
    });
    targets.filter(|(_, _, name)| name.is_of_dns())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::resolve::{Dns, Record};

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_mistake_with_its_key_path() {
        let dns = Dns::start().await;
        dns.set("shop.test", &[Record::A([127, 0, 0, 1])]);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("b.targets"), "gone.test:80\n").expect("written");
        let text = format!(
            "listeners: [{{ name: public, address: '127.0.0.1:0', rules: [{{ service: shop }}] }}]\n\
             target_groups:\n\
             \x20 a: {{ targets: ['shop.test:80', 'gone.test:80'] }}\n\
             \x20 b: {{ targets_file: b.targets }}\n\
             services: {{ shop: {{ target_groups: [a, b] }} }}\n\
             resolver: {{ nameservers: ['{}'], timeout: 1s }}\n",
            dns.address()
        );
        let config = Config::parse(&text, folder.path()).expect("no mistake in the file");
        let found = check_names(&config, |_| false).await.expect_err("one is gone");
        let expected = "target_groups.a.targets[1]: gone.test:80 does not resolve: \
                        there is no such name\n\
                        target_groups.b.targets_file: gone.test:80 does not resolve: \
                        there is no such name";
        assert_eq!(found, expected);
        let gone: TargetName = "gone.test:80".parse().expect("valid");
        assert_eq!(check_names(&config, |name| *name == gone).await, Ok(()));
    }

    #[test]
    fn a_configuration_without_names_asks_nobody() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/canary.yaml");
        let config = Config::load(&file).expect("good");
        assert_eq!(check_names_now(&config), Ok(()));
    }
}
