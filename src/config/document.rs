//! A text as one YAML document, within bounds.
//!
//! The YAML library bounds what aliases may expand to, and flow collections (`[`, `{`) to 255
//! levels. It reads block collections by recursion without a bound, so a text that could nest them
//! deeper than the stack is refused before the library sees it: every level begins further to the
//! right than the one around it. It would stop at a key that is there twice; `duplicates` finds
//! those instead, so that the rest is read as well.

use saphyr::{MarkedYaml, ScanError, YamlLoader};
use saphyr_parser::{BufferedInput, Event, Parser, Span, SpannedEventReceiver};

use super::ConfigErrors;
use super::duplicates::Duplicates;
use super::mistake::Mistakes;

/// A node of a document that borrows nothing from the text.
pub(super) type Yaml = MarkedYaml<'static>;

/// The largest configuration in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The furthest that a line's content may begin to the right.
const MAX_INDENT: usize = 200;

/// Reads a text as exactly one document. Keys that are there twice are recorded as mistakes, and
/// the last one's value is taken.
pub(super) fn read(text: &str, mistakes: &Mistakes) -> Result<Yaml, ConfigErrors> {
    if text.len() > MAX_BYTES {
        let message = format!("has {} bytes, a configuration has at most {MAX_BYTES}", text.len());
        return Err(ConfigErrors::only(message, None));
    }
    if let Some(line) = text.split(['\n', '\r']).position(|line| indent(line) > MAX_INDENT) {
        // Counted as an editor does: a carriage return before a line feed ends no line.
        let before: usize = text.split(['\n', '\r']).take(line).map(|line| line.len() + 1).sum();
        let number = 1 + text[..before].matches('\n').count();
        let message = format!("a line is indented by at most {MAX_INDENT} characters");
        return Err(ConfigErrors::only(message, Some(number)));
    }
    let mut documents = documents(text, mistakes)?;
    match (documents.pop(), documents.len()) {
        (Some(document), 0) if !document.data.is_badvalue() && !document.data.is_null() => {
            Ok(document)
        }
        (Some(second), 1..) => {
            let line = Some(second.span.start.line());
            Err(ConfigErrors::only("holds several YAML documents, wanted one", line))
        }
        (Some(_) | None, _) => Err(ConfigErrors::only("is empty", None)),
    }
}

/// All documents of a text.
fn documents(text: &str, mistakes: &Mistakes) -> Result<Vec<Yaml>, ConfigErrors> {
    let not_yaml = |error: &ScanError| {
        let message = format!("is not YAML: {}", error.info());
        ConfigErrors::only(message, Some(error.marker().line()))
    };
    let mut loader: YamlLoader<'static, Yaml> = YamlLoader::default();
    loader.allow_duplicate_keys(true);
    let mut reader = Reader { loader, duplicates: Duplicates::new(mistakes) };
    let mut parser = Parser::new(BufferedInput::new(text.chars()));
    parser.load(&mut reader, true).map_err(|error| not_yaml(&error))?;
    match reader.loader.error() {
        Some(error) => Err(not_yaml(error)),
        None => Ok(reader.loader.into_documents()),
    }
}

/// Takes the events of a text in.
struct Reader<'m> {
    loader: YamlLoader<'static, Yaml>,
    duplicates: Duplicates<'m>,
}

impl SpannedEventReceiver<'static> for Reader<'_> {
    fn on_event(&mut self, event: Event<'static>, span: Span) {
        self.duplicates.see(&event, span.start.line());
        self.loader.on_event(event, span);
    }
}

/// Reads a text for a test, in which no key is there twice.
#[cfg(test)]
pub(super) fn load(text: &str) -> Result<Yaml, ConfigErrors> {
    let mistakes = Mistakes::default();
    let document = read(text, &mistakes)?;
    mistakes.into_errors().map_or(Ok(document), Err)
}

/// How far to the right the innermost block collection of a line can begin: the spaces, the
/// indicators `-`, `?` and `:`, and the anchors and tags that stand before its content.
fn indent(line: &str) -> usize {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\u{feff}']);
        let token = rest.split([' ', '\t']).next().unwrap_or_default();
        let leads = matches!(token, "-" | "?" | ":") || token.starts_with(['&', '!']);
        if !leads {
            return line.len() - rest.len();
        }
        rest = &rest[token.len()..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refuses(text: &str, expected: &str) {
        let found = load(text).unwrap_err().to_string();
        assert!(found.contains(expected), "{found:?} does not contain {expected:?}");
    }

    #[test]
    fn what_is_not_one_document_is_refused_with_its_line() {
        refuses("", "is empty");
        refuses("# nothing but a comment\n", "is empty");
        refuses("---\n", "is empty");
        refuses("a: 1\n---\nb: 1\n", "line 3: holds several YAML documents");
        refuses("a: 1\nb: [1\n", "is not YAML");
        refuses("a: 1\nb: 2\na: 3\n", "line 3: a: this key is written twice, first in line 1");
        refuses(&format!("# {}", "x".repeat(MAX_BYTES)), "a configuration has at most 1048576");
    }

    #[test]
    fn a_text_that_nests_too_deep_is_refused_before_it_is_read() {
        refuses(&"- ".repeat(100_000), "line 1: a line is indented by at most 200");
        refuses(&format!("a:\r\n{}b: 1", "? ".repeat(100_000)), "line 2: a line is indented");
        refuses(&"- &a ".repeat(100_000), "a line is indented");
        refuses(&format!("a: [{}", "[".repeat(100_000)), "is not YAML");
        let steps: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        refuses(&steps, "line 202: a line is indented");
    }

    #[test]
    fn the_deepest_text_that_is_read_fits_a_thread_s_stack() {
        let flow = format!("{}{}", "[? [".repeat(127), "]]".repeat(127));
        for indicator in ["- ", "? "] {
            let deepest = format!("{}{flow}", indicator.repeat(MAX_INDENT / 2));
            drop(load(&deepest).unwrap().clone());
        }
    }

    #[test]
    fn what_aliases_expand_to_is_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = format!("*a{}", level - 1);
            let items = vec![before; 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        refuses(&text, "is not YAML");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[-?:&*!|>'\"%@`{}\\[\\],# a-c0-9\\r\\n\\t.~<=]{0,200}") {
            let _ = load(&text);
        }
    }
}
