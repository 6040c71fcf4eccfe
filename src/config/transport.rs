//! `protocol`, `tls` and `trailers` of a target group: how its targets are spoken to.

use std::path::Path;

use super::fields::Fields;
use super::file_path;
use super::listener_tls::certificate_files;
use super::node::Node;
use crate::core::model::{
    ClientIdentity, HostMatch, TargetProtocol, TargetTls, TrailerPolicy, Transport, Verify,
};
use crate::tls::{Identity, read_authorities};

/// Takes a group's entries that are about its transport.
pub(super) fn transport(fields: &mut Fields<'_>, base_dir: &Path) -> Transport {
    let protocol_node = fields.take("protocol");
    let protocol = protocol_node.as_ref().and_then(|node| node.word(&PROTOCOLS));
    let protocol = protocol.unwrap_or_default();
    let tls_node = fields.take("tls");
    let tls = tls_node.as_ref().map(|node| target_tls(node, base_dir));
    match (protocol, &protocol_node, &tls_node) {
        (TargetProtocol::H2c, Some(node), Some(_)) => node.mistake_with_fix(
            "`h2c` is HTTP/2 in the clear, and `tls` is here",
            "write `protocol: h2`, or leave `tls` out",
        ),
        (TargetProtocol::H2, Some(node), None) => node.mistake_with_fix(
            "`h2` is HTTP/2 over TLS, and `tls` is missing",
            "add `tls: {}`, or write `protocol: h2c`",
        ),
        _ => {}
    }
    let trailers_node = fields.take("trailers");
    let trailers = trailers_node.as_ref().and_then(|node| node.word(&TRAILERS));
    Transport { protocol, tls, trailers: trailers.unwrap_or_default() }
}

/// Reads the section, and the files that it names.
pub(super) fn target_tls(node: &Node<'_>, base_dir: &Path) -> TargetTls {
    let mut fields = node.fields();
    let server_name = fields.take("server_name").and_then(|node| {
        node.checked(HostMatch::exact)?;
        Some(node.text()?.to_ascii_lowercase())
    });
    let verify = fields.take("verify").and_then(|node| node.flag()).unwrap_or(true);
    let ca = fields.take("ca");
    if let (false, Some(ca)) = (verify, &ca) {
        ca.mistake_with_fix(
            "nothing is verified, so no authority is asked",
            "leave one of them out",
        );
    }
    let authorities = ca.and_then(|node| {
        let path = file_path(&node, base_dir)?;
        let read = read_authorities(&path).map_err(|error| node.mistake(error.to_string())).ok()?;
        Some(read.iter().map(|der| der.to_vec()).collect())
    });
    let identity = fields.take("client_certificate").and_then(|node| {
        let files = certificate_files(&node, base_dir)?;
        let identity = Identity::load(&files);
        let identity = identity.map_err(|error| node.mistake(error.to_string())).ok()?;
        Some(ClientIdentity {
            chain: identity.chain().iter().map(|der| der.to_vec()).collect(),
            key: identity.key_der().into(),
        })
    });
    fields.finish();
    let verify = if verify { Verify::Full } else { Verify::Nothing };
    TargetTls { server_name, verify, authorities, identity }
}

const PROTOCOLS: [(&str, TargetProtocol); 3] =
    [("http1", TargetProtocol::Http1), ("h2c", TargetProtocol::H2c), ("h2", TargetProtocol::H2)];
