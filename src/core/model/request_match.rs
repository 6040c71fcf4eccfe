//! What a rule wants of a request: host, path, method and header fields, all of them at once.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FieldName, HostMatch, MethodName, PathMatch, RequestFields, Wanted};

/// What a rule wants of a request; the default wants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestMatch {
    /// Which hosts.
    pub host: HostMatch,
    /// Which paths.
    pub path: PathMatch,
    /// Which methods; empty wants none in particular.
    #[serde(default)]
    pub methods: BTreeSet<MethodName>,
    /// Which header fields, every one of them.
    #[serde(default)]
    pub headers: BTreeMap<FieldName, Wanted>,
}

impl Default for RequestMatch {
    fn default() -> Self {
        Self {
            host: HostMatch::Any,
            path: PathMatch::any(),
            methods: BTreeSet::new(),
            headers: BTreeMap::new(),
        }
    }
}

impl RequestMatch {
    /// Whether a request matches; `host` is without its port and empty if there is none, `path`
    /// without its query. Allocates nothing.
    #[must_use]
    pub fn matches(
        &self,
        host: &str,
        path: &str,
        method: &str,
        fields: &impl RequestFields,
    ) -> bool {
        self.host.matches(host)
            && self.path.matches(path)
            && (self.methods.is_empty() || self.methods.iter().any(|m| m.as_str() == method))
            && self
                .headers
                .iter()
                .all(|(name, wanted)| fields.has_header(name.as_str(), wanted.value()))
    }

    /// Orders from the most to the least specific; equal for some that differ.
    #[must_use]
    pub fn by_specificity(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }

    /// The order that [`super::Rule`] explains; the lowest comes first.
    fn rank(&self) -> (u8, Reverse<usize>, u8, Reverse<usize>, bool, Reverse<usize>) {
        let (host, suffix) = match &self.host {
            HostMatch::Exact(_) => (0, 0),
            HostMatch::Below(suffix) => (1, suffix.len()),
            HostMatch::Any => (2, 0),
        };
        let (path, length) = match &self.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Prefix(path) => (1, path.len()),
        };
        let headers = Reverse(self.headers.len());
        (host, Reverse(suffix), path, Reverse(length), self.methods.is_empty(), headers)
    }
}

impl fmt::Display for RequestMatch {
    /// `host/path`, behind it methods and header fields where they matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostMatch::Any => f.write_str("*")?,
            HostMatch::Below(suffix) => write!(f, "*{suffix}")?,
            HostMatch::Exact(host) => f.write_str(host)?,
        }
        match &self.path {
            PathMatch::Prefix(path) => write!(f, "{path}*")?,
            PathMatch::Exact(path) => f.write_str(path)?,
        }
        for (at, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if at == 0 { " " } else { "," })?;
        }
        for (name, wanted) in &self.headers {
            write!(f, " {name}={wanted}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a request.
    struct Fields(&'static [(&'static str, &'static str)]);

    impl RequestFields for Fields {
        fn has_header(&self, name: &str, value: Option<&[u8]>) -> bool {
            let same = |found: &str| value.is_none_or(|wanted| found.as_bytes() == wanted);
            self.0.iter().any(|(found, text)| *found == name && same(text))
        }

        fn has_cookie(&self, _: &str, _: Option<&[u8]>) -> bool {
            false
        }
    }

    fn wanting(methods: &[&str], headers: &[(&str, &str)]) -> RequestMatch {
        RequestMatch {
            methods: methods.iter().map(|m| m.parse().expect("valid")).collect(),
            headers: headers
                .iter()
                .map(|(name, value)| {
                    (name.parse().expect("valid"), Wanted::of_header(value).expect("valid"))
                })
                .collect(),
            ..RequestMatch::default()
        }
    }

    #[test]
    fn every_part_must_match() {
        let check = |wanted: &RequestMatch, method: &str, fields: &'static [_], expected: bool| {
            let found = wanted.matches("shop.test", "/", method, &Fields(fields));
            assert_eq!(found, expected, "{wanted} {method} {fields:?}");
        };
        let any = RequestMatch::default();
        check(&any, "GET", &[], true);
        let methods = wanting(&["GET", "POST"], &[]);
        check(&methods, "GET", &[], true);
        check(&methods, "POST", &[], true);
        check(&methods, "HEAD", &[], false);
        check(&methods, "get", &[], false);
        let gold = wanting(&[], &[("x-tenant", "gold"), ("x-test", "*")]);
        check(&gold, "GET", &[("x-tenant", "gold"), ("x-test", "")], true);
        check(&gold, "GET", &[("x-tenant", "gold")], false);
        check(&gold, "GET", &[("x-tenant", "golden"), ("x-test", "1")], false);
        check(&gold, "GET", &[("x-tenant", "GOLD"), ("x-test", "1")], false);
    }

    #[test]
    fn host_path_method_and_headers_count_in_this_order() {
        let host = |text: &str| HostMatch::pattern(text).expect("valid");
        let prefix = |text: &str| PathMatch::prefix(text).expect("valid");
        let many: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
        let ordered = [
            RequestMatch { host: host("a.b.test"), ..RequestMatch::default() },
            RequestMatch {
                host: host("*.b.test"),
                path: PathMatch::exact("/x").expect("valid"),
                ..RequestMatch::default()
            },
            RequestMatch { host: host("*.b.test"), ..wanting(&["GET"], many) },
            RequestMatch {
                host: host("*.test"),
                path: prefix("/long/prefix"),
                ..RequestMatch::default()
            },
            RequestMatch { path: prefix("/long"), ..RequestMatch::default() },
            wanting(&["GET"], many),
            wanting(&["GET"], &[("a", "1")]),
            wanting(&["GET"], &[]),
            wanting(&[], many),
            wanting(&[], &[("a", "1")]),
            RequestMatch::default(),
        ];
        let mut shuffled: Vec<_> = ordered.iter().rev().cloned().collect();
        shuffled.sort_by(RequestMatch::by_specificity);
        assert_eq!(shuffled, ordered);
    }

    #[test]
    fn what_is_wanted_is_shown_in_one_line() {
        let check = |wanted: &RequestMatch, expected: &str| {
            assert_eq!(wanted.to_string(), expected);
        };
        check(&RequestMatch::default(), "*/*");
        let host = HostMatch::pattern("*.Example.com").expect("valid");
        let wanted = RequestMatch { host, ..wanting(&["POST", "GET"], &[("X-Tenant", "gold")]) };
        check(&wanted, "*.example.com/* GET,POST x-tenant=gold");
    }
}
