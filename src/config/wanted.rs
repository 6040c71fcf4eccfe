//! Mappings of names to what is wanted of them: of header fields, of cookies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use super::node::Node;
use crate::core::model::{FieldError, Wanted};

/// Reads a mapping that must not be empty; `None` if there is a mistake in it.
pub(super) fn wanted<K>(
    node: &Node<'_>,
    read: fn(&str) -> Result<Wanted, FieldError>,
) -> Option<BTreeMap<K, Wanted>>
where
    K: Clone + FromStr<Err: Display> + Ord,
{
    let mapping = &node.yaml().data;
    if mapping.is_mapping() && mapping.is_empty_collection() {
        node.mistake("wanted at least one name, found an empty mapping");
    }
    let mut seen = BTreeSet::new();
    let mut whole = true;
    let all = node.named(MAX_WANTED, |name: Option<K>, item| {
        let value = item.checked(read);
        whole &= name.is_some() && value.is_some();
        if name.is_some_and(|name| !seen.insert(name)) {
            item.mistake("is here twice: names of headers have no case");
            whole = false;
        }
        value
    });
    (whole && !all.is_empty()).then_some(all)
}

/// The most names of a mapping.
const MAX_WANTED: usize = 32;
