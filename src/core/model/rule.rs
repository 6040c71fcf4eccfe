//! Rules: which requests of a listener lead to which service.
//!
//! The most specific rule wins, whatever the order in the file: first an exact host over a
//! wildcard over none, then an exact path over a longer prefix over a shorter one. Two rules of
//! one listener that match exactly the same requests are a mistake and are refused.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ServiceName;

/// The reason why a text is not a host or path match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a host name.
    #[error(
        "{text:?} is not a host: a name such as \"shop.example.com\" without scheme, port or path"
    )]
    Host {
        /// What was written.
        text: String,
    },
    /// Not a path.
    #[error("{text:?} is not a path: it begins with `/` and has no `?`, `#` or spaces")]
    Path {
        /// What was written.
        text: String,
    },
}

/// What the request's host must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostMatch {
    /// Any host.
    Any,
    /// This one, compared without case and port; held in lower case.
    Exact(String),
}

impl HostMatch {
    /// Reads an exact host.
    ///
    /// # Errors
    /// Anything that is not a plain host name or IP address.
    pub fn exact(text: &str) -> Result<Self, RuleError> {
        let valid = !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_[:]".contains(&b))
            && (text.starts_with('[') || !text.contains(':'));
        if valid {
            Ok(Self::Exact(text.to_ascii_lowercase()))
        } else {
            Err(RuleError::Host { text: text.chars().take(80).collect() })
        }
    }

    /// Whether a request's host, without its port, matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted.eq_ignore_ascii_case(host),
        }
    }
}

/// What the request's path must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// Begins with this, ending at a `/`: `/api` matches `/api` and `/api/x`, not `/apiary`.
    Prefix(String),
    /// Is this.
    Exact(String),
}

impl PathMatch {
    /// The prefix that every path has.
    #[must_use]
    pub fn any() -> Self {
        Self::Prefix("/".to_owned())
    }

    /// Reads a prefix.
    ///
    /// # Errors
    /// Anything that is not a path.
    pub fn prefix(text: &str) -> Result<Self, RuleError> {
        check_path(text).map(Self::Prefix)
    }

    /// Reads an exact path.
    ///
    /// # Errors
    /// Anything that is not a path.
    pub fn exact(text: &str) -> Result<Self, RuleError> {
        check_path(text).map(Self::Exact)
    }

    /// Whether a request's path, without its query, matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == path,
            Self::Prefix(prefix) => path.strip_prefix(prefix.as_str()).is_some_and(|rest| {
                prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
            }),
        }
    }
}

fn check_path(text: &str) -> Result<String, RuleError> {
    let valid = text.starts_with('/')
        && text.len() <= 1_024
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
    if valid {
        Ok(text.to_owned())
    } else {
        Err(RuleError::Path { text: text.chars().take(80).collect() })
    }
}

/// One line of a listener: a match and the service it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which hosts.
    pub host: HostMatch,
    /// Which paths.
    pub path: PathMatch,
    /// Where matching requests go.
    pub service: ServiceName,
}

impl Rule {
    /// Orders rules from the most to the least specific.
    #[must_use]
    pub fn by_specificity(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.shown().cmp(&other.shown()))
    }

    /// Whether both match exactly the same requests.
    #[must_use]
    pub fn same_match(&self, other: &Self) -> bool {
        self.host == other.host && self.path == other.path
    }

    fn rank(&self) -> (u8, u8, std::cmp::Reverse<usize>) {
        let host = match self.host {
            HostMatch::Exact(_) => 0,
            HostMatch::Any => 1,
        };
        let (kind, length) = match &self.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Prefix(path) => (1, path.len()),
        };
        (host, kind, std::cmp::Reverse(length))
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            HostMatch::Any => "*",
            HostMatch::Exact(host) => host,
        };
        match &self.path {
            PathMatch::Prefix(path) => write!(f, "{host}{path}* -> {}", self.service),
            PathMatch::Exact(path) => write!(f, "{host}{path} -> {}", self.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let check = |prefix: &str, path: &str, expected: bool| {
            let rule = PathMatch::prefix(prefix).expect("valid");
            assert_eq!(rule.matches(path), expected, "{prefix} {path}");
        };
        check("/", "/anything", true);
        check("/api", "/api", true);
        check("/api", "/api/x", true);
        check("/api", "/apiary", false);
        check("/api/", "/api", false);
        check("/api/", "/api/x", true);
    }

    #[test]
    fn a_host_is_compared_without_case() {
        let host = HostMatch::exact("Shop.Example.com").expect("valid");
        assert!(host.matches("shop.example.COM"));
        assert!(!host.matches("example.com"));
        for bad in ["", "http://x", "x/y", "x:80", "a b"] {
            assert!(HostMatch::exact(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_outranks_path_and_exact_outranks_prefix() {
        let rule = |host: Option<&str>, path: PathMatch| Rule {
            host: host.map_or(HostMatch::Any, |h| HostMatch::exact(h).expect("valid")),
            path,
            service: "s".parse().expect("valid"),
        };
        let prefix = |text: &str| PathMatch::prefix(text).expect("valid");
        let exact = |text: &str| PathMatch::exact(text).expect("valid");
        let ordered = [
            rule(Some("a"), exact("/x")),
            rule(Some("a"), prefix("/x/y")),
            rule(Some("a"), prefix("/")),
            rule(None, exact("/x/y/z")),
            rule(None, prefix("/x")),
            rule(None, prefix("/")),
        ];
        let mut shuffled: Vec<_> = ordered.iter().rev().cloned().collect();
        shuffled.sort_by(Rule::by_specificity);
        assert_eq!(shuffled, ordered);
    }
}
