//! `listeners`: addresses that accept traffic, and the rules that lead it to services.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::addresses::Addresses;
use super::client_limits::client_limits;
use super::declared::Declared;
use super::fields::Fields;
use super::listener_tls::listener_tls;
use super::node::{Node, shorten};
use super::request_match::request_match;
use super::rule_actions::rule_actions;
use crate::core::model::{
    Destination, ListenerName, ListenerProtocol, ListenerSpec, ListenerTls, RequestMatch, Rule,
    WhenIdle,
};

/// Reads the section.
pub(super) fn listeners(
    node: &Node<'_>,
    declared: &Declared<'_>,
    base_dir: &Path,
    addresses: &mut Addresses,
) -> Vec<ListenerSpec> {
    let items = node.some_items(MAX_LISTENERS, "listener");
    let mut names = BTreeSet::new();
    let read = |item: &Node<'_>| listener(item, declared, base_dir, addresses, &mut names);
    items.iter().filter_map(read).collect()
}

fn listener(
    node: &Node<'_>,
    declared: &Declared<'_>,
    base_dir: &Path,
    addresses: &mut Addresses,
    names: &mut BTreeSet<ListenerName>,
) -> Option<ListenerSpec> {
    let mut fields = node.fields();
    let name = fields.require("name").and_then(|node| {
        let name = node.parsed::<ListenerName>()?;
        if !names.insert(name.clone()) {
            node.mistake(format!("another listener has the name {name}"));
        }
        Some(name)
    });
    let whose = name.as_ref().map_or("a listener".to_owned(), |name| format!("listener {name}"));
    let address = fields.require("address").and_then(|node| addresses.claim(&node, &whose));
    let test = fields.take("test").and_then(|node| node.flag()).unwrap_or(false);
    let when_idle = fields.take("when_idle");
    if let Some(node) = when_idle.as_ref().filter(|_| !test) {
        node.mistake_with_fix("only a test listener is ever idle", "add `test: true`");
    }
    let when_idle = when_idle.and_then(|node| node.word(&WHEN_IDLE)).unwrap_or_default();
    let rules = fields.require("rules").map(|node| rules(&node, declared));
    let (protocol, tls) = protocol_and_tls(&mut fields, base_dir);
    let redirects = |rule: &Rule| rule.to == Destination::RedirectToHttps;
    if tls.is_some() && rules.iter().flatten().any(redirects) {
        node.mistake_with_fix(
            "a rule redirects to https, which this listener speaks itself",
            "redirect on a listener without `tls`",
        );
    }
    let proxy_protocol = fields.take("proxy_protocol").map(|node| networks(&node));
    let trusted_proxies = fields.take("trusted_proxies").map(|node| networks(&node));
    let limits = fields.take("limits").as_ref().map(client_limits);
    fields.finish();
    Some(ListenerSpec {
        name: name?,
        address: address?,
        test: test.then_some(when_idle),
        rules: rules?,
        protocol,
        tls,
        proxy_protocol: proxy_protocol.unwrap_or_default(),
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
    })
}

fn protocol_and_tls(
    fields: &mut Fields<'_>,
    base_dir: &Path,
) -> (ListenerProtocol, Option<ListenerTls>) {
    let node = fields.take("protocol");
    let protocol = node.as_ref().and_then(|node| node.word(&PROTOCOLS)).unwrap_or_default();
    let tls = fields.take("tls");
    if let (ListenerProtocol::H2c, Some(node), Some(_)) = (protocol, &node, &tls) {
        node.mistake_with_fix(
            "`h2c` is HTTP/2 in the clear, and `tls` is here",
            "leave `protocol` out: with TLS, clients choose between HTTP/2 and HTTP/1.1",
        );
    }
    (protocol, tls.and_then(|node| listener_tls(&node, base_dir)))
}

/// Reads a list of networks and single addresses.
pub(super) fn networks(node: &Node<'_>) -> Vec<IpNet> {
    let network = |text: &str| {
        let single = text.parse::<IpAddr>().map(IpNet::from);
        single.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
            let shown = shorten(text);
            format!("{shown:?} is not a network: for example \"10.0.0.0/8\" or \"127.0.0.1\"")
        })
    };
    node.some_items(MAX_NETWORKS, "network").iter().filter_map(|n| n.checked(network)).collect()
}

/// Reads a listener's rules and puts the most specific first.
fn rules(node: &Node<'_>, declared: &Declared<'_>) -> Vec<Rule> {
    let items = node.some_items(MAX_RULES, "rule");
    let mut rules = Vec::new();
    let mut seen: HashMap<RequestMatch, String> = HashMap::new();
    for item in &items {
        let Some(rule) = rule(item, declared) else { continue };
        match seen.get(&rule.matched) {
            Some(other) => item.mistake(format!("matches the same requests as {other}")),
            None => {
                seen.insert(rule.matched.clone(), item.at().to_owned());
                rules.push(rule);
            }
        }
    }
    rules.sort_by(Rule::by_specificity);
    rules
}

