//! Queries with placeholders: `sum(rate(errors_total{group="{{ green }}"}[1m]))`.
//!
//! What is filled in is a name of ours or a revision, and never a piece of query: a revision with a
//! character that could end a quoted text is not filled in at all.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Revision, ServiceName, TargetGroupName};

/// The reason why a text is not a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryTemplateError {
    /// Nothing, or nothing but space.
    #[error("a query must not be empty")]
    Empty,
    /// Longer than a URL should be.
    #[error("a query has at most {limit} bytes, this one has {length}")]
    TooLong {
        /// The most bytes.
        limit: usize,
        /// The bytes found.
        length: usize,
    },
    /// A control character other than a line break or a tab.
    #[error("a query has no control characters, found {found:?}")]
    Control {
        /// The first one.
        found: char,
    },
    /// A placeholder that has no end.
    #[error("a placeholder begins with `{{{{` and has no `}}}}`")]
    Unclosed,
    /// A placeholder that stands for nothing.
    #[error("{found:?} is no placeholder: there are {}", Placeholder::list())]
    Unknown {
        /// Its word, shortened.
        found: String,
    },
}

/// The reason why a query cannot be asked now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfilledError {
    /// A side whose revision nobody has told.
    #[error("`{{{{ {placeholder} }}}}` stands for nothing: no revision was named")]
    NoRevision {
        /// The placeholder's word.
        placeholder: &'static str,
    },
    /// A revision that could be read as a piece of the query.
    #[error("revision {revision:?} cannot stand in a query: {found:?} is in it")]
    Character {
        /// The revision.
        revision: String,
        /// The first such character.
        found: char,
    },
}

/// A query in PromQL that may have placeholders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueryTemplate(Arc<str>);

/// What placeholders stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryNames {
    /// The service.
    pub service: ServiceName,
    /// The group that is blue.
    pub blue: TargetGroupName,
    /// The group that is green.
    pub green: TargetGroupName,
    /// What blue runs; `None` if nobody has told.
    pub blue_revision: Option<Revision>,
    /// What green runs; `None` if nobody has told.
    pub green_revision: Option<Revision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Service,
    Blue,
    Green,
    BlueRevision,
    GreenRevision,
}

/// A piece of a template.
enum Part<'a> {
    Text(&'a str),
    Filled(Placeholder),
}

impl QueryTemplate {
    /// The most bytes.
    pub const LONGEST: usize = 2_048;

    /// The query as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The query to ask.
    ///
    /// # Errors
    /// A placeholder stands for nothing, or for what cannot stand in a query.
    pub fn fill(&self, names: &QueryNames) -> Result<String, UnfilledError> {
        let mut filled = String::with_capacity(self.0.len());
        for part in parts(&self.0).unwrap_or_default() {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::Filled(placeholder) => placeholder.of(names)?,
            });
        }
        Ok(filled)
    }
}

impl FromStr for QueryTemplate {
    type Err = QueryTemplateError;

    fn from_str(text: &str) -> Result<Self, QueryTemplateError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(QueryTemplateError::Empty);
        }
        if text.len() > Self::LONGEST {
            return Err(QueryTemplateError::TooLong { limit: Self::LONGEST, length: text.len() });
        }
        if let Some(found) = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t') {
            return Err(QueryTemplateError::Control { found });
        }
        parts(text)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for QueryTemplate {
    type Error = QueryTemplateError;

    fn try_from(text: String) -> Result<Self, QueryTemplateError> {
        text.parse()
    }
}

impl From<QueryTemplate> for String {
    fn from(template: QueryTemplate) -> Self {
        template.0.as_ref().to_owned()
    }
}

