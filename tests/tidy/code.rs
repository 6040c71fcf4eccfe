//! Just enough of Rust's grammar to find the paths that a file uses: tokens without comments,
//! strings and characters, and `use` trees written out.
//!
//! Modules written inside a file are not followed: their `super` is read as that of the file.

/// A word, `::`, or one other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// The word or character.
    pub(crate) text: &'a str,
    /// Its line, counted from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }
}

/// A path of at least two segments, with the line where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    /// `["std", "time", "Duration"]`.
    pub(crate) segments: Vec<&'a str>,
    /// Its line, counted from 1.
    pub(crate) line: usize,
}

impl Path<'_> {
    /// The segments joined.
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// Splits a text into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = blank(rest).or_else(|| quoted(rest)).unwrap_or(0);
        let taken = if length > 0 {
            length
        } else {
            let length = word(rest).max(if rest.starts_with("::") { 2 } else { first.len_utf8() });
            if !first.is_whitespace() {
                tokens.push(Token { text: &rest[..length], line });
            }
            length
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    tokens
}

/// Every path of at least two segments, with `use` trees written out.
pub(crate) fn paths(text: &str) -> Vec<Path<'_>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inside = at > 0 && matches!(tokens[at - 1].text, "::" | ".");
        if tokens[at].is_word() && !inside {
            at = path(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found.retain(|path| path.segments.len() > 1);
    found
}

/// Reads the path that begins at a word, and gives where it ends.
fn path<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    before: &[&'a str],
    found: &mut Vec<Path<'a>>,
) -> usize {
    let line = tokens[at].line;
    let mut segments = before.to_vec();
    segments.push(tokens[at].text);
    at += 1;
    while tokens.get(at).is_some_and(|token| token.text == "::") {
        match tokens.get(at + 1) {
            Some(next) if next.text == "{" => return group(tokens, at + 2, &segments, found),
            Some(next) if next.is_word() || next.text == "*" => {
                segments.push(next.text);
                at += 2;
            }
            Some(_) | None => break,
        }
    }
    found.push(Path { segments, line });
    at
}

/// Reads the rest of a group in braces, and gives where it ends.
fn group<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    before: &[&'a str],
    found: &mut Vec<Path<'a>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "}" => return at + 1,
            "as" => at += 2,
            _ if token.is_word() => at = path(tokens, at, before, found),
            _ => at += 1,
        }
    }
    at
}

/// The length of a comment at the beginning of a text.
fn blank(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of a string, a character or a lifetime at the beginning of a text.
fn quoted(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"') || rest.trim_start_matches('#').starts_with('"')
        })
    });
    let start = prefix.map_or(0, str::len);
    let rest = &text[start..];
    if prefix.is_some_and(|prefix| prefix.ends_with('r')) {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = start + hashes + 1;
        return Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()));
    }
    if let Some(body) = rest.strip_prefix('"') {
        return Some(start + 1 + closed_by(body, b'"'));
    }
    if !text.starts_with('\'') {
        return None;
    }
    let mut chars = text[1..].chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => Some(1 + closed_by(&text[1..], b'\'')),
        (Some(one), Some('\'')) => Some(2 + one.len_utf8()),
        (_, _) => Some(1 + word(&text[1..]).max(1)),
    }
}

/// The length up to and with a closing mark that no backslash stands before.
fn closed_by(text: &str, mark: u8) -> usize {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        } else if byte == mark {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a word or a number at the beginning of a text; 0 if there is none.
fn word(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

#[test]
fn trees_are_written_out() {
    let text = "use crate::core::{model::{Weight, Span as Time}, routing::*};\nstd::fs::read(x);";
    let found: Vec<String> = paths(text).iter().map(Path::text).collect();
    assert_eq!(
        found,
        [
            "crate::core::model::Weight",
            "crate::core::model::Span",
            "crate::core::routing::*",
            "std::fs::read"
        ]
    );
    assert_eq!(paths(text)[3].line, 2);
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let text = r##"
        // a::b
        /* a::b /* c::d */ e::f */
        let s = ("a::b \" c::d", r#"e" f::g"#, b"h::i", 'x', '\'', '"');
        fn f<'a>(x: &'a str) -> y::Z {}
    "##;
    let found: Vec<String> = paths(text).iter().map(Path::text).collect();
    assert_eq!(found, ["y::Z"]);
}

#[test]
fn a_path_ends_at_its_type_arguments() {
    let found: Vec<String> =
        paths("a::b::<c::D>::e(); f.g::<h::I>()").iter().map(Path::text).collect();
    assert_eq!(found, ["a::b", "c::D", "h::I"]);
}
