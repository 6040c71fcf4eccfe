//! The names that a file declares, gathered before anything is read, so that a reference to a
//! thing with a mistake in it is not reported as unknown as well.

use std::collections::BTreeSet;

use saphyr::YamlData;

use super::nearest::nearest;
use super::node::Node;

/// The names of one kind.
#[derive(Debug)]
pub(super) struct Names<'a> {
    kind: &'static str,
    names: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    /// The keys of a mapping; `None` or another value declares nothing.
    pub(super) fn of(kind: &'static str, node: Option<&Node<'a>>) -> Self {
        let mut names = BTreeSet::new();
        if let Some(YamlData::Mapping(mapping)) = node.map(|node| &node.yaml().data) {
            names.extend(mapping.keys().filter_map(|key| key.data.as_str()));
        }
        Self { kind, names }
    }

    /// Adds names that are there without being declared.
    pub(super) fn and(mut self, more: impl Iterator<Item = &'static str>) -> Self {
        more.for_each(|name| {
            self.names.insert(name);
        });
        self
    }

    /// The one that is declared; `None` if none is, or several are.
    pub(super) fn only(&self) -> Option<&'a str> {
        let mut names = self.names.iter();
        names.next().copied().filter(|_| names.next().is_none())
    }

    /// What is named.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether a name is declared.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// What to write instead of an unknown name; `None` if there is too much to choose from.
    pub(super) fn fix(&self, name: &str) -> Option<String> {
        if let Some(near) = nearest(name, self.names.iter().copied()) {
            return Some(format!("did you mean {near:?}?"));
        }
        let names: Vec<&str> = self.names.iter().copied().collect();
        match names.len() {
            0 => Some(format!("no {} is declared", self.kind)),
            1..=LISTED => Some(format!("declared: {}", names.join(", "))),
            _ => None,
        }
    }
}

/// The names of every kind that others refer to.
#[derive(Debug)]
pub(super) struct Declared<'a> {
    pub(super) services: Names<'a>,
    pub(super) target_groups: Names<'a>,
    /// With the predefined ones.
    pub(super) strategies: Names<'a>,
    pub(super) alarms: Names<'a>,
    pub(super) gates: Names<'a>,
    pub(super) prometheus: Names<'a>,
}

const LISTED: usize = 8;
