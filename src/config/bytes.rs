//! Amounts of bytes.

use std::str::FromStr;

use super::node::{Node, shorten};

/// An amount of bytes, written `64KiB`, `16MiB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |(unit, factor): &(&str, u64)| {
            let digits = text.strip_suffix(unit)?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then_some(digits)?.parse::<u64>().ok()?.checked_mul(*factor)
        };
        UNITS.iter().find_map(parse).map(Self).ok_or_else(|| {
            let shown = shorten(text);
            format!("{shown:?} is not an amount of bytes: for example \"512KiB\" or \"16MiB\"")
        })
    }
}

/// Reads an amount of bytes between two bounds, which are given as they are written.
pub(super) fn bytes_between(node: &Node<'_>, least: &str, most: &str) -> Option<u64> {
    let bound = |text: &str| text.parse().map_or(0, |Bytes(bytes)| bytes);
    let Bytes(bytes) = node.quantity()?;
    if (bound(least)..=bound(most)).contains(&bytes) {
        return Some(bytes);
    }
    let shown = shorten(node.text()?);
    node.mistake(format!("{shown:?} is not between {least} and {most}"));
    None
}

const UNITS: [(&str, u64); 4] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_with_a_unit_of_powers_of_two() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse().ok().map(|Bytes(bytes)| bytes), expected, "{text}");
        };
        check("1KiB", Some(1_024));
        check("0KiB", Some(0));
        check("16MiB", Some(16 << 20));
        check("3GiB", Some(3 << 30));
        check("1024TiB", Some(1 << 50));
        for bad in ["", "1", "KiB", "1KB", "1 KiB", "1.5MiB", "-1KiB", "+1KiB", "1kib", "1B"] {
            check(bad, None);
        }
        check("18446744073709551615TiB", None);
    }
}