fn rule(node: &Node<'_>, declared: &Declared<'_>) -> Option<Rule> {
    let mut fields = node.fields();
    let matched = fields.take("match");
    let matched = matched.as_ref().map_or(Some(RequestMatch::default()), request_match);
    let to = fields.sole(&["service", "redirect"]).and_then(|(key, node)| match key {
        "service" => node.reference(&declared.services).map(Destination::Service),
        _ => node.word(&[("https", ())]).map(|()| Destination::RedirectToHttps),
    });
    let path = matched.as_ref().map(|matched| &matched.path);
    let actions = rule_actions(&mut fields, path, to.as_ref());
    fields.finish();
    Some(Rule { matched: matched?, to: to?, actions: Arc::new(actions) })
}

const PROTOCOLS: [(&str, ListenerProtocol); 2] =
    [("http", ListenerProtocol::Http), ("h2c", ListenerProtocol::H2c)];
const WHEN_IDLE: [(&str, WhenIdle); 2] = [("blue", WhenIdle::Blue), ("refuse", WhenIdle::Refuse)];

/// The most listeners of a configuration.
const MAX_LISTENERS: usize = 100;
/// The most networks of a list.
const MAX_NETWORKS: usize = 1_000;
/// The most rules of a listener.
const MAX_RULES: usize = 1_000;

#[cfg(test)]
pub(super) mod tests {
    use crate::config::tests::{BASE, parse, refuses};
    use crate::core::model::{ListenerProtocol, WhenIdle};

    /// The base with more keys in its listener.
    pub(in crate::config) fn with_listener(keys: &str) -> String {
        let more = format!("rules: [{{ service: shop }}], {keys}");
        BASE.replacen("rules: [{ service: shop }]", &more, 1)
    }

    /// The base with other listeners.
    fn listeners(list: &str) -> String {
        let rest = BASE.split_once('\n').unwrap().1;
        format!("listeners: {list}\n{rest}")
    }

    /// The base with a listener with these rules.
    fn rules(list: &str) -> String {
        listeners(&format!("[{{ name: public, address: '127.0.0.1:0', rules: {list} }}]"))
    }

    #[test]
    fn listeners_have_a_name_and_an_address_of_their_own() {
        let check = |list: &str, expected: &str| refuses(&listeners(list), expected);
        let more = "rules: [{ service: shop }]";
        check("[]", "listeners: wanted at least one listener, found an empty list");
        check("{}", "listeners: wanted a list, found a mapping");
        check(&format!("[{{ name: x, {more} }}]"), "listeners[0]: `address` is missing");
        check(
            &format!("[{{ address: '127.0.0.1:1', {more} }}]"),
            "listeners[0]: `name` is missing",
        );
        check(
            &format!("[{{ name: x, address: localhost, {more} }}]"),
            "listeners[0].address: wanted an IP address and a port",
        );
        check("[{ name: x, address: '127.0.0.1:1' }]", "listeners[0]: `rules` is missing");
        check(
            &format!(
                "[{{ name: x, address: '127.0.0.1:1', {more} }}, {{ name: x, address: '127.0.0.1:2', {more} }}]"
            ),
            "listeners[1].name: another listener has the name x",
        );
        check(
            &format!(
                "[{{ name: x, address: '127.0.0.1:1', {more} }}, {{ name: y, address: '127.0.0.1:1', {more} }}]"
            ),
            "listeners[1].address: 127.0.0.1:1 is taken: listener x listens on 127.0.0.1:1",
        );
        let zeros = format!(
            "[{{ name: x, address: '127.0.0.1:0', {more} }}, {{ name: y, address: '127.0.0.1:0', {more} }}]"
        );
        assert_eq!(parse(&listeners(&zeros)).unwrap().listeners.len(), 2);
    }

    #[test]
    fn only_test_listeners_say_what_happens_when_idle() {
        let check = |keys: &str, expected: Option<WhenIdle>| {
            let list = format!(
                "[{{ name: x, address: '127.0.0.1:1', rules: [{{ service: shop }}]{keys} }}]"
            );
            assert_eq!(parse(&listeners(&list)).unwrap().listeners[0].test, expected);
        };
        check("", None);
        check(", test: false", None);
        check(", test: true", Some(WhenIdle::Blue));
        check(", test: true, when_idle: refuse", Some(WhenIdle::Refuse));
        let idle =
            "[{ name: x, address: '127.0.0.1:1', rules: [{ service: shop }], when_idle: blue }]";
        refuses(
            &listeners(idle),
            "listeners[0].when_idle: only a test listener is ever idle; add `test: true`",
        );
    }

