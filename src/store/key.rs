//! What a record is found by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The reason why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Has no slash, or nothing before or after it.
    #[error("a key is `kind/name`, found {text:?}")]
    NotKindAndName {
        /// What was written, shortened.
        text: String,
    },
    /// Is too long.
    #[error("a key has at most {limit} bytes, this one has {length}")]
    TooLong {
        /// The longest permitted length in bytes.
        limit: usize,
        /// The length found in bytes.
        length: usize,
    },
    /// Contains a character that is not permitted.
    #[error(
        "a key's kind is made of a-z and `-`, its name of printable ASCII without blanks, found {found:?}"
    )]
    Character {
        /// The first character that is not permitted.
        found: char,
    },
}

/// A record's key, `kind/name`, for example `service/shop`; ordered byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key in bytes.
    pub const LIMIT: usize = 512;

    /// Makes a key of its two parts.
    ///
    /// # Errors
    /// A part is empty or has a character that is not permitted, or they are too long together.
    pub fn new(kind: &str, name: &str) -> Result<Self, KeyError> {
        format!("{kind}/{name}").parse()
    }

    /// What the record is, for example `service`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.parts().0
    }

    /// Which one it is, for example `shop`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').expect("a key was checked to have a slash")
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > Self::LIMIT {
            return Err(KeyError::TooLong { limit: Self::LIMIT, length: text.len() });
        }
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => (kind, name),
            Some(_) | None => {
                let text = text.chars().take(80).collect();
                return Err(KeyError::NotKindAndName { text });
            }
        };
        let bad_kind = kind.chars().find(|c| !c.is_ascii_lowercase() && *c != '-');
        match bad_kind.or_else(|| name.chars().find(|c| !c.is_ascii_graphic())) {
            None => Ok(Self(text.into())),
            Some(found) => Err(KeyError::Character { found }),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_kind_and_a_name() {
        let key = Key::new("target-group", "shop-a").expect("valid");
        assert_eq!(key.as_str(), "target-group/shop-a");
        assert_eq!((key.kind(), key.name()), ("target-group", "shop-a"));
        let nested: Key = "idempotency/t1/shop/k".parse().expect("valid");
        assert_eq!((nested.kind(), nested.name()), ("idempotency", "t1/shop/k"));
        for bad in ["", "/", "service", "service/", "/shop", "Service/x", "a b/c", "a/b c", "a/é"]
        {
            assert!(bad.parse::<Key>().is_err(), "{bad:?}");
        }
        assert!(Key::new("a", &"x".repeat(510)).is_ok());
        assert!(Key::new("a", &"x".repeat(511)).is_err());
    }
}
