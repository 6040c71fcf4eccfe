//! What guests say, made fit to be stored and shown.

/// The longest text that is kept of what a guest says, in bytes.
pub(super) const LONGEST: usize = 1_024;

/// One line of at most [`LONGEST`] bytes: control characters become spaces, characters that change
/// the direction of writing are left out, and what is cut off is shown by `…`.
pub(super) fn clean(text: &str) -> String {
    const CUT: char = '…';
    let mut line = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars().filter(|c| !turns_text(*c)) {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() + CUT.len_utf8() > LONGEST {
            line.push(CUT);
            break;
        }
        line.push(c);
    }
    line
}

/// Marks that make a terminal or a page show a text in another order than it is stored.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_line_without_tricks() {
        assert_eq!(clean("a\nb\x1b[31mc\u{202e}d"), "a b [31mcd");
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let cut = clean(&"é".repeat(LONGEST));
        assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 4, "{}", cut.len());
        assert!(cut.ends_with("é…"));
        assert_eq!(clean("short"), "short");
    }
}
