//! The entries of one mapping: taken out one by one by their keys, the rest is unknown.

use super::nearest::nearest;
use super::node::Node;

/// The entries of a mapping that were not taken yet.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    node: Node<'a>,
    /// `None` if the value is no mapping, which is reported already.
    rest: Option<Vec<(&'a str, Node<'a>)>>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The entries of a node's mapping; `None` if it is none.
    pub(super) fn new(node: Node<'a>, entries: Option<Vec<(&'a str, Node<'a>)>>) -> Self {
        Self { node, rest: entries, known: Vec::new() }
    }

    /// Takes the value of a key that need not be there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.known.push(key);
        let rest = self.rest.as_mut()?;
        let index = rest.iter().position(|(found, _)| *found == key)?;
        Some(rest.remove(index).1)
    }

    /// Takes the value of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str) -> Option<Node<'a>> {
        let value = self.take(key);
        if value.is_none() && self.rest.is_some() {
            self.node.mistake(format!("`{key}` is missing"));
        }
        value
    }

    /// Takes the one key of several that must be there.
    pub(super) fn sole(&mut self, keys: &[&'static str]) -> Option<(&'static str, Node<'a>)> {
        let taken = keys.iter().filter_map(|key| Some((*key, self.take(key)?)));
        let mut taken = taken.collect::<Vec<_>>().into_iter();
        let list = || keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match (taken.next(), taken.next()) {
            (Some(one), None) => Some(one),
            (Some(_), Some((_, second))) => {
                second.mistake(format!("only one of {} can be here", list()));
                None
            }
            (None, _) => {
                if self.rest.is_some() {
                    self.node.mistake(format!("one of {} is missing", list()));
                }
                None
            }
        }
    }

    /// Reports every key that nobody took.
    pub(super) fn finish(self) {
        for (key, node) in self.rest.unwrap_or_default() {
            let fix = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if key == "<<" => "merge keys are not supported, repeat the keys".to_owned(),
                None if self.known.is_empty() => "none is known here".to_owned(),
                None => format!("known here: {}", self.known.join(", ")),
            };
            node.mistake_with_fix("unknown key", fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;
    use crate::config::node::Node;

    fn check(text: &str, expected: &[&str]) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let mut fields = Node::root(&yaml, &mistakes).fields();
        fields.require("name");
        fields.take("path_prefix");
        fields.sole(&["own", "pushed"]);
        fields.finish();
        let found = mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn missing_surplus_and_unknown_keys_are_mistakes() {
        check("{name: x, own: 1}", &[]);
        check("[]", &["line 1: wanted a mapping, found a list"]);
        check("{}", &["line 1: `name` is missing", "line 1: one of `own`, `pushed` is missing"]);
        check(
            "name: x\nown: 1\npushed: 1\npathprefix: /\nother: 1\n<<: 1",
            &[
                "line 3: pushed: only one of `own`, `pushed` can be here",
                "line 4: pathprefix: unknown key; did you mean `path_prefix`?",
                "line 5: other: unknown key; known here: name, path_prefix, own, pushed",
                "line 6: \"<<\": unknown key; merge keys are not supported, repeat the keys",
            ],
        );
    }
}
