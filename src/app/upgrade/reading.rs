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
/// count: they are followed by whoever serves. Nor do the components that were uploaded, of which
/// no file speaks.
fn differs(before: &Config, now: &Config) -> bool {
    let mut now = now.clone();
    for name in before.targets_files.keys() {
        if let Some(group) = before.target_groups.get(name) {
            now.target_groups.insert(name.clone(), group.clone());
        }
    }
    for name in before.uploaded_gates.keys() {
        if let Some(gate) = before.gates.get(name) {
            now.gates.insert(name.clone(), gate.clone());
        }
    }
    now.kept_gates.clone_from(&before.kept_gates);
    *before != now
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::core::model::Sha256;

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

    #[test]
    fn what_was_uploaded_is_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("t.yaml");
        std::fs::write(folder.path().join("a.txt"), "127.0.0.1:1\n").expect("written");
        let gates = |keys: &str| format!("{FILE}gates: {{ budget: {{ uploaded: true{keys} }} }}\n");
        std::fs::write(&file, gates("")).expect("written");
        let mut config = Config::load(&file).expect("good");
        let declared = config.uploaded_gates.values().next().expect("declared").clone();
        let digest = Sha256::of(b"uploaded");
        let spec = declared.with("uploaded.wasm".to_owned(), digest);
        config.kept_gates.entry(declared.name.clone()).or_default().insert(digest);
        config.gates.insert(declared.name, spec);
        assert!(read_again(&config, Some(&file)).expect("good").is_none());
        std::fs::write(&file, gates(", grants: { clock: true }")).expect("written");
        assert!(read_again(&config, Some(&file)).expect("good").is_some());
    }
}
