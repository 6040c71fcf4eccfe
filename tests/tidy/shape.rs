//! The shape of a file: how long it is, how it begins, and what never stands in it.

use super::code::{Token, paths, tokens};
use super::tree::SourceFile;

/// Refuses a file that is too long; the tests at its foot do not count.
pub(crate) fn too_long(file: &SourceFile) -> Vec<String> {
    let lines = file.counted_lines();
    let complaint = format!("{}: {lines} lines, at most {LONGEST} are allowed", file.path);
    (lines > LONGEST).then_some(complaint).into_iter().collect()
}

/// A note about a file that is large and not yet too long.
pub(crate) fn large(file: &SourceFile) -> Option<String> {
    let lines = file.counted_lines();
    (lines > LARGE).then(|| format!("note: {} has {lines} lines, {LARGE} are large", file.path))
}

/// Refuses a file that does not begin with what it is.
pub(crate) fn without_doc(file: &SourceFile) -> Vec<String> {
    let complaint = format!("{}: does not begin with `//!`", file.path);
    (!file.text.starts_with("//! ")).then_some(complaint).into_iter().collect()
}

/// Refuses `#[ignore]`, `#[allow(…)]` and their like, in tests as well.
pub(crate) fn forbidden_attributes(file: &SourceFile) -> Vec<String> {
    let tokens = tokens(&file.text);
    let opened = |at: usize| {
        let before: Vec<&str> = tokens[..at].iter().map(|token| token.text).collect();
        before.ends_with(&["#", "["]) || before.ends_with(&["#", "!", "["])
    };
    let words = tokens
        .iter()
        .enumerate()
        .filter(|(at, token)| FORBIDDEN_ATTRIBUTES.contains(&token.text) && opened(*at));
    words.map(|(_, token)| format!("{}:{}: #[{}]", file.path, token.line, token.text)).collect()
}

/// Refuses calls that end the process, or that stand for work not done, in production code.
pub(crate) fn forbidden_calls(file: &SourceFile) -> Vec<String> {
    let tokens = tokens(file.production());
    let called = |pair: &[Token<'_>]| {
        FORBIDDEN_CALLS.iter().any(|(word, after)| pair[0].text == *word && pair[1].text == *after)
    };
    let pairs = tokens.windows(2).filter(|pair| called(pair));
    pairs.map(|pair| format!("{}:{}: {}", file.path, pair[0].line, pair[0].text)).collect()
}

/// Refuses the types of `std` that read the clock, outside of the one file that may.
pub(crate) fn clocks(file: &SourceFile) -> Vec<String> {
    if file.path == "src/clock.rs" {
        return Vec::new();
    }
    let found = paths(&file.text).into_iter().filter(|path| {
        let text = path.text();
        CLOCKS.iter().any(|clock| text == *clock || text.starts_with(&format!("{clock}::")))
    });
    found.map(|path| format!("{}:{}: {}", file.path, path.line, path.text())).collect()
}

/// Refuses locks where requests pass between the load of the table and their target.
pub(crate) fn locks(file: &SourceFile) -> Vec<String> {
    if !WITHOUT_LOCKS.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let found = tokens(file.production()).into_iter().filter(|token| LOCKS.contains(&token.text));
    found.map(|token| format!("{}:{}: {}", file.path, token.line, token.text)).collect()
}

impl SourceFile {
    fn counted_lines(&self) -> usize {
        let counted = if self.test_only { self.text.as_str() } else { self.production() };
        counted.lines().count()
    }
}

const LONGEST: usize = 600;
const LARGE: usize = 450;

const FORBIDDEN_ATTRIBUTES: [&str; 2] = ["allow", "ignore"];
const FORBIDDEN_CALLS: [(&str, &str); 4] =
    [("unwrap", "("), ("todo", "!"), ("unimplemented", "!"), ("dbg", "!")];
const WITHOUT_LOCKS: [&str; 3] =
    ["src/core/routing/", "src/proxy/cookie.rs", "src/proxy/selection.rs"];
const LOCKS: [&str; 3] = ["Mutex", "RwLock", "Condvar"];
const CLOCKS: [&str; 2] = ["std::time::Instant", "std::time::SystemTime"];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile::new("src/x.rs", text)
    }

    #[test]
    fn a_file_of_601_lines_is_too_long_and_one_of_600_is_not() {
        assert_eq!(too_long(&file(&"x\n".repeat(601))).len(), 1);
        assert_eq!(too_long(&file(&"x\n".repeat(600))).len(), 0);
        assert!(large(&file(&"x\n".repeat(451))).is_some());
        assert!(large(&file(&"x\n".repeat(450))).is_none());
    }

    #[test]
    fn tests_at_the_foot_do_not_count() {
        let text = format!("x\n#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(700));
        assert_eq!(too_long(&file(&text)).len(), 0);
    }

    #[test]
    fn a_file_begins_with_what_it_is() {
        assert_eq!(without_doc(&file("use std::fmt;\n")).len(), 1);
        assert_eq!(without_doc(&file("//! A thing.\n")).len(), 0);
    }

    #[test]
    fn switched_off_lints_and_ignored_tests_are_found() {
        for text in
            ["#[allow(dead_code)]", "#![allow(dead_code)]", "#[ignore]", "#[ignore = \"slow\"]"]
        {
            assert_eq!(forbidden_attributes(&file(text)).len(), 1, "{text}");
        }
        let text = "#[expect(dead_code, reason = \"x\")] fn ignore(allow: [u8; 1]) {} // #[ignore]";
        assert_eq!(forbidden_attributes(&file(text)).len(), 0);
    }

    #[test]
    fn unwrapping_is_for_tests() {
        assert_eq!(forbidden_calls(&file("fn f() { g().unwrap(); todo!() }")).len(), 2);
        let tests = "fn f() {}\n#[cfg(test)]\nmod tests {\nfn g() { f().unwrap(); }\n}\n";
        assert_eq!(forbidden_calls(&file(tests)).len(), 0);
        assert_eq!(forbidden_calls(&file("fn f() { g().unwrap_or(1) }")).len(), 0);
    }

    #[test]
    fn a_lock_on_the_way_of_requests_is_found() {
        let locked = "use std::sync::{Arc, Mutex}; // Mutex\nstruct X(parking_lot::RwLock<u8>);";
        let found = |path: &str, text: &str| locks(&SourceFile::new(path, text)).len();
        assert_eq!(found("src/core/routing/side.rs", locked), 2);
        assert_eq!(found("src/proxy/selection.rs", locked), 2);
        assert_eq!(found("src/proxy/turnstile.rs", locked), 0);
        let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{locked}\n}}\n");
        assert_eq!(found("src/core/routing/side.rs", &tests), 0);
    }

    #[test]
    fn a_second_clock_is_found() {
        assert_eq!(clocks(&file("use std::time::{Duration, Instant};")).len(), 1);
        assert_eq!(clocks(&file("fn f() { std::time::SystemTime::now(); }")).len(), 1);
        assert_eq!(clocks(&file("use tokio::time::Instant; use std::time::Duration;")).len(), 0);
        assert_eq!(clocks(&SourceFile::new("src/clock.rs", "use std::time::Instant;")).len(), 0);
    }
}
