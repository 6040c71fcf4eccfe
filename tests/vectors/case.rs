//! A vector: the bytes that are sent, and what must become of them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One vector.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What is special about it.
    pub(crate) name: String,
    /// The section that decides, and what it says.
    pub(crate) rule: String,
    /// What the client sends; each character is one byte.
    send: Vec<Part>,
    /// Whether it may be served.
    pub(crate) must: Must,
    /// The statuses of a refusal that are right; any of a refusal where there are none.
    #[serde(default)]
    pub(crate) status: Vec<u16>,
    /// The requests that the target sees if it is served, and no others.
    #[serde(default)]
    pub(crate) target: Vec<Expected>,
    /// What the connection is good for afterwards.
    #[serde(default)]
    pub(crate) then: Then,
    /// Whether the client has nothing more to say, and says so.
    #[serde(default)]
    pub(crate) half_close: bool,
    /// Whether the first answer has a header alone.
    #[serde(default)]
    pub(crate) head: bool,
}

/// A part of what is sent.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Repeated { repeat: String, times: usize },
}

/// Whether a request may be served.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Must {
    /// It is answered with an error, or with nothing; the connection ends, and no target sees it.
    Refuse,
    /// It is served.
    Accept,
    /// Either; then all of it that is served is served cleanly.
    Either,
}

/// What a connection is good for after what was served on it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// Another request is answered, or the connection ends.
    #[default]
    Any,
    /// Another request is answered.
    Keep,
    /// The connection ends, and whatever came behind on it is not served.
    Close,
    /// What came behind is refused, and the connection ends.
    Refuse,
}

/// A request as the target sees it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// Its method and target.
    pub(crate) request: String,
    /// Its content, each character one byte.
    #[serde(default)]
    body: String,
    /// Fields that it has exactly once, with these values.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
    /// Fields that it has not.
    #[serde(default)]
    pub(crate) absent: Vec<String>,
}

impl Case {
    /// Everything that is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.send.iter().flat_map(Part::bytes).collect()
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => bytes(text),
            Self::Repeated { repeat, times } => bytes(repeat).repeat(*times),
        }
    }
}

impl Expected {
    /// Its content.
    pub(crate) fn body(&self) -> Vec<u8> {
        bytes(&self.body)
    }
}

/// All vectors by group.
pub(crate) fn groups() -> BTreeMap<String, Vec<Case>> {
    serde_json::from_str(include_str!("http1.json")).expect("the vectors can be read")
}

/// The bytes that a text stands for, each character for one.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(u32::from(c)).expect("a character stands for one byte");
    text.chars().map(byte).collect()
}
