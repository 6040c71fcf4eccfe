//! Names and ids: one newtype for every kind, so that a service's name can never be passed where
//! a target group's is wanted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The reason why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a {kind} must not be empty")]
    Empty {
        /// What was being named.
        kind: &'static str,
    },
    /// The text is too long.
    #[error("a {kind} has at most {limit} characters, this one has {length}")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// The longest permitted length in bytes.
        limit: usize,
        /// The length found in bytes.
        length: usize,
    },
    /// The text contains a character that the kind does not permit.
    #[error("a {kind} is made of {allowed}, found {found:?}")]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The permitted characters in words.
        allowed: &'static str,
        /// The first character that is not permitted.
        found: char,
    },
    /// The text is not a rollout id.
    #[error("a rollout id is `d-` and nine of A-Z and 0-9, found {found:?}")]
    RolloutId {
        /// The text.
        found: String,
    },
}

const NAME_LIMIT: usize = 64;
const REVISION_LIMIT: usize = 256;

fn parse_name(kind: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > NAME_LIMIT {
        return Err(NameError::TooLong { kind, limit: NAME_LIMIT, length: text.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(text.into()),
        Some(found) => {
            Err(NameError::Character { kind, allowed: "letters, digits, `.`, `_` and `-`", found })
        }
    }
}

fn parse_revision(kind: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > REVISION_LIMIT {
        return Err(NameError::TooLong { kind, limit: REVISION_LIMIT, length: text.len() });
    }
    match text.chars().find(|c| c.is_control()) {
        None => Ok(text.into()),
        Some(found) => Err(NameError::Character { kind, allowed: "printable characters", found }),
    }
}

fn parse_rollout_id(_: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let valid = text.strip_prefix("d-").is_some_and(|rest| {
        rest.len() == RolloutId::RANDOM_LENGTH
            && rest.bytes().all(|b| RolloutId::ALPHABET.contains(&b))
    });
    if valid {
        Ok(text.into())
    } else {
        Err(NameError::RolloutId { found: text.chars().take(NAME_LIMIT).collect() })
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $kind:literal by $parse:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $parse($kind, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

names! {
    /// The name of a service.
    ServiceName = "service name" by parse_name;
    /// The name of a target group.
    TargetGroupName = "target group name" by parse_name;
    /// The name of a listener.
    ListenerName = "listener name" by parse_name;
    /// The name of a strategy, predefined or declared in the file.
    StrategyName = "strategy name" by parse_name;
    /// The name of an alarm.
    AlarmName = "alarm name" by parse_name;
    /// The name under which a gate is declared; the component's own name may differ.
    GateName = "gate name" by parse_name;
    /// The name of a Prometheus server that alarms ask.
    PrometheusName = "Prometheus server's name" by parse_name;
    /// What a target group runs: an opaque label given by the deploy tool, 1 to 256 bytes.
    Revision = "revision" by parse_revision;
    /// The id of a rollout: `d-` and nine of `A-Z0-9`.
    RolloutId = "rollout id" by parse_rollout_id;
}

impl RolloutId {
    /// The characters after the prefix.
    pub const ALPHABET: &'static [u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    /// How many characters follow the prefix.
    pub const RANDOM_LENGTH: usize = 9;

    /// Makes an id from a random draw; 64 bits cover 36^9 ids with a bias below 1e-5.
    #[must_use]
    pub fn from_draw(mut draw: u64) -> Self {
        let mut text = String::with_capacity(2 + Self::RANDOM_LENGTH);
        text.push_str("d-");
        for _ in 0..Self::RANDOM_LENGTH {
            let index = usize::try_from(draw % 36).expect("a remainder of 36 fits");
            text.push(char::from(Self::ALPHABET[index]));
            draw /= 36;
        }
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_dots_underscores_and_dashes() {
        assert!("shop-a_1.x".parse::<ServiceName>().is_ok());
        assert!("".parse::<ServiceName>().is_err());
        assert!("a b".parse::<ServiceName>().is_err());
        assert!("../x".parse::<GateName>().is_err());
        assert!("x".repeat(65).parse::<ServiceName>().is_err());
    }

    #[test]
    fn a_revision_may_hold_an_image_digest() {
        assert!("registry/shop@sha256:ab12 (main)".parse::<Revision>().is_ok());
        assert!("a\nb".parse::<Revision>().is_err());
    }

    #[test]
    fn every_draw_makes_a_valid_rollout_id() {
        for draw in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let id = RolloutId::from_draw(draw);
            assert_eq!(id.as_str().parse::<RolloutId>(), Ok(id.clone()));
        }
        assert!("d-abc".parse::<RolloutId>().is_err());
    }
}
