//! A file of targets: one on a line, plain or as a YAML list.

use std::collections::BTreeSet;

use super::{Target, TargetError, TargetGroup, TargetName};

/// The reason why bytes are not a list of targets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetListError {
    /// More bytes than a list may have.
    #[error("has more than {limit} bytes", limit = TargetList::MAX_BYTES)]
    TooLarge,
    /// No text.
    #[error("line {line}: is not UTF-8")]
    NotText {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line that is no target, or one that was there before.
    #[error("line {line}: {error}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        error: TargetError,
    },
    /// Nothing at all, as in a file that is being written.
    #[error("lists no target; a list that is meant to be empty is written `[]`")]
    Nothing,
}

/// The targets of a file, each once, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetList(Vec<Target>);

impl TargetList {
    /// The largest file in bytes.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads a file's content.
    ///
    /// A line is a target, with or without the `- ` of a YAML list and with or without quotes. `#`
    /// begins a comment. A file without any target must say so by `[]`: one that is cut short
    /// while it is written must not take all targets away.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(bytes: &[u8]) -> Result<Self, TargetListError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(TargetListError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = &bytes[..error.valid_up_to()];
            TargetListError::NotText { line: 1 + valid.iter().filter(|b| **b == b'\n').count() }
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut targets = Vec::new();
        let mut seen: BTreeSet<TargetName> = BTreeSet::new();
        let mut is_empty = false;
        for (at, line) in text.lines().enumerate() {
            let wrong = |error| TargetListError::Line { line: at + 1, error };
            let written = match content(line) {
                "" | "---" => continue,
                "[]" => {
                    is_empty = true;
                    continue;
                }
                written => written,
            };
            let address: TargetName = written.parse().map_err(wrong)?;
            if !seen.insert(address.clone()) {
                return Err(wrong(TargetError::Duplicate { address }));
            }
            targets.push(Target { address });
            if targets.len() > TargetGroup::LIMIT {
                let (limit, count) = (TargetGroup::LIMIT, targets.len());
                return Err(wrong(TargetError::TooMany { limit, count }));
            }
        }
        if targets.is_empty() && !is_empty {
            return Err(TargetListError::Nothing);
        }
        Ok(Self(targets))
    }

    /// The targets.
    #[must_use]
    pub fn into_targets(self) -> Vec<Target> {
        self.0
    }
}

/// What a line says, without comment, list marker and quotes.
fn content(line: &str) -> &str {
    let line = line.trim();
    let line = if line.starts_with('#') { "" } else { line };
    let line = line.split_once(" #").map_or(line, |(before, _)| before.trim_end());
    let line = line.strip_prefix("- ").map_or(line, str::trim_start);
    let unquoted = |quote: char| line.strip_prefix(quote)?.strip_suffix(quote);
    unquoted('"').or_else(|| unquoted('\'')).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let list = TargetList::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(list.into_targets().into_iter().map(|target| target.address.to_string()).collect())
    }

    #[test]
    fn a_list_is_read_plain_and_as_yaml() {
        let expected = Ok(vec!["127.0.0.1:9001".to_owned(), "shop.internal:80".to_owned()]);
        assert_eq!(read("127.0.0.1:9001\nshop.internal:80\n"), expected);
        assert_eq!(read("# ours\r\n\r\n127.0.0.1:9001 # first\r\n shop.internal:80"), expected);
        assert_eq!(read("---\n- 127.0.0.1:9001\n- 'shop.internal:80' # second\n"), expected);
        assert_eq!(read("[]\n"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_list_is_told_with_its_line() {
        let refused = |text: &str| read(text).expect_err("refused");
        assert_eq!(refused(""), refused("# nothing\n\n"));
        assert!(refused("").contains("written `[]`"));
        assert!(refused("1.1.1.1:1\nnowhere\n").starts_with("line 2: \"nowhere\" is not a target"));
        assert_eq!(
            refused("1.1.1.1:1\n#\n- 1.1.1.1:1"),
            "line 3: target 1.1.1.1:1 is listed twice"
        );
        let many: String = (1..=1_001).map(|port| format!("1.1.1.1:{port}\n")).collect();
        assert!(refused(&many).starts_with("line 1001: a target group has at most 1000"));
        let bytes = [b"1.1.1.1:1\n".as_slice(), &[0xff]].concat();
        assert_eq!(TargetList::parse(&bytes), Err(TargetListError::NotText { line: 2 }));
        let large = vec![b'#'; TargetList::MAX_BYTES + 1];
        assert_eq!(TargetList::parse(&large), Err(TargetListError::TooLarge));
    }
}