const TRAILERS: [(&str, TrailerPolicy); 2] =
    [("drop", TrailerPolicy::Drop), ("pass", TrailerPolicy::Pass)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{BASE, parse, refuses};
    use crate::core::model::TargetGroupName;
    use crate::tls::testkit::Authority;

    fn group(keys: &str) -> String {
        BASE.replace("c: {}", &format!("c: {{ {keys} }}"))
    }

    fn read(keys: &str) -> Transport {
        let text = group(keys);
        let name: TargetGroupName = "c".parse().expect("a name");
        let mut config = parse(&text).expect(&text);
        config.transports.remove(&name).expect("a group has a transport")
    }

    #[test]
    fn a_group_is_spoken_to_in_http_1_without_tls_unless_it_says_so() {
        assert_eq!(read(""), Transport::default());
        let h2c = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
        assert_eq!(read("protocol: h2c"), h2c);
        let verified = TargetTls {
            server_name: None,
            verify: Verify::Full,
            authorities: None,
            identity: None,
        };
        let expected = Transport { tls: Some(verified.clone()), ..Transport::default() };
        assert_eq!(read("tls: {}"), expected);
        let named = TargetTls { server_name: Some("shop.internal".to_owned()), ..verified.clone() };
        let protocol = TargetProtocol::H2;
        let expected = Transport { protocol, tls: Some(named), ..Transport::default() };
        assert_eq!(read("protocol: h2, tls: { server_name: Shop.internal }"), expected);
        let unverified = TargetTls { verify: Verify::Nothing, ..verified };
        assert_eq!(read("tls: { verify: false }").tls, Some(unverified));
        let passing = Transport { trailers: TrailerPolicy::Pass, ..Transport::default() };
        assert_eq!(read("trailers: pass"), passing);
        assert_eq!(read("trailers: drop, protocol: http1"), Transport::default());
    }

    #[test]
    fn the_files_of_a_groups_tls_are_read_with_the_configuration() {
        let authority = Authority::new();
        let files = authority.signs("proxy", &["proxy.internal"]);
        let keys = format!(
            "tls: {{ ca: '{}', client_certificate: {{ certificate: '{}', key: '{}' }} }}",
            authority.file().display(),
            files.certificate.display(),
            files.key.display()
        );
        let tls = read(&keys).tls.expect("TLS");
        assert_eq!(tls.authorities.as_deref(), Some(&[authority.der()][..]));
        let identity = tls.identity.expect("an identity");
        assert_eq!(identity.chain.len(), 1);
        assert!(!format!("{identity:?}").contains("key"), "{identity:?}");
    }

    #[test]
    fn every_mistake_of_a_transport_is_told_where_it_is() {
        let authority = Authority::new();
        let files = authority.signs("proxy", &["proxy.internal"]);
        let shown = |path: &Path| path.display().to_string();
        let (ca, key) = (shown(&authority.file()), shown(&files.key));
        let certificate = shown(&files.certificate);
        let other = shown(&authority.signs("other", &["proxy.internal"]).key);
        let check = |keys: &str, expected: &str| {
            refuses(&group(keys), &format!("line 2: target_groups.c.{expected}"));
        };
        check(
            "protocol: h2c, tls: {}",
            "protocol: `h2c` is HTTP/2 in the clear, and `tls` is here; write `protocol: h2`, or",
        );
        check(
            "protocol: h2",
            "protocol: `h2` is HTTP/2 over TLS, and `tls` is missing; add `tls: {}`",
        );
        check("protocol: http2", "protocol: found \"http2\", wanted one of http1, h2c, h2");
        check("tls: true", "tls: wanted a mapping, found true");
        check("tls: { server_name: 'https://x' }", "tls.server_name: \"https://x\" is not a host");
        check("tls: { verify: no }", "tls.verify: wanted true or false, found the text \"no\"");
        check(
            &format!("tls: {{ verify: false, ca: '{ca}' }}"),
            "tls.ca: nothing is verified, so no authority is asked; leave one of them out",
        );
        check("tls: { ca: /nowhere/ca.pem }", "tls.ca: /nowhere/ca.pem: cannot be read: ");
        check(
            &format!("tls: {{ ca: '{key}' }}"),
            &format!("tls.ca: {key}: holds no certificate in PEM"),
        );
        check(
            &format!("tls: {{ client_certificate: {{ certificate: '{certificate}' }} }}"),
            "tls.client_certificate: `key` is missing",
        );
        check(
            &format!(
                "tls: {{ client_certificate: {{ certificate: '{certificate}', key: '{other}' }} }}"
            ),
            &format!(
                "tls.client_certificate.key: {other} is not the key of the certificate in {certificate}"
            ),
        );
        check("tls: { insecure: true }", "tls.insecure: unknown key");
        check("trailers: yes", "trailers: found \"yes\", wanted one of drop, pass");
    }
}
