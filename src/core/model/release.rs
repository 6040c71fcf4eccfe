//! What a release treats apart of a service's traffic: who sees green without being drawn, and
//! what is no evidence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CookieName, FieldName, PathMatch, RequestFields, RuleError, Wanted};

/// The traffic of a service that a release treats apart; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseTraffic {
    /// The requests that green answers while it exists.
    pub green_for: GreenFor,
    /// The paths whose requests are no evidence.
    pub excluded: Vec<PathMatch>,
}

impl ReleaseTraffic {
    /// Reads a path whose requests are no evidence: a prefix if it ends in `/`, else exactly it.
    ///
    /// # Errors
    /// Anything that is not a path.
    pub fn exclusion(text: &str) -> Result<PathMatch, RuleError> {
        if text.ends_with('/') { PathMatch::prefix(text) } else { PathMatch::exact(text) }
    }

    /// Whether the requests of a path, without its query, are no evidence.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        self.excluded.iter().any(|excluded| excluded.matches(path))
    }
}

/// The requests that green answers while it exists: those that match any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreenFor {
    /// Header fields.
    pub headers: BTreeMap<FieldName, Wanted>,
    /// Cookies.
    pub cookies: BTreeMap<CookieName, Wanted>,
}

impl GreenFor {
    /// Whether a request matches any condition; allocates nothing.
    #[must_use]
    pub fn matches(&self, fields: &impl RequestFields) -> bool {
        self.headers.iter().any(|(name, wanted)| fields.has_header(name.as_str(), wanted.value()))
            || self
                .cookies
                .iter()
                .any(|(name, wanted)| fields.has_cookie(name.as_str(), wanted.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excluded_path_is_itself_or_everything_below_a_slash() {
        let excluded =
            ["/healthz", "/static/"].map(|path| ReleaseTraffic::exclusion(path).expect("a path"));
        let release = ReleaseTraffic { excluded: excluded.to_vec(), ..ReleaseTraffic::default() };
        for path in ["/healthz", "/static/", "/static/a/b.css"] {
            assert!(release.excludes(path), "{path}");
        }
        for path in ["/", "/healthz/deep", "/healthzz", "/static", "/x/static/"] {
            assert!(!release.excludes(path), "{path}");
        }
        assert!(!ReleaseTraffic::default().excludes("/"));
        assert!(ReleaseTraffic::exclusion("healthz").is_err());
    }
}
