//! A place in a document: a value that knows its key path and line, and where to report.
//!
//! Each method reads the value as one thing. If it is another, the mistake is recorded, saying
//! what was found and what is wanted, and the answer is `None` or empty.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use saphyr::{Scalar, YamlData};

use super::declared::Names;
use super::document::Yaml;
use super::fields::Fields;
use super::mistake::{Mistake, Mistakes};
use super::nearest::nearest;
use crate::core::model::Span;

/// A value in a document, with its key path and line.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    yaml: &'a Yaml,
    at: String,
    line: usize,
    mistakes: &'a Mistakes,
}

impl<'a> Node<'a> {
    /// The document itself.
    pub(super) fn root(yaml: &'a Yaml, mistakes: &'a Mistakes) -> Self {
        Self { yaml, at: String::new(), line: yaml.span.start.line().max(1), mistakes }
    }

    /// The value as YAML.
    pub(super) fn yaml(&self) -> &'a Yaml {
        self.yaml
    }

    /// The key path.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// The line, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The value of a key; `None` if it is not there.
    pub(super) fn child(&self, key: &str) -> Option<Self> {
        let mut entries = self.entries(usize::MAX)?.into_iter();
        entries.find(|(found, _)| *found == key).map(|(_, node)| node)
    }

    /// Records a mistake here.
    pub(super) fn mistake(&self, message: impl Into<String>) {
        self.record(message.into(), None);
    }

    /// Records a mistake here, and what would put it right.
    pub(super) fn mistake_with_fix(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.record(message.into(), Some(fix.into()));
    }

    /// The entries of a mapping by their keys.
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields::new(self.clone(), self.entries(usize::MAX))
    }

    /// The values of a list, at most so many.
    pub(super) fn items(&self, limit: usize) -> Vec<Self> {
        let YamlData::Sequence(items) = &self.yaml.data else {
            return self.wanted("a list").unwrap_or_default();
        };
        self.check_count(items.len(), limit);
        let node = |(i, yaml): (usize, &'a Yaml)| Self {
            yaml,
            at: item(&self.at, i),
            line: yaml.span.start.line(),
            mistakes: self.mistakes,
        };
        items.iter().take(limit).enumerate().map(node).collect()
    }

    /// The values of a list that must not be empty, at most so many.
    pub(super) fn some_items(&self, limit: usize, item: &str) -> Vec<Self> {
        if self.yaml.data.is_sequence() && self.yaml.data.is_empty_collection() {
            self.mistake(format!("wanted at least one {item}, found an empty list"));
        }
        self.items(limit)
    }

    /// A mapping of names to what `read` makes of their values; at most so many.
    ///
    /// `read` is called for a value with a bad name too, so that its mistakes are reported.
    pub(super) fn named<K, V>(
        &self,
        limit: usize,
        mut read: impl FnMut(Option<K>, &Self) -> Option<V>,
    ) -> BTreeMap<K, V>
    where
        K: Clone + FromStr<Err: Display> + Ord,
    {
        let mut all = BTreeMap::new();
        let entries = self.entries(limit).unwrap_or_default();
        for (key, node) in entries {
            let name = node.parse::<K>(key);
            if let (Some(value), Some(name)) = (read(name.clone(), &node), name) {
                all.insert(name, value);
            }
        }
        all
    }

    /// A text. Numbers and booleans are not: `1.10` would lose its zero.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.scalar() {
            Some(Scalar::String(text)) => Some(text),
            Some(Scalar::Integer(_) | Scalar::FloatingPoint(_) | Scalar::Boolean(_)) => {
                let found = self.found();
                self.mistake_with_fix(format!("wanted a text, found {found}"), "put it in quotes");
                None
            }
            Some(Scalar::Null) | None => self.wanted("a text"),
        }
    }

    /// A text in the form of a type.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.parse(self.text()?)
    }

    /// A text that a function makes something of; its error is the mistake.
    pub(super) fn checked<T, E: Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        read(self.text()?).map_err(|error| self.mistake(error.to_string())).ok()
    }

    /// A quantity with a unit. A bare number is given to the type too, whose error explains units.
    pub(super) fn quantity<T: FromStr<Err: Display>>(&self) -> Option<T> {
        match self.scalar() {
            Some(Scalar::Integer(number)) => self.parse(&number.to_string()),
            Some(Scalar::FloatingPoint(number)) => self.parse(&number.to_string()),
            Some(Scalar::String(_) | Scalar::Boolean(_) | Scalar::Null) | None => self.parsed(),
        }
    }

    /// A duration not shorter than this.
    pub(super) fn span_from(&self, shortest: Span) -> Option<Span> {
        let span = self.quantity::<Span>()?;
        if span < shortest {
            self.mistake(format!("{span} is too short: at least {shortest}"));
            return None;
        }
        Some(span)
    }

    /// A name that must be declared.
    pub(super) fn reference<T: FromStr<Err: Display>>(&self, names: &Names<'_>) -> Option<T> {
        let text = self.text()?;
        let name = self.parse(text)?;
        if names.contains(text) {
            return Some(name);
        }
        self.record(format!("unknown {} {text:?}", names.kind()), names.fix(text));
        None
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known = words.iter().map(|(word, _)| *word);
        let fix = nearest(text, known.clone()).map(|near| format!("did you mean {near:?}?"));
        let known = known.collect::<Vec<_>>().join(", ");
        self.record(format!("found {:?}, wanted one of {known}", shorten(text)), fix);
        None
    }

    /// A whole number in a range.
    pub(super) fn count(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let (low, high) = (*range.start(), *range.end());
        match self.scalar() {
            Some(Scalar::Integer(number)) => {
                let count = u32::try_from(*number).ok().filter(|count| range.contains(count));
                count.or_else(|| self.wanted(&format!("a whole number from {low} to {high}")))
            }
            Some(
                Scalar::Null | Scalar::Boolean(_) | Scalar::FloatingPoint(_) | Scalar::String(_),
            )
            | None => self.wanted(&format!("a whole number from {low} to {high}")),
        }
    }

    /// A number that is not negative.
    pub(super) fn number(&self) -> Option<f64> {
        let number = match self.scalar() {
            Some(Scalar::Integer(number)) => u32::try_from(*number).ok().map(f64::from),
            Some(Scalar::FloatingPoint(number)) => Some(number.into_inner()),
            Some(Scalar::Null | Scalar::Boolean(_) | Scalar::String(_)) | None => None,
        };
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        number.or_else(|| self.wanted("a number without a unit, 0 or more"))
    }

    /// A number, which may be negative.
    pub(super) fn signed_number(&self) -> Option<f64> {
        let number = match self.scalar() {
            Some(Scalar::Integer(number)) => Some(*number as f64),
            Some(Scalar::FloatingPoint(number)) => Some(number.into_inner()),
            Some(Scalar::Null | Scalar::Boolean(_) | Scalar::String(_)) | None => None,
        };
        let number = number.filter(|number| number.is_finite());
        number.or_else(|| self.wanted("a number without a unit"))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.scalar() {
            Some(Scalar::Boolean(flag)) => Some(*flag),
            Some(
                Scalar::Null | Scalar::Integer(_) | Scalar::FloatingPoint(_) | Scalar::String(_),
            )
            | None => self.wanted("true or false"),
        }
    }

    /// `true`, in a place where `false` would say nothing.
    pub(super) fn only_true(&self) -> Option<()> {
        match self.flag()? {
            true => Some(()),
            false => {
                self.mistake_with_fix("false says nothing here", "write true or leave the key out");
                None
            }
        }
    }

    /// What is wanted here, as a mistake.
    pub(super) fn wanted<T>(&self, wanted: &str) -> Option<T> {
        self.mistake(format!("wanted {wanted}, found {}", self.found()));
        None
    }

    /// Reads a text as a type; its error is the mistake.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.mistake(error.to_string())).ok()
    }

    fn record(&self, message: String, fix: Option<String>) {
        let (at, line) = (self.at.clone(), Some(self.line));
        self.mistakes.add(Mistake { at, line, message, fix });
    }

    fn scalar(&self) -> Option<&'a Scalar<'static>> {
        match &self.yaml.data {
            YamlData::Value(scalar) => Some(scalar),
            YamlData::Representation(..)
            | YamlData::Sequence(_)
            | YamlData::Mapping(_)
            | YamlData::Tagged(..)
            | YamlData::Alias(_)
            | YamlData::BadValue => None,
        }
    }

    fn found(&self) -> String {
        match &self.yaml.data {
            YamlData::Value(Scalar::Null) => "nothing".to_owned(),
            YamlData::Value(Scalar::Boolean(flag)) => flag.to_string(),
            YamlData::Value(Scalar::Integer(number)) => format!("the number {number}"),
            YamlData::Value(Scalar::FloatingPoint(number)) => format!("the number {number}"),
            YamlData::Value(Scalar::String(text)) => format!("the text {:?}", shorten(text)),
            YamlData::Sequence(_) => "a list".to_owned(),
            YamlData::Mapping(_) => "a mapping".to_owned(),
            YamlData::Tagged(tag, _) => format!("a value with the tag {}", shorten(&tag.suffix)),
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                "a value that does not fit its tag".to_owned()
            }
        }
    }

    /// The entries of a mapping, each with its key's line; `None` if it is none.
    fn entries(&self, limit: usize) -> Option<Vec<(&'a str, Self)>> {
        let YamlData::Mapping(mapping) = &self.yaml.data else {
            return self.wanted("a mapping");
        };
        self.check_count(mapping.len(), limit);
        let mut entries = Vec::new();
        for (key, yaml) in mapping.iter().take(limit) {
            let line = key.span.start.line();
            let mistakes = self.mistakes;
            let key = Self { yaml: key, at: self.at.clone(), line, mistakes };
            if let Some(text) = key.text() {
                entries.push((text, Self { yaml, at: below(&key.at, text), line, mistakes }));
            }
        }
        Some(entries)
    }

    fn check_count(&self, count: usize, limit: usize) {
        if count > limit {
            self.mistake(format!("there are {count}, at most {limit} are allowed"));
        }
    }
}

