//! "Did you mean": the known word that a misspelt one is nearest to.

/// The nearest of some words, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST + 1).collect();
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, FURTHEST);
    known
        .filter(|known| known.chars().count().abs_diff(word.len()) <= allowed)
        .map(|known| (distance(&word, known), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, known)| known)
}

/// How many characters must be inserted, removed or replaced to make one word the other
/// (Levenshtein's distance, a row at a time).
fn distance(a: &[char], b: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, b) in b.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, a) in a.iter().enumerate() {
            let replaced = diagonal + usize::from(*a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[a.len()]
}

const LONGEST: usize = 64;
const FURTHEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let check = |word: &str, expected: Option<&str>| {
            let known = ["careful", "carefree", "path", "path_prefix"];
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        };
        check("carefull", Some("careful"));
        check("Careful", Some("careful"));
        check("pth", Some("path"));
        check("pathprefix", Some("path_prefix"));
        check("x", None);
        check("", None);
        check("something-else", None);
        check(&"a".repeat(10_000), None);
    }

    #[test]
    fn distance_counts_edits() {
        let check = |a: &str, b: &str, expected: usize| {
            assert_eq!(distance(&a.chars().collect::<Vec<_>>(), b), expected, "{a} {b}");
        };
        check("", "", 0);
        check("", "abc", 3);
        check("abc", "", 3);
        check("kitten", "sitting", 3);
        check("flaw", "lawn", 2);
    }
}
