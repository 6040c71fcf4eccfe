//! The configuration file of a process that takes over, once more: it was read before the process
//! that runs was asked for anything, and that one may have reloaded it since.

use std::path::Path;

use crate::config::Config;

use super::TakeoverError;

/// What a file says now, where that is something else than the configuration that was read from it;
/// `None` where it is not, or where there is no file.
///
/// # Errors
/// It has mistakes now.
pub(in crate::app) fn read_again(
    config: &Config,
    file: Option<&Path>,
) -> Result<Option<Config>, TakeoverError> {
    let Some(file) = file else { return Ok(None) };
    let now = Config::load(file);
    let now = now.map_err(|mistakes| TakeoverError::Mistaken(mistakes.to_string()))?;
    Ok(differs(config, &now).then_some(now))
}

/// Whether a file has another meaning. What stands in the files of targets that it names does not
/// count: they are followed by whoever serves.
fn differs(before: &Config, now: &Config) -> bool {
    let mut now = now.clone();
    for name in before.targets_files.keys() {
        if let Some(group) = before.target_groups.get(name) {
            now.target_groups.insert(name.clone(), group.clone());
        }
    }
    *before != now
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
listeners: [{ name: public, address: '127.0.0.1:0', rules: [{ service: shop }] }]
target_groups: { a: { targets_file: a.txt }, b: {} }
services: { shop: { target_groups: [a, b] } }
admin: { address: '127.0.0.1:0' }
store: { memory: true }
";

    #[test]
    fn another_file_is_read_again_and_another_list_of_targets_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, targets) = (folder.path().join("t.yaml"), folder.path().join("a.txt"));
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
        write(&targets, "127.0.0.1:1\n");
        write(&file, FILE);
        let config = Config::load(&file).expect("good");
        let again = || read_again(&config, Some(&file));
        assert!(again().expect("good").is_none());
        write(&file, &format!("# The same.\n{FILE}"));
        assert!(again().expect("good").is_none());
        write(&targets, "127.0.0.1:2\n");
        assert!(again().expect("good").is_none(), "whoever serves follows it");
        write(&file, &FILE.replace("[a, b]", "[a, b], tell_side: true"));
        let now = again().expect("good").expect("another one");
        assert!(now.services.values().all(|service| service.tell_side));
        write(&file, &FILE.replace("services", "servies"));
        let mistaken = again().expect_err("a mistake").to_string();
        assert!(mistaken.contains("servies"), "{mistaken}");
        assert!(read_again(&config, None).expect("no file").is_none());
    }
}
