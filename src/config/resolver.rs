//! `resolver`: how DNS is asked.

use std::net::{IpAddr, SocketAddr};

use super::node::Node;
use crate::core::model::{ResolverSpec, Span};

/// Reads the section; without one the system's nameservers are asked.
pub(super) fn resolver(node: Option<&Node<'_>>) -> ResolverSpec {
    let default = ResolverSpec::default();
    let Some(node) = node else { return default };
    let mut fields = node.fields();
    let nameservers = fields.take("nameservers");
    let timeout = fields.take("timeout");
    fields.finish();
    let nameservers = nameservers.map(|node| node.some_items(MAX_NAMESERVERS, "nameserver"));
    ResolverSpec {
        nameservers: nameservers.unwrap_or_default().iter().filter_map(nameserver).collect(),
        timeout: timeout.as_ref().and_then(timeout_of).unwrap_or(default.timeout),
    }
}

fn nameserver(node: &Node<'_>) -> Option<SocketAddr> {
    let text = node.text()?;
    let ip = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    let address = ip.ok().or_else(|| text.parse().ok()).filter(|address| address.port() != 0);
    address.or_else(|| node.wanted("an IP address, or one and a port such as \"127.0.0.1:53\""))
}

fn timeout_of(node: &Node<'_>) -> Option<Span> {
    let span = node.span_from(SHORTEST)?;
    if span > LONGEST {
        node.mistake(format!("{span} is too long: at most {LONGEST}"));
        return None;
    }
    Some(span)
}

const DNS_PORT: u16 = 53;
const MAX_NAMESERVERS: usize = 8;
const SHORTEST: Span = Span::from_ms(100);
const LONGEST: Span = Span::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{BASE, parse, refuses, with};

    #[test]
    fn nameservers_are_addresses_and_a_lookup_is_bounded() {
        assert_eq!(parse(BASE).unwrap().resolver, ResolverSpec::default());
        let text = with("resolver: { nameservers: [10.0.0.53, '127.0.0.1:5353'], timeout: 500ms }");
        let expected = ResolverSpec {
            nameservers: ["10.0.0.53:53", "127.0.0.1:5353"].map(|a| a.parse().unwrap()).to_vec(),
            timeout: Span::from_ms(500),
        };
        assert_eq!(parse(&text).unwrap().resolver, expected);
        let check = |section: &str, expected: &str| {
            refuses(&with(&format!("resolver: {section}")), &format!("line 4: resolver{expected}"));
        };
        check("{ nameservers: [ns.internal] }", ".nameservers[0]: wanted an IP address");
        check("{ nameservers: ['127.0.0.1:0'] }", ".nameservers[0]: wanted an IP address");
        check("{ nameservers: [] }", ".nameservers: wanted at least one nameserver");
        check("{ timeout: 1ms }", ".timeout: 1ms is too short: at least 100ms");
        check("{ timeout: 1h }", ".timeout: 1h is too long: at most 1m");
        check("{ nameserver: [] }", ".nameserver: unknown key; did you mean `nameservers`?");
        check("[]", ": wanted a mapping, found a list");
    }
}