    #[test]
    fn rules_lead_to_declared_services_and_match_different_requests() {
        let check = |list: &str, expected: &str| refuses(&rules(list), expected);
        check("[]", "listeners[0].rules: wanted at least one rule, found an empty list");
        check("[{ match: {} }]", "listeners[0].rules[0]: one of `service`, `redirect` is missing");
        check(
            "[{ service: shop, redirect: https }]",
            "rules[0].redirect: only one of `service`, `redirect` can be here",
        );
        check("[{ redirect: http }]", "rules[0].redirect: found \"http\", wanted one of https");
        check(
            "[{ service: shop }, { match: { path: /x }, service: other }]",
            "listeners[0].rules[1].service: unknown service \"other\"; declared: shop",
        );
        check(
            "[{ service: shop }, { match: { path_prefix: / }, service: shop }]",
            "listeners[0].rules[1]: matches the same requests as listeners[0].rules[0]",
        );
        check(
            "[{ match: { host: A.b }, service: shop }, { match: { host: a.B }, service: shop }]",
            "listeners[0].rules[1]: matches the same requests",
        );
        check(
            "[{ match: { methods: [GET, PUT] }, service: shop }, { match: { methods: [PUT, GET] }, redirect: https }]",
            "listeners[0].rules[1]: matches the same requests",
        );
        check(
            "[{ match: { path: x }, service: shop }]",
            "rules[0].match.path: \"x\" is not a path",
        );
        check(
            "[{ match: { path: /x, path_prefix: / }, service: shop }]",
            "rules[0].match.path: only one of",
        );
        check(
            "[{ match: { host: 'http://x' }, service: shop }]",
            "rules[0].match.host: \"http://x\" is not a host",
        );
        check("[{ match: { method: GET }, service: shop }]", "rules[0].match.method: unknown key");
    }

    #[test]
    fn rules_are_ordered_from_the_most_specific() {
        let text = rules(
            "[{ service: shop }, { match: { path_prefix: /a }, service: shop }, { match: { host: x.y }, service: shop }, { match: { path: /a }, service: shop }, { match: { host: '*.y', methods: [PUT], headers: { X-A: '*' } }, redirect: https }]",
        );
        let shown: Vec<String> =
            parse(&text).unwrap().listeners[0].rules.iter().map(ToString::to_string).collect();
        let expected = [
            "x.y/* -> shop",
            "*.y/* PUT x-a=* -> redirect to https",
            "*/a -> shop",
            "*/a* -> shop",
            "*/* -> shop",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_listener_speaks_one_of_two_protocols() {
        let read = |keys: &str| parse(&with_listener(keys)).expect(keys).listeners[0].protocol;
        assert_eq!(read("test: false"), ListenerProtocol::Http);
        assert_eq!(read("protocol: http"), ListenerProtocol::Http);
        assert_eq!(read("protocol: h2c"), ListenerProtocol::H2c);
        refuses(
            &with_listener("protocol: h2"),
            "listeners[0].protocol: found \"h2\", wanted one of http, h2c",
        );
        let authority = crate::tls::testkit::Authority::new();
        let files = authority.signs("shop", &["shop.test"]);
        let tls = format!(
            "tls: {{ certificates: [{{ certificate: '{}', key: '{}' }}] }}",
            files.certificate.display(),
            files.key.display()
        );
        refuses(
            &with_listener(&format!("protocol: h2c, {tls}")),
            "listeners[0].protocol: `h2c` is HTTP/2 in the clear, and `tls` is here; leave `protocol` out",
        );
        let redirects = with_listener(&tls).replacen("{ service: shop }", "{ redirect: https }", 1);
        refuses(&redirects, "listeners[0]: a rule redirects to https, which this listener speaks");
    }

    #[test]
    fn networks_are_addresses_or_ranges_of_them() {
        let list = "[127.0.0.1, 10.0.0.0/8, '::1', '2001:db8::/32']";
        let text = with_listener(&format!("proxy_protocol: {list}, trusted_proxies: {list}"));
        let listener = parse(&text).expect("valid").listeners.remove(0);
        let shown: Vec<String> = listener.proxy_protocol.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1/32", "10.0.0.0/8", "::1/128", "2001:db8::/32"]);
        assert_eq!(listener.proxy_protocol, listener.trusted_proxies);
        for key in ["proxy_protocol", "trusted_proxies"] {
            let check = |list: &str, expected: &str| {
                let text = with_listener(&format!("{key}: {list}"));
                refuses(&text, &format!("line 1: listeners[0].{key}{expected}"));
            };
            check("[]", ": wanted at least one network, found an empty list");
            check("true", ": wanted a list, found true");
            check("[127.0.0.1, localhost]", "[1]: \"localhost\" is not a network: for example");
            check("['10.0.0.0/33']", "[0]: \"10.0.0.0/33\" is not a network");
            check("['127.0.0.1:80']", "[0]: \"127.0.0.1:80\" is not a network");
            check("[10]", "[0]: wanted a text, found the number 10");
        }
    }
}
