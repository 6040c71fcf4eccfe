//! `protocol` and `tls` of a target group: how its targets are spoken to.

use std::path::Path;

use super::fields::Fields;
use super::file_path;
use super::listener_tls::certificate_files;
use super::node::Node;
use crate::core::model::{ClientIdentity, HostMatch, TargetProtocol, TargetTls, Transport, Verify};
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
    Transport { protocol, tls }
}

fn target_tls(node: &Node<'_>, base_dir: &Path) -> TargetTls {
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
