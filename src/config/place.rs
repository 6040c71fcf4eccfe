//! Places: the lines of mistakes that are found after a file was read, by what the file asks of the
//! machine.

use std::path::Path;

use super::mistake::{ConfigErrors, Mistake, Mistakes};
use super::node::Node;
use super::{document, read_bounded};

impl ConfigErrors {
    /// Mistakes in a file that was read, each with the line of its key path; `None` if there are
    /// none. A key path that does not stand in the file, but is a default, has no line.
    #[must_use]
    pub fn found_later(file: &Path, found: Vec<Mistake>) -> Option<Self> {
        // A file that cannot be read any more was there a moment ago.
        let text = read_bounded(file).unwrap_or_default();
        let mistakes = Mistakes::default();
        for mistake in found {
            let line = line_of(&text, &mistake.at);
            mistakes.add(Mistake { line, ..mistake });
        }
        Some(mistakes.into_errors()?.in_file(file))
    }
}

/// The line of a key path such as `listeners[0].address`.
fn line_of(text: &str, at: &str) -> Option<usize> {
    let ignored = Mistakes::default();
    let document = document::read(text, &ignored).ok()?;
    let mut node = Node::root(&document, &ignored);
    for step in at.split('.') {
        let (key, item) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((key, number)) => (key, Some(number.parse::<usize>().ok()?)),
            None => (step, None),
        };
        node = node.child(key)?;
        if let Some(number) = item {
            node = node.items(usize::MAX).into_iter().nth(number)?;
        }
    }
    Some(node.line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_path_has_the_line_where_it_stands() {
        let text = "listeners:\n- name: one\n  address: x\n-\n  name: two\n  address: y\nadmin:\n  \
                    address: z\n";
        let check = |at: &str, expected: Option<usize>| assert_eq!(line_of(text, at), expected);
        check("listeners[0].address", Some(3));
        check("listeners[1].address", Some(6));
        check("admin.address", Some(8));
        check("admin.metrics_address", None);
        check("listeners[2].address", None);
        check("", None);
    }

    #[test]
    fn mistakes_that_are_found_later_are_told_as_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.yaml");
        std::fs::write(&file, "\nadmin:\n  address: z\n").unwrap();
        let mistake = |at: &str| Mistake {
            at: at.to_owned(),
            line: None,
            message: "is in use".to_owned(),
            fix: None,
        };
        let found = vec![mistake("admin.address"), mistake("listeners[0].address")];
        let errors = ConfigErrors::found_later(&file, found).expect("two mistakes").to_string();
        let shown = file.display();
        let expected = format!(
            "{shown}: listeners[0].address: is in use\n{shown}:3: admin.address: is in use"
        );
        assert_eq!(errors, expected);
        assert_eq!(ConfigErrors::found_later(&file, Vec::new()), None);
    }
}
