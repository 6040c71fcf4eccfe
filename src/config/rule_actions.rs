//! What a rule does on the way to a service: prefix, host, header fields.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::Fields;
use super::health_check::host_header;
use super::nearest::nearest;
use super::node::{Node, shorten};
use crate::core::model::{
    Destination, EditableField, FieldValue, HeaderEdits, HostPolicy, PathMatch, RuleActions,
};

/// Takes the actions out of a rule's keys; `path` and `to` are `None` if there is a mistake there.
pub(super) fn rule_actions(
    fields: &mut Fields<'_>,
    path: Option<&PathMatch>,
    to: Option<&Destination>,
) -> RuleActions {
    let strip = fields.take("strip_prefix");
    let host = fields.take("host");
    let request = fields.take("request_headers");
    let response = fields.take("response_headers");
    if to == Some(&Destination::RedirectToHttps) {
        for node in [strip, host, request, response].iter().flatten() {
            node.mistake_with_fix("a redirect reaches no target", "leave the key out");
        }
        return RuleActions::default();
    }
    RuleActions {
        strip_prefix: strip.and_then(|node| strip_prefix(&node, path)),
        host: host.and_then(|node| host_policy(&node)).unwrap_or_default(),
        request_headers: request.map(|node| header_edits(&node)).unwrap_or_default(),
        response_headers: response.map(|node| header_edits(&node)).unwrap_or_default(),
    }
}

fn strip_prefix(node: &Node<'_>, path: Option<&PathMatch>) -> Option<String> {
    let prefix = node.checked(PathMatch::prefix)?;
    if prefix == PathMatch::any() {
        node.mistake_with_fix("strips nothing", "leave the key out");
        return None;
    }
    if let Some(path) = path.filter(|path| !prefix.matches(path.as_str())) {
        let (prefix, path) = (prefix.as_str(), path.as_str());
        node.mistake(format!("{prefix:?} is not the beginning of the rule's path {path:?}"));
        return None;
    }
    Some(prefix.as_str().to_owned())
}

fn host_policy(node: &Node<'_>) -> Option<HostPolicy> {
    let text = node.text()?;
    if let Some((_, policy)) = HOSTS.iter().find(|(word, _)| *word == text) {
        return Some(policy.clone());
    }
    if let Some(near) = nearest(text, HOSTS.iter().map(|(word, _)| *word)) {
        let found = shorten(text);
        node.mistake_with_fix(
            format!("found {found:?}, wanted preserve, target or a host name"),
            format!("did you mean {near:?}?"),
        );
        return None;
    }
    node.checked(host_header).map(HostPolicy::Literal)
}

fn header_edits(node: &Node<'_>) -> HeaderEdits {
    let mut seen = BTreeSet::new();
    let mut once = |name: &EditableField, node: &Node<'_>| {
        if !seen.insert(name.clone()) {
            node.mistake(format!("{name} is here twice"));
        }
    };
    let mut fields = node.fields();
    let mut set = BTreeMap::new();
    if let Some(node) = fields.take("set") {
        set = node.named(MAX_EDITS, |name: Option<EditableField>, item| {
            if let Some(name) = &name {
                once(name, item);
            }
            item.parsed::<FieldValue>()
        });
    }
    let mut remove = BTreeSet::new();
    if let Some(node) = fields.take("remove") {
        for item in node.items(MAX_EDITS) {
            if let Some(name) = item.parsed::<EditableField>() {
                once(&name, &item);
                remove.insert(name);
            }
        }
    }
    fields.finish();
    HeaderEdits { set, remove }
}

const HOSTS: [(&str, HostPolicy); 2] =
    [("preserve", HostPolicy::Preserve), ("target", HostPolicy::Target)];
/// The most fields that a rule sets or removes, of requests and of answers each.
const MAX_EDITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{BASE, parse, refuses};

    /// The base with more keys in its rule.
    fn with_keys(keys: &str) -> String {
        BASE.replace("{ service: shop }", &format!("{{ {keys} }}"))
    }

    fn read(keys: &str) -> RuleActions {
        let config = parse(&with_keys(keys)).unwrap();
        RuleActions::clone(&config.listeners[0].rules[0].actions)
    }

    #[test]
    fn actions_are_read_and_default_to_none() {
        assert_eq!(read("service: shop"), RuleActions::default());
        let found = read(
            "service: shop, match: { path_prefix: /api/v1 }, strip_prefix: /api, host: target, request_headers: { set: { X-A: b }, remove: [Authorization] }, response_headers: { remove: [server] }",
        );
        assert_eq!(found.strip_prefix.as_deref(), Some("/api"));
        assert_eq!(found.host, HostPolicy::Target);
        let field = |name: &str| name.parse::<EditableField>().unwrap();
        let set = BTreeMap::from([(field("x-a"), "b".parse::<FieldValue>().unwrap())]);
        let remove = BTreeSet::from([field("authorization")]);
        assert_eq!(found.request_headers, HeaderEdits { set, remove });
        assert_eq!(found.response_headers.remove, BTreeSet::from([field("server")]));
        let literal = |text: &str| HostPolicy::Literal(text.to_owned());
        assert_eq!(read("service: shop, host: shop.internal").host, literal("shop.internal"));
        assert_eq!(read("service: shop, host: 'backend:8080'").host, literal("backend:8080"));
        assert_eq!(read("service: shop, host: preserve").host, HostPolicy::Preserve);
    }

    #[test]
    fn what_is_no_action_is_refused() {
        let check = |keys: &str, expected: &str| {
            let text = with_keys(&format!("service: shop, {keys}"));
            refuses(&text, &format!("line 1: listeners[0].rules[0].{expected}"));
        };
        check("strip_prefix: api", "strip_prefix: \"api\" is not a path");
        check("strip_prefix: /", "strip_prefix: strips nothing; leave the key out");
        check(
            "strip_prefix: /api",
            "strip_prefix: \"/api\" is not the beginning of the rule's path \"/\"",
        );
        check(
            "match: { path_prefix: /apiary }, strip_prefix: /api",
            "strip_prefix: \"/api\" is not the beginning of the rule's path \"/apiary\"",
        );
        check("host: targe", "host: found \"targe\", wanted preserve, target or a host name");
        check("host: 'a b'", "host: \"a b\" is not a host");
        check(
            "request_headers: { set: { Host: a } }",
            "request_headers.set.Host: host is not for rules to change",
        );
        check(
            "request_headers: { remove: [X-Forwarded-For] }",
            "request_headers.remove[0]: x-forwarded-for is not for rules to change",
        );
        check(
            "response_headers: { set: { transfer_encoding: chunked } }",
            "response_headers.set.transfer_encoding: transfer_encoding is not for rules to change",
        );
        check(
            "response_headers: { set: { x-tidegate-side: green } }",
            "response_headers.set.x-tidegate-side: x-tidegate-side is not for rules to change",
        );
        check(
            "response_headers: { set: { a: \"b\\r\\nc: d\" } }",
            "response_headers.set.a: \"b\\r\\nc: d\" is not a value",
        );
        check(
            "response_headers: { set: { A: b }, remove: [a] }",
            "response_headers.remove[0]: a is here twice",
        );
        check("response_headers: { add: {} }", "response_headers.add: unknown key");
    }

    #[test]
    fn a_redirect_has_no_actions() {
        refuses(
            &with_keys("redirect: https, host: target"),
            "listeners[0].rules[0].host: a redirect reaches no target; leave the key out",
        );
        assert_eq!(read("redirect: https"), RuleActions::default());
    }
}
