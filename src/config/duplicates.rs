//! Keys that a mapping has twice, each with its key path. They are found among the events that a
//! document is made of: a mapping that was read holds one of the values only.

use std::collections::BTreeMap;

use saphyr_parser::Event;

use super::mistake::{Mistake, Mistakes};
use super::node::{below, item};

/// Looks at the events of a document, in their order.
#[derive(Debug)]
pub(super) struct Duplicates<'m> {
    /// The collections that have begun and not ended, the innermost last.
    open: Vec<Open>,
    mistakes: &'m Mistakes,
}

/// A collection that has begun.
#[derive(Debug)]
enum Open {
    /// A list, with the number of its present item.
    List(usize),
    Mapping {
        /// The lines of its keys so far.
        keys: BTreeMap<String, usize>,
        /// The key whose value comes now; `None` where a key comes.
        key: Option<String>,
    },
}

impl<'m> Duplicates<'m> {
    /// Records what it finds as mistakes.
    pub(super) fn new(mistakes: &'m Mistakes) -> Self {
        Self { open: Vec::new(), mistakes }
    }

    /// Looks at the next event, which begins on a line.
    pub(super) fn see(&mut self, event: &Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, ..) => self.ended(Some(&**text), line),
            Event::Alias(_) => self.ended(None, line),
            Event::SequenceStart(..) => self.open.push(Open::List(0)),
            Event::MappingStart(..) => {
                self.open.push(Open::Mapping { keys: BTreeMap::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                self.ended(None, line);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }

    /// A value or a key is complete; `text` is what it says if it is a scalar.
    fn ended(&mut self, text: Option<&str>, line: usize) {
        let first = match self.open.last_mut() {
            None => None,
            Some(Open::List(number)) => {
                *number += 1;
                None
            }
            Some(Open::Mapping { key: key @ Some(_), .. }) => {
                *key = None;
                None
            }
            Some(Open::Mapping { keys, key }) => {
                *key = Some(text.unwrap_or(NO_TEXT).to_owned());
                text.and_then(|text| match keys.get(text) {
                    Some(first) => Some(*first),
                    None => keys.insert(text.to_owned(), line),
                })
            }
        };
        if let Some(first) = first {
            self.mistakes.add(Mistake {
                at: self.at(),
                line: Some(line),
                message: format!("this key is written twice, first in line {first}"),
                fix: Some("keep one of them".to_owned()),
            });
        }
    }

    /// The key path of the present place.
    fn at(&self) -> String {
        self.open.iter().fold(String::new(), |at, open| match open {
            Open::List(number) => item(&at, *number),
            Open::Mapping { key: Some(key), .. } => below(&at, key),
            Open::Mapping { key: None, .. } => at,
        })
    }
}

/// Stands in a key path for a key that is no scalar.
const NO_TEXT: &str = "?";

#[cfg(test)]
mod tests {
    use crate::config::document::read;
    use crate::config::mistake::Mistakes;

    fn check(text: &str, expected: &[&str]) {
        let mistakes = Mistakes::default();
        read(text, &mistakes).expect("it is YAML");
        let found = mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn every_key_that_is_there_twice_is_named_with_its_path() {
        let told = |at: &str, line: usize, first: usize| {
            format!(
                "line {line}: {at}: this key is written twice, first in line {first}; \
                 keep one of them"
            )
        };
        check("a: 1\nb: 2\na: 3\n", &[&told("a", 3, 1)]);
        check("a: 1\n\"a\": 2\n'a': 3\n", &[&told("a", 2, 1), &told("a", 3, 1)]);
        check(
            "s:\n  x: {p: 1,\n    q: 2, p: 3}\ns: 1\n",
            &[&told("s.x.p", 3, 2), &told("s", 4, 1)],
        );
        check("l:\n- [1, {}]\n- a: 1\n  b: [2]\n  a: 3\n", &[&told("l[1].a", 5, 3)]);
        check("? [1, 2]\n: {k: 1, k: 2}\n", &[&told("\"?\".k", 2, 2)]);
    }

    #[test]
    fn a_key_may_come_again_elsewhere() {
        check("a: {x: 1}\nb: {x: 1, a: {b: a}}\nc: [{x: 1}, {x: 2}]\n", &[]);
        check("a: &n {x: 1}\nb: *n\nc: [*n, *n]\nd: x\n", &[]);
        check("x: x\ny: x\n", &[]);
    }
}
