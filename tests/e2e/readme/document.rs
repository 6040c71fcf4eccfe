//! A section of a document: its blocks of shell, in order, each taken once.

use std::collections::VecDeque;
use std::path::Path;

/// A section.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    blocks: VecDeque<Block>,
}

/// A block of shell: the heading that it stands under, and its commands.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    under: String,
    commands: Vec<String>,
}

impl Document {
    /// Reads a section of the README, every command adapted.
    pub(super) fn read(section: &str, adapted: impl Fn(&str) -> String) -> Self {
        Self::of("README.md", section, adapted)
    }

    /// Reads a section of a document, every command adapted.
    pub(super) fn of(document: &str, section: &str, adapted: impl Fn(&str) -> String) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = std::fs::read_to_string(path).expect("the document");
        let mut blocks = blocks(&text, section);
        assert!(!blocks.is_empty(), "no block of shell under {section:?}");
        for command in blocks.iter_mut().flat_map(|block| &mut block.commands) {
            *command = adapted(command);
        }
        Self { text, blocks }
    }

    /// The commands of the next block, which has to stand under a heading.
    pub(super) fn block(&mut self, under: &str) -> Vec<String> {
        let block = self.blocks.pop_front().expect("another block");
        assert_eq!(block.under, under, "{:?}", block.commands);
        block.commands
    }

    /// A command that stands within a sentence.
    pub(super) fn inline<'a>(&self, command: &'a str) -> &'a str {
        assert!(self.text.contains(&format!("`{command}`")), "the README does not say {command}");
        command
    }

    /// Fails if a block was left out.
    pub(super) fn is_over(&self) {
        assert!(self.blocks.is_empty(), "left out: {:?}", self.blocks);
    }
}

fn blocks(text: &str, section: &str) -> VecDeque<Block> {
    let heading = format!("## {section}");
    let from_there = text.lines().skip_while(|line| *line != heading).skip(1);
    let mut lines = from_there.take_while(|line| !line.starts_with("## "));
    let mut under = section.to_owned();
    let mut blocks = VecDeque::new();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("### ") {
            under = heading.to_owned();
        } else if line == "```sh" {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            blocks.push_back(Block { under: under.clone(), commands: commands(inside) });
        }
    }
    blocks
}

/// The commands of these lines; one that ends in a backslash goes on.
fn commands<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines.filter(|line| !line.is_empty()) {
        match commands.last_mut() {
            Some(command) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            Some(_) | None => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

#[test]
fn the_blocks_of_a_section_are_found_and_no_others() {
    let text = "## A\n```sh\na\n```\n## B\ntext\n```sh\nb \\\n  c\n\nd\n```\n```yaml\ne\n```\n### C\n```sh\nf\n```\n## D\n```sh\ng\n```\n";
    let block = |under: &str, commands: &[&str]| Block {
        under: under.to_owned(),
        commands: commands.iter().map(|command| (*command).to_owned()).collect(),
    };
    assert_eq!(blocks(text, "B"), [block("B", &["b \\\n  c", "d"]), block("C", &["f"])]);
    assert!(blocks(text, "E").is_empty());
}
