//! `match`: which requests a rule takes.

use std::collections::BTreeSet;

use super::node::Node;
use super::wanted::wanted;
use crate::core::model::{HostMatch, MethodName, PathMatch, RequestMatch, Wanted};

/// Reads the section; `None` if there is a mistake in it.
pub(super) fn request_match(node: &Node<'_>) -> Option<RequestMatch> {
    let mut fields = node.fields();
    let host =
        fields.take("host").map_or(Some(HostMatch::Any), |node| node.checked(HostMatch::pattern));
    let prefix = fields.take("path_prefix");
    let exact = fields.take("path");
    let methods = fields.take("methods").map_or(Some(BTreeSet::new()), |node| methods(&node));
    let headers = fields.take("headers").map(|node| wanted(&node, Wanted::of_header));
    fields.finish();
    let path = match (prefix, exact) {
        (None, None) => Some(PathMatch::any()),
        (Some(prefix), None) => prefix.checked(PathMatch::prefix),
        (None, Some(exact)) => exact.checked(PathMatch::exact),
        (Some(_), Some(exact)) => {
            exact.mistake("only one of `path_prefix`, `path` can be here");
            None
        }
    };
    let headers = headers.unwrap_or_else(|| Some(Default::default()));
    Some(RequestMatch { host: host?, path: path?, methods: methods?, headers: headers? })
}

fn methods(node: &Node<'_>) -> Option<BTreeSet<MethodName>> {
    let mut methods = BTreeSet::new();
    let mut whole = true;
    for item in node.some_items(MAX_METHODS, "method") {
        match item.parsed::<MethodName>() {
            Some(method) if methods.contains(&method) => {
                item.mistake(format!("method {method} is listed twice"));
                whole = false;
            }
            Some(method) => {
                methods.insert(method);
            }
            None => whole = false,
        }
    }
    (whole && !methods.is_empty()).then_some(methods)
}

/// The most methods of a rule.
const MAX_METHODS: usize = 32;

#[cfg(test)]
mod tests {
    use crate::config::tests::{BASE, parse, refuses};
    use crate::core::model::HostMatch;

    /// The base with a rule with this match.
    fn matching(text: &str) -> String {
        BASE.replace("{ service: shop }", &format!("{{ match: {text}, service: shop }}"))
    }

    #[test]
    fn hosts_methods_and_headers_are_read() {
        let check = |text: &str, expected: &str| {
            let config = parse(&matching(text)).unwrap();
            assert_eq!(config.listeners[0].rules[0].matched.to_string(), expected);
        };
        check("{}", "*/*");
        check("{ host: '*.Example.com' }", "*.example.com/*");
        check("{ methods: [POST, GET] }", "*/* GET,POST");
        check("{ path: /x, headers: { X-Tenant: gold, a: '*' } }", "*/x a=* x-tenant=gold");
        let config = parse(&matching("{ host: '*.a.test' }")).unwrap();
        let expected = HostMatch::Below(".a.test".to_owned());
        assert_eq!(config.listeners[0].rules[0].matched.host, expected);
    }

    #[test]
    fn what_no_request_could_match_is_refused() {
        let check = |text: &str, expected: &str| {
            refuses(&matching(text), &format!("line 1: listeners[0].rules[0].match.{expected}"));
        };
        check("{ host: '*' }", "host: \"*\" is not a wildcard: `*.` and a host name");
        check("{ host: 'a.*.b' }", "host: \"a.*.b\" is not a wildcard");
        check("{ methods: [] }", "methods: wanted at least one method, found an empty list");
        check("{ methods: GET }", "methods: wanted a list, found the text \"GET\"");
        check("{ methods: [get] }", "methods[0]: \"get\" is not a method");
        check("{ methods: [GET, GET] }", "methods[1]: method GET is listed twice");
        check("{ headers: {} }", "headers: wanted at least one name, found an empty mapping");
        check("{ headers: [a] }", "headers: wanted a mapping, found a list");
        check("{ headers: { 'a b': x } }", "headers.\"a b\": \"a b\" is not the name of a header");
        check("{ headers: { a: 1 } }", "headers.a: wanted a text, found the number 1");
        check("{ headers: { a: ' x' } }", "headers.a: \" x\" is not a value");
        check("{ headers: { A: x, a: y } }", "headers.a: is here twice");
        check("{ header: { a: x } }", "header: unknown key; did you mean `headers`?");
    }
}
