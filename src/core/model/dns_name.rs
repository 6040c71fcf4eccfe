//! Names that DNS is asked about.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The reason why a text is not a name for DNS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Nothing before, after or between two dots.
    #[error("a host name has a label that is empty")]
    EmptyLabel,
    /// Longer than a question to DNS can hold.
    #[error("a host name has at most {limit} characters, this one has {length}")]
    TooLong {
        /// The longest permitted length.
        limit: usize,
        /// The length found.
        length: usize,
    },
    /// A label that is longer than a question to DNS can hold.
    #[error("a label of a host name has at most {limit} characters, one has {length}")]
    LabelTooLong {
        /// The longest permitted length.
        limit: usize,
        /// The length found.
        length: usize,
    },
    /// A character that no host name has.
    #[error("a host name is made of letters, digits, `-`, `_` and `.`, found {found:?}")]
    Character {
        /// The first character that is not permitted.
        found: char,
    },
    /// A label that begins or ends with a hyphen.
    #[error("a label of a host name neither begins nor ends with `-`")]
    Hyphen,
    /// Digits where a top-level domain would be: an address that is none.
    #[error("it ends in a number, and is no IP address")]
    Numeric,
}

/// A name that DNS is asked about, in lower case; a dot at the end keeps the resolver from
/// appending search domains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

impl DnsName {
    const LONGEST: usize = 253;
    const LONGEST_LABEL: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        let labels = text.strip_suffix('.').unwrap_or(text);
        if labels.len() > Self::LONGEST {
            return Err(DnsNameError::TooLong { limit: Self::LONGEST, length: labels.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(found) = labels.chars().find(|c| !allowed(*c)) {
            return Err(DnsNameError::Character { found });
        }
        let mut last = "";
        for label in labels.split('.') {
            if label.is_empty() {
                return Err(DnsNameError::EmptyLabel);
            }
            if label.len() > Self::LONGEST_LABEL {
                let (limit, length) = (Self::LONGEST_LABEL, label.len());
                return Err(DnsNameError::LabelTooLong { limit, length });
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(DnsNameError::Hyphen);
            }
            last = label;
        }
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DnsNameError::Numeric);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_labels_of_letters_and_never_an_address() {
        let read = |text: &str| text.parse::<DnsName>();
        for good in ["shop", "shop.internal", "_http._tcp.shop.internal", "a-1.x.", "1.example"] {
            assert_eq!(read(good).expect("valid").as_str(), good);
        }
        assert_eq!(read("Shop.Internal").expect("valid").as_str(), "shop.internal");
        let check = |text: &str, expected: DnsNameError| assert_eq!(read(text), Err(expected));
        check("", DnsNameError::EmptyLabel);
        check(".", DnsNameError::EmptyLabel);
        check("a..b", DnsNameError::EmptyLabel);
        check("-a.b", DnsNameError::Hyphen);
        check("a b", DnsNameError::Character { found: ' ' });
        check("sch\u{f6}n.example", DnsNameError::Character { found: '\u{f6}' });
        check("127.0.0.300", DnsNameError::Numeric);
        check("80", DnsNameError::Numeric);
        assert!(matches!(read(&"a".repeat(64)), Err(DnsNameError::LabelTooLong { .. })));
        assert!(matches!(read(&"a.".repeat(200)), Err(DnsNameError::TooLong { .. })));
    }
}
