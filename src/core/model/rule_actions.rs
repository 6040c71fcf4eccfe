//! What a rule does to the requests that it leads to a service, and to their answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{EditableField, FieldValue};

/// What a rule does to requests and answers; the default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleActions {
    /// The beginning of the path that targets do not see; `None` leaves paths as they are.
    pub strip_prefix: Option<String>,
    /// The `Host` that targets see.
    pub host: HostPolicy,
    /// What becomes of the fields of requests.
    pub request_headers: HeaderEdits,
    /// What becomes of the fields of targets' answers.
    pub response_headers: HeaderEdits,
}

impl RuleActions {
    /// A request's path and query without the prefix that is to be stripped; it always begins with
    /// `/`. `None` leaves it as it is.
    #[must_use]
    pub fn stripped(&self, target: &[u8]) -> Option<Vec<u8>> {
        let prefix = self.strip_prefix.as_ref()?;
        let rest = target.strip_prefix(prefix.as_bytes())?;
        let whole = |rest: &[u8]| [&b"/"[..], rest].concat();
        match rest.first() {
            Some(b'/') => Some(rest.to_vec()),
            Some(b'?') | None => Some(whole(rest)),
            Some(_) => prefix.ends_with('/').then(|| whole(rest)),
        }
    }
}

/// The `Host` that targets see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPolicy {
    /// The client's.
    #[default]
    Preserve,
    /// The address of the target that is tried.
    Target,
    /// This one, with or without a port.
    Literal(String),
}

/// Header fields that are removed, and fields that are set, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderEdits {
    /// Fields that are there once with this value afterwards.
    pub set: BTreeMap<EditableField, FieldValue>,
    /// Fields that are not there afterwards.
    pub remove: BTreeSet<EditableField>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_path_begins_with_a_slash_and_keeps_its_query() {
        let check = |prefix: &str, target: &[u8], expected: Option<&[u8]>| {
            let actions =
                RuleActions { strip_prefix: Some(prefix.to_owned()), ..RuleActions::default() };
            assert_eq!(actions.stripped(target).as_deref(), expected, "{prefix} {target:?}");
        };
        check("/api", b"/api", Some(b"/"));
        check("/api", b"/api/", Some(b"/"));
        check("/api", b"/api/x?y=/api", Some(b"/x?y=/api"));
        check("/api", b"/api?x", Some(b"/?x"));
        check("/api", b"/api/\xff", Some(b"/\xff"));
        check("/api", b"/apiary", None);
        check("/api", b"*", None);
        check("/api/", b"/api/x", Some(b"/x"));
        check("/api/", b"/api/", Some(b"/"));
        assert_eq!(RuleActions::default().stripped(b"/api"), None);
    }
}
