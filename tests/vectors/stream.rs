//! A vector of HTTP/2: the frames of one stream, and what must become of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::case::{Expected, Must, bytes};
use crate::http2::{frame, literal};

/// One vector.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stream {
    /// What is special about it.
    pub(crate) name: String,
    /// The section that decides, and what it says.
    pub(crate) rule: String,
    /// What the client sends, on stream 1.
    send: Vec<Part>,
    /// Whether it may be served.
    pub(crate) must: Must,
    /// The ways of a refusal that are right; any where there are none, for an endpoint may take an
    /// error of a stream for one of the connection (RFC 9113, section 5.4).
    #[serde(default)]
    pub(crate) refused: Vec<Way>,
    /// The statuses of a refusal that are right; any of a refusal where there are none.
    #[serde(default)]
    pub(crate) status: Vec<u16>,
    /// The requests that the target sees if it is served, and no others.
    #[serde(default)]
    pub(crate) target: Vec<Expected>,
    /// Whether the connection may end behind it, although the stream was answered.
    #[serde(default)]
    pub(crate) may_end: bool,
}

/// How something is refused.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// With a status.
    Status,
    /// With a RST_STREAM.
    Reset,
    /// With the end of the connection.
    Connection,
}

/// A part of what is sent; in every text each character is one byte.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    /// A header or trailers: HEADERS, with CONTINUATION if it is to have more parts than one.
    Headers {
        fields: Vec<Field>,
        #[serde(default)]
        end: bool,
        #[serde(default = "one")]
        parts: usize,
    },
    /// A DATA frame.
    Data {
        text: String,
        #[serde(default)]
        end: bool,
    },
    /// Any frame at all.
    Frame { kind: u8, flags: u8, stream: u32, payload: String },
}

/// Something in a block of header fields.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field {
    /// A name and a value as a literal.
    Plain(String, String),
    /// The same many times.
    Repeated { field: (String, String), times: usize },
    /// Bytes as they are.
    Raw { raw: String },
}

impl Stream {
    /// Everything that is sent behind the preface.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.send.iter().flat_map(Part::bytes).collect()
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Headers { fields, end, parts } => {
                let block: Vec<u8> = fields.iter().flat_map(Field::bytes).collect();
                let pieces: Vec<&[u8]> =
                    block.chunks(block.len().div_ceil(*parts).max(1)).collect();
                let numbered = pieces.iter().enumerate();
                let frames = numbered.flat_map(|(n, piece)| {
                    let end_headers = if n + 1 == pieces.len() { END_HEADERS } else { 0 };
                    let end_stream = if *end && n == 0 { END_STREAM } else { 0 };
                    let kind = if n == 0 { HEADERS } else { CONTINUATION };
                    frame(kind, end_headers | end_stream, 1, piece)
                });
                frames.collect()
            }
            Self::Data { text, end } => {
                frame(DATA, if *end { END_STREAM } else { 0 }, 1, &bytes(text))
            }
            Self::Frame { kind, flags, stream, payload } => {
                frame(*kind, *flags, *stream, &bytes(payload))
            }
        }
    }
}

impl Field {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(name, value) => literal(&bytes(name), &bytes(value)),
            Self::Repeated { field: (name, value), times } => {
                literal(&bytes(name), &bytes(value)).repeat(*times)
            }
            Self::Raw { raw } => bytes(raw),
        }
    }
}

/// All vectors by group.
pub(crate) fn groups() -> BTreeMap<String, Vec<Stream>> {
    serde_json::from_str(include_str!("http2.json")).expect("the vectors can be read")
}

fn one() -> usize {
    1
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// The flag of the last frame of a stream.
pub(crate) const END_STREAM: u8 = 0x01;
/// The flag of the last frame of a header.
pub(crate) const END_HEADERS: u8 = 0x04;