impl fmt::Display for QueryTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Placeholder {
    const ALL: [(&'static str, Self); 5] = [
        ("service", Self::Service),
        ("blue", Self::Blue),
        ("green", Self::Green),
        ("blue_revision", Self::BlueRevision),
        ("green_revision", Self::GreenRevision),
    ];

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, placeholder)| *placeholder)
    }

    fn list() -> String {
        Self::ALL.map(|(word, _)| word).join(", ")
    }

    fn of(self, names: &QueryNames) -> Result<&str, UnfilledError> {
        match self {
            Self::Service => Ok(names.service.as_str()),
            Self::Blue => Ok(names.blue.as_str()),
            Self::Green => Ok(names.green.as_str()),
            Self::BlueRevision => revision("blue_revision", names.blue_revision.as_ref()),
            Self::GreenRevision => revision("green_revision", names.green_revision.as_ref()),
        }
    }
}

/// A revision as a query can have it: whatever quotes are around it, no character of it ends them.
fn revision<'a>(
    placeholder: &'static str,
    revision: Option<&'a Revision>,
) -> Result<&'a str, UnfilledError> {
    let text = revision.ok_or(UnfilledError::NoRevision { placeholder })?.as_str();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c);
    match text.chars().find(|c| !harmless(*c)) {
        None => Ok(text),
        Some(found) => Err(UnfilledError::Character { revision: text.to_owned(), found }),
    }
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, QueryTemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once("{{") {
        let (word, after) = opened.split_once("}}").ok_or(QueryTemplateError::Unclosed)?;
        let found =
            || QueryTemplateError::Unknown { found: word.trim().chars().take(40).collect() };
        parts.push(Part::Text(before));
        parts.push(Part::Filled(Placeholder::of_word(word.trim()).ok_or_else(found)?));
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(revision: Option<&str>) -> QueryNames {
        QueryNames {
            service: "shop".parse().expect("valid"),
            blue: "shop-a".parse().expect("valid"),
            green: "shop-b".parse().expect("valid"),
            blue_revision: None,
            green_revision: revision.map(|text| text.parse().expect("valid")),
        }
    }

    fn filled(text: &str, revision: Option<&str>) -> Result<String, UnfilledError> {
        text.parse::<QueryTemplate>().expect(text).fill(&names(revision))
    }

    #[test]
    fn placeholders_stand_for_names() {
        let check = |text: &str, expected: &str| {
            assert_eq!(filled(text, Some("v2.1")).as_deref(), Ok(expected), "{text}");
        };
        check("up", "up");
        check(" sum(x{a=\"b\"})\n", "sum(x{a=\"b\"})");
        check("x{g=\"{{ green }}\",b=\"{{blue}}\"}", "x{g=\"shop-b\",b=\"shop-a\"}");
        check("{{service}}{{ green_revision }}", "shopv2.1");
    }

    #[test]
    fn what_stands_for_nothing_or_could_end_a_quoted_text_is_not_filled_in() {
        let missing = UnfilledError::NoRevision { placeholder: "green_revision" };
        assert_eq!(filled("x{v='{{ green_revision }}'}", None), Err(missing));
        for bad in ["v\"2", "v'2", "v`2", "v\\2", "v 2", "v{2", "v\u{e9}"] {
            let found = filled("x{v=\"{{ green_revision }}\"}", Some(bad)).expect_err(bad);
            assert!(matches!(found, UnfilledError::Character { .. }), "{found}");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        let check = |text: &str, expected: &str| {
            let found = text.parse::<QueryTemplate>().expect_err(text).to_string();
            assert!(found.contains(expected), "{found}");
        };
        check(" \n", "must not be empty");
        check("up{{ green", "has no `}}`");
        check("x{{ gren }}", "\"gren\" is no placeholder: there are service, blue, green,");
        check("a\u{1b}b", "no control characters");
        check(&"x".repeat(QueryTemplate::LONGEST + 1), "at most 2048 bytes");
    }

    #[test]
    fn a_template_is_stored_as_its_text() {
        let template: QueryTemplate = "x{g=\"{{ green }}\"}".parse().expect("valid");
        assert_eq!(String::from(template.clone()), template.as_str());
        assert_eq!(QueryTemplate::try_from(template.to_string()), Ok(template));
    }
}
