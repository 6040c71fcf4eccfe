//! The commands that the documentation quotes: every line of a block of shell that begins with
//! `tidegate`.

use super::tree;

/// A command as it stands in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    /// Where: `README.md:12`.
    pub(crate) at: String,
    /// Its words, `tidegate` first.
    pub(crate) words: Vec<String>,
}

/// Every command that a document quotes.
pub(crate) fn quoted() -> Vec<Quoted> {
    let documents = tree::text_files().into_iter().filter(|(path, _)| path.ends_with(".md"));
    documents.flat_map(|(path, text)| quoted_in(&path, &text)).collect()
}

/// The commands in the blocks of one document.
fn quoted_in(path: &str, text: &str) -> Vec<Quoted> {
    let mut found = Vec::new();
    let mut in_shell = false;
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(kind) = line.trim().strip_prefix("```") {
            in_shell = !in_shell && kind == "sh";
            continue;
        }
        if !in_shell || !line.trim_start().starts_with("tidegate ") {
            continue;
        }
        let mut command = line.trim().to_owned();
        while let Some(begun) = command.strip_suffix('\\') {
            let next = lines.next().map_or("", |(_, line)| line.trim());
            command = format!("{begun}{next}");
        }
        found.push(Quoted { at: format!("{path}:{}", at + 1), words: words(&command) });
    }
    found
}

/// Splits a command as a shell does, up to the first operator or comment.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '>' | '<' | '&' | ';') => break,
            (None, '#') if word.is_none() => break,
            (_, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn commands_are_found_in_blocks_of_shell_alone() {
    let text = "tidegate a\n```sh\ncurl x\ntidegate b --c 'd e' # why\n  tidegate f \\\n    --g | jq .\n```\n```yaml\ntidegate h\n```\n";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        quoted_in("x.md", text),
        [
            Quoted { at: "x.md:4".to_owned(), words: words(&["tidegate", "b", "--c", "d e"]) },
            Quoted { at: "x.md:5".to_owned(), words: words(&["tidegate", "f", "--g"]) },
        ]
    );
}
