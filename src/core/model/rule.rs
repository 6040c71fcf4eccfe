//! Rules: which requests of a listener lead to which service.
//!
//! The most specific rule wins, whatever the order in the file: first an exact host over a
//! wildcard (the longer one first) over none, then an exact path over a longer prefix over a
//! shorter one, then a rule with methods over one without, then more header fields over fewer, and
//! last the text that shows the rule. A request that a rule's method or fields do not match goes
//! on to the next. Two rules of one listener that match exactly the same requests are a mistake
//! and are refused.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{RequestMatch, RuleActions, ServiceName};

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
    /// Not a wildcard.
    #[error("{text:?} is not a wildcard: `*.` and a host name, such as \"*.example.com\"")]
    Wildcard {
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
    /// One or more labels before this, which begins with a dot; held in lower case.
    Below(String),
}

impl HostMatch {
    /// Reads an exact host, or a wildcard: `*.example.com` is every name below `example.com`, and
    /// not `example.com` itself.
    ///
    /// # Errors
    /// Anything that is neither.
    pub fn pattern(text: &str) -> Result<Self, RuleError> {
        if !text.contains('*') {
            return Self::exact(text);
        }
        let valid = |base: &&str| {
            let is_name = !base.starts_with('.') && !base.contains(['[', ':']);
            is_name && Self::exact(base).is_ok()
        };
        match text.strip_prefix("*.").filter(valid) {
            Some(base) => Ok(Self::Below(format!(".{}", base.to_ascii_lowercase()))),
            None => Err(RuleError::Wildcard { text: text.chars().take(80).collect() }),
        }
    }

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
            Self::Below(suffix) => {
                let split = host.len().checked_sub(suffix.len());
                let parts = split.and_then(|at| host.as_bytes().split_at_checked(at));
                parts.is_some_and(|(labels, end)| {
                    let dot = |label: Option<&u8>| label == Some(&b'.');
                    !labels.is_empty()
                        && !dot(labels.first())
                        && !dot(labels.last())
                        && end.eq_ignore_ascii_case(suffix.as_bytes())
                })
            }
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

    /// The path that is wanted, or its beginning.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
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

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// To a service.
    Service(ServiceName),
    /// Back to the client, which is told to come again over TLS.
    RedirectToHttps,
}

/// One line of a listener: a match, where it leads, and what is done on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which requests.
    pub matched: RequestMatch,
    /// Where matching requests go.
    pub to: Destination,
    /// What is done to them and to their answers; nothing on a redirect.
    #[serde(default)]
    pub actions: Arc<RuleActions>,
}

impl Rule {
    /// A rule that leads to a service and changes nothing.
    #[must_use]
    pub fn to_service(matched: RequestMatch, service: ServiceName) -> Self {
        Self { matched, to: Destination::Service(service), actions: Arc::default() }
    }

    /// Orders rules from the most to the least specific.
    #[must_use]
    pub fn by_specificity(&self, other: &Self) -> Ordering {
        let by_match = self.matched.by_specificity(&other.matched);
        by_match.then_with(|| self.to_string().cmp(&other.to_string()))
    }

    /// Whether both match exactly the same requests.
    #[must_use]
    pub fn same_match(&self, other: &Self) -> bool {
        self.matched == other.matched
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matched = &self.matched;
        match &self.to {
            Destination::Service(service) => write!(f, "{matched} -> {service}"),
            Destination::RedirectToHttps => write!(f, "{matched} -> redirect to https"),
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
    fn a_wildcard_is_every_name_below_and_not_the_name_itself() {
        let host = HostMatch::pattern("*.Example.com").expect("valid");
        for below in ["shop.example.com", "SHOP.EXAMPLE.COM", "a.b.example.com"] {
            assert!(host.matches(below), "{below}");
        }
        for other in [
            "",
            "example.com",
            ".example.com",
            "..example.com",
            "a..example.com",
            "badexample.com",
            "shop.example.com.evil.test",
        ] {
            assert!(!host.matches(other), "{other}");
        }
        assert_eq!(HostMatch::pattern("a.test"), HostMatch::exact("a.test"));
        for bad in ["*", "*.", "*..test", "a.*.test", "*a.test", "*.*.test", "*.[::1]", "*.a:80"] {
            let error = HostMatch::pattern(bad).expect_err(bad);
            assert_eq!(error, RuleError::Wildcard { text: bad.to_owned() });
        }
        assert!(HostMatch::exact("*.a.test").is_err());
    }

    #[test]
    fn host_outranks_path_and_exact_outranks_prefix() {
        let rule = |host: Option<&str>, path: PathMatch| {
            let host = host.map_or(HostMatch::Any, |h| HostMatch::exact(h).expect("valid"));
            let matched = RequestMatch { host, path, ..RequestMatch::default() };
            Rule::to_service(matched, "s".parse().expect("valid"))
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
