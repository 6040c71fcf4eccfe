//! `store`: where run-time state is kept.

use std::path::Path;

use super::node::Node;
use super::{StoreSpec, file_path, resolve};

/// Reads the section; without one the state is kept in a file beside the configuration.
pub(super) fn store(node: Option<&Node<'_>>, base_dir: &Path) -> StoreSpec {
    let default = StoreSpec::Path(resolve(base_dir, DEFAULT_FILE));
    let Some(node) = node else { return default };
    let mut fields = node.fields();
    let engine = fields.sole(&["path", "memory"]);
    fields.finish();
    match engine {
        Some(("memory", memory)) => memory.only_true().map(|()| StoreSpec::Memory),
        Some((_, path)) => file_path(&path, base_dir).map(StoreSpec::Path),
        None => None,
    }
    .unwrap_or(default)
}

const DEFAULT_FILE: &str = "tidegate.db";

#[cfg(test)]
mod tests {
    use crate::config::StoreSpec;
    use crate::config::tests::{parse, refuses, with};

    #[test]
    fn the_store_is_a_file_or_memory() {
        assert_eq!(parse(&with("store: { memory: true }")).unwrap().store, StoreSpec::Memory);
        refuses(&with("store: {}"), "line 4: store: one of `path`, `memory` is missing");
        refuses(
            &with("store: { memory: false }"),
            "store.memory: false says nothing here; write true",
        );
        refuses(&with("store: { path: '' }"), "store.path: wanted the path of a file");
        refuses(&with("store: { path: ./x, memory: true }"), "only one of `path`, `memory`");
        refuses(&with("store: ./x"), "store: wanted a mapping, found the text \"./x\"");
    }
}
