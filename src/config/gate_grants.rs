//! A gate's `grants` and `limits`: what it may use of the world, and how much of the host.

use super::bytes::bytes_between;
use super::listeners::networks;
use super::node::Node;
use crate::core::model::{GateGrants, GateLimits, HttpGrant, MethodName, Span};

/// Reads the grants of a gate.
pub(super) fn grants(node: &Node<'_>) -> GateGrants {
    let mut fields = node.fields();
    let clock = fields.take("clock").and_then(|node| node.flag());
    let random = fields.take("random").and_then(|node| node.flag());
    let http = fields.take("http").map(|node| node.some_items(MAX_HOSTS, "host"));
    fields.finish();
    GateGrants {
        clock: clock.unwrap_or_default(),
        random: random.unwrap_or_default(),
        http: http.unwrap_or_default().iter().filter_map(http_grant).collect(),
    }
}

fn http_grant(node: &Node<'_>) -> Option<HttpGrant> {
    let mut fields = node.fields();
    let host = fields.require("host").and_then(|node| node.parsed());
    let methods = fields.take("methods").map(|node| node.some_items(MAX_METHODS, "method"));
    let addresses = fields.take("addresses").as_ref().map(networks);
    fields.finish();
    let methods = match methods {
        Some(nodes) => nodes.iter().filter_map(Node::parsed::<MethodName>).collect(),
        None => vec!["GET".parse().expect("a method")],
    };
    Some(HttpGrant { host: host?, methods, addresses: addresses.unwrap_or_default() })
}

/// Reads the limits of a gate; what is not said is the default of a gate with these grants.
pub(super) fn limits(node: Option<&Node<'_>>, grants: &GateGrants) -> GateLimits {
    let default = GateLimits::of_grants(grants);
    let Some(node) = node else { return default };
    let mut fields = node.fields();
    let deadline = fields.take("deadline").and_then(|node| deadline(&node));
    let memory = fields.take("memory").and_then(|node| bytes_between(&node, "64KiB", "64MiB"));
    let fuel = fields.take("fuel").and_then(|node| node.count(1..=u32::MAX));
    let table_elements =
        fields.take("table_elements").and_then(|node| node.count(1..=GateLimits::TABLE_ELEMENTS));
    let bytes = |node: Node<'_>, least: &str, most: &str| {
        bytes_between(&node, least, most).and_then(|bytes| u32::try_from(bytes).ok())
    };
    let log = fields.take("log").and_then(|node| bytes(node, "1KiB", "1MiB"));
    let response = fields.take("response").and_then(|node| bytes(node, "1KiB", "16MiB"));
    let http = fields.take("http_response").and_then(|node| bytes(node, "1KiB", "8MiB"));
    let host_calls = fields.take("host_calls").and_then(|node| node.count(1..=MAX_HOST_CALLS));
    let concurrent_calls = fields
        .take("concurrent_calls")
        .and_then(|node| node.count(1..=GateLimits::CONCURRENT_CALLS));
    fields.finish();
    GateLimits {
        deadline: deadline.unwrap_or(default.deadline),
        memory_bytes: memory.unwrap_or(default.memory_bytes),
        fuel: fuel.map(u64::from),
        table_elements: table_elements.unwrap_or(default.table_elements),
        log_bytes: log.unwrap_or(default.log_bytes),
        response_bytes: response.unwrap_or(default.response_bytes),
        http_response_bytes: http.unwrap_or(default.http_response_bytes),
        host_calls: host_calls.unwrap_or(default.host_calls),
        concurrent_calls: concurrent_calls.unwrap_or(default.concurrent_calls),
    }
}

fn deadline(node: &Node<'_>) -> Option<Span> {
    let deadline = node.span_from(Span::from_ms(1))?;
    if deadline > GateLimits::LONGEST_DEADLINE {
        let longest = GateLimits::LONGEST_DEADLINE;
        node.mistake(format!("{deadline} is too long: at most {longest}"));
    }
    Some(deadline)
}

const MAX_HOSTS: usize = 32;
const MAX_METHODS: usize = 16;
const MAX_HOST_CALLS: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    fn read(text: &str) -> ((GateGrants, GateLimits), String) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let mut fields = Node::root(&yaml, &mistakes).fields();
        let grants = fields.take("grants").as_ref().map(grants).unwrap_or_default();
        let limits = limits(fields.take("limits").as_ref(), &grants);
        fields.finish();
        let mistakes = mistakes.into_errors().map(|errors| errors.to_string());
        ((grants, limits), mistakes.unwrap_or_default())
    }

    #[test]
    fn nothing_is_granted_and_limits_are_tight_unless_the_file_says_otherwise() {
        let ((grants, limits), mistakes) = read("{}");
        assert_eq!((grants, limits), (GateGrants::default(), GateLimits::default()));
        assert_eq!(mistakes, "");
        let ((grants, limits), mistakes) =
            read("grants: { clock: true, http: [{ host: a.example }] }");
        assert_eq!(mistakes, "");
        assert!(grants.clock && !grants.random);
        assert_eq!(grants.http[0].methods, ["GET".parse().unwrap()]);
        assert_eq!(limits, GateLimits { deadline: Span::from_secs(5), ..GateLimits::default() });
    }

    #[test]
    fn every_limit_and_grant_can_be_set() {
        let ((grants, limits), mistakes) = read(
            "grants: { random: true, http: [{ host: 'a.example:8443', methods: [GET, POST], addresses: [10.0.0.0/8, '::1'] }] }\n\
             limits: { deadline: 2s, memory: 8MiB, fuel: 1000000, table_elements: 100, log: 2KiB,\n\
             \x20 response: 64KiB, http_response: 1MiB, host_calls: 50, concurrent_calls: 2 }",
        );
        assert_eq!(mistakes, "");
        let http = &grants.http[0];
        assert!(grants.random && http.is_about("a.example", 8_443, 443));
        assert_eq!((http.methods.len(), http.addresses.len()), (2, 2));
        let expected = GateLimits {
            deadline: Span::from_secs(2),
            memory_bytes: 8 << 20,
            fuel: Some(1_000_000),
            table_elements: 100,
            log_bytes: 2 << 10,
            response_bytes: 64 << 10,
            http_response_bytes: 1 << 20,
            host_calls: 50,
            concurrent_calls: 2,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn what_cannot_be_granted_or_had_is_refused_with_its_place() {
        let check = |text: &str, expected: &str| {
            let (_, mistakes) = read(text);
            assert!(mistakes.contains(expected), "{mistakes}\ndoes not contain\n{expected}");
        };
        check("grants: { clok: true }", "grants.clok: unknown key; did you mean `clock`?");
        check("grants: { http: [] }", "grants.http: wanted at least one host");
        check("grants: { http: [{ methods: [GET] }] }", "grants.http[0]: `host` is missing");
        check("grants: { http: [{ host: 'https://a.example' }] }", "is not a host: for example");
        check("grants: { http: [{ host: a.example, methods: [get] }] }", "is not a method");
        check("grants: { http: [{ host: a.example, addresses: [ten] }] }", "is not a network");
        check("limits: { deadline: 11s }", "limits.deadline: 11s is too long: at most 10s");
        check("limits: { memory: 65MiB }", "\"65MiB\" is not between 64KiB and 64MiB");
        check("limits: { fuel: 0 }", "limits.fuel: wanted a whole number from 1");
        check("limits: { concurrent_calls: 9 }", "wanted a whole number from 1 to 8");
        check("limits: { table_elements: 20001 }", "wanted a whole number from 1 to 20000");
    }
}