/// The key path of a key's value in the mapping at a key path.
pub(super) fn below(at: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let shown = shorten(key);
    let shown = match !shown.is_empty() && shown.chars().all(plain) {
        true => shown,
        false => format!("{shown:?}"),
    };
    if at.is_empty() { shown } else { format!("{at}.{shown}") }
}

/// The key path of an item of the list at a key path.
pub(super) fn item(at: &str, number: usize) -> String {
    format!("{at}[{number}]")
}

/// As much of a text as a message shows.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;

    /// Checks that a value cannot be read, and what is said of it.
    fn refuses(text: &str, read: impl Fn(&Node<'_>) -> bool, expected: &str) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        assert!(!read(&Node::root(&yaml, &mistakes)), "{text}");
        let found = mistakes.into_errors().unwrap().to_string();
        assert_eq!(found, format!("line 1: {expected}"), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_was_found_and_what_is_wanted() {
        let mapping = |n: &Node<'_>| n.fields().take("a").is_some();
        let list = |n: &Node<'_>| !n.items(9).is_empty();
        let text = |n: &Node<'_>| n.text().is_some();
        refuses("[]", mapping, "wanted a mapping, found a list");
        refuses("1: a", mapping, "wanted a text, found the number 1; put it in quotes");
        refuses("{}", list, "wanted a list, found a mapping");
        refuses("!x [1]", list, "wanted a list, found a value with the tag x");
        let item = |n: &Node<'_>| n.items(1)[0].text().is_some();
        refuses("[!!int x]", item, "[0]: wanted a text, found a value that does not fit its tag");
        refuses("true", text, "wanted a text, found true; put it in quotes");
        refuses("1.10", text, "wanted a text, found the number 1.1; put it in quotes");
        refuses("[~]", item, "[0]: wanted a text, found nothing");
        refuses("yes", |n| n.flag().is_some(), "wanted true or false, found the text \"yes\"");
    }

    #[test]
    fn a_number_that_does_not_fit_says_what_is_wanted() {
        let number = |n: &Node<'_>| n.number().is_some();
        let wanted = "wanted a number without a unit, 0 or more, found";
        refuses("-1", number, &format!("{wanted} the number -1"));
        refuses(".nan", number, &format!("{wanted} the number NaN"));
        refuses("2%", number, &format!("{wanted} the text \"2%\""));
        let count = |n: &Node<'_>| n.count(1..=5).is_some();
        refuses("7", count, "wanted a whole number from 1 to 5, found the number 7");
        refuses("1.5", count, "wanted a whole number from 1 to 5, found the number 1.5");
        let span = |n: &Node<'_>| n.span_from(Span::from_ms(1)).is_some();
        refuses("0s", span, "0s is too short: at least 1ms");
        let unit = "\"120\" has no unit: a duration is written with one, for example \"250ms\", \
                    \"30s\", \"2m\", \"1h30m\" or \"7d\"";
        refuses("120", span, unit);
    }

    #[test]
    fn a_value_that_is_right_is_no_mistake() {
        let text = "{a: x, b: 7, c: 0.5, d: true, e: 2m}";
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let mut fields = Node::root(&yaml, &mistakes).fields();
        let mut take = |key| fields.take(key).unwrap();
        assert_eq!(take("a").text(), Some("x"));
        assert_eq!(take("b").count(1..=7), Some(7));
        assert_eq!(take("c").number(), Some(0.5));
        assert_eq!(take("d").only_true(), Some(()));
        assert_eq!(take("e").quantity::<Span>(), Some(Span::from_mins(2)));
        fields.finish();
        assert_eq!(mistakes.into_errors(), None);
    }

    #[test]
    fn a_key_with_odd_characters_is_quoted_in_the_path() {
        let below = |n: &Node<'_>| {
            let odd = n.fields().take("a\u{1b}[31m").unwrap();
            odd.fields().finish();
            false
        };
        let expected = "\"a\\u{1b}[31m\".\"b c\": unknown key; none is known here";
        refuses("{\"a\\e[31m\": {\"b c\": 1}}", below, expected);
    }
}
