//! `admin`: where the admin API and the metrics listen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::addresses::Addresses;
use super::node::Node;
use super::{AdminSpec, file_path};

/// Reads the section; without one the API listens on loopback.
pub(super) fn admin(
    node: Option<&Node<'_>>,
    base_dir: &Path,
    addresses: &mut Addresses,
) -> AdminSpec {
    let mut spec = AdminSpec { address: DEFAULT_ADDRESS, token_file: None, metrics_address: None };
    let Some(node) = node else {
        addresses.add(DEFAULT_ADDRESS, API);
        return spec;
    };
    let mut fields = node.fields();
    let remote = fields.take("allow_remote").and_then(|node| node.flag()).unwrap_or(false);
    match fields.take("address") {
        Some(address) => {
            let address = local(&address, remote, addresses, API);
            spec.address = address.unwrap_or(DEFAULT_ADDRESS);
        }
        None => addresses.add(DEFAULT_ADDRESS, API),
    }
    let metrics = fields.take("metrics_address");
    spec.metrics_address = metrics.and_then(|node| local(&node, remote, addresses, "metrics"));
    spec.token_file = fields.take("token_file").and_then(|node| file_path(&node, base_dir));
    fields.finish();
    spec
}

/// Reads an address that only this machine can reach, unless more is allowed.
fn local(
    node: &Node<'_>,
    remote: bool,
    addresses: &mut Addresses,
    whose: &str,
) -> Option<SocketAddr> {
    let address = addresses.claim(node, whose)?;
    if remote || address.ip().is_loopback() {
        return Some(address);
    }
    node.mistake_with_fix(
        format!("{address} can be reached from other machines"),
        "use a loopback address such as 127.0.0.1, or say `allow_remote: true`",
    );
    None
}

const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
const API: &str = "the admin API";

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::config::Config;
    use crate::config::tests::{BASE, parse, refuses, with};

    #[test]
    fn an_address_that_others_can_reach_must_be_allowed() {
        refuses(
            &with("admin: { address: '0.0.0.0:7070' }"),
            "line 4: admin.address: 0.0.0.0:7070 can be reached from other machines; use a loopback",
        );
        refuses(
            &with("admin: { metrics_address: '10.0.0.1:9' }"),
            "admin.metrics_address: 10.0.0.1:9 can be",
        );
        refuses(
            &with("admin: { address: 7070 }"),
            "admin.address: wanted a text, found the number 7070",
        );
        refuses(
            &with("admin: { address: here }"),
            "admin.address: wanted an IP address and a port",
        );
        refuses(
            &with("admin: { metrics_address: '127.0.0.1:7070' }"),
            "the admin API listens on 127.0.0.1:7070",
        );
        refuses(
            &with("admin: { token: x }"),
            "admin.token: unknown key; known here: allow_remote,",
        );
        let allowed = "admin: { address: '0.0.0.0:7070', metrics_address: '0.0.0.0:7071', allow_remote: true }";
        let admin = parse(&with(allowed)).unwrap().admin;
        assert_eq!(admin.address, "0.0.0.0:7070".parse().unwrap());
        assert_eq!(admin.metrics_address, Some("0.0.0.0:7071".parse().unwrap()));
    }

    #[test]
    fn a_listener_cannot_take_the_admin_address() {
        let text = BASE.replace("127.0.0.1:0", "127.0.0.1:7070");
        refuses(
            &text,
            "line 1: listeners[0].address: 127.0.0.1:7070 is taken: the admin API listens on 127.0.0.1:7070",
        );
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = with("admin: { token_file: ./secret/tokens }\nstore: { path: /var/lib/t.db }");
        let config = Config::parse(&text, Path::new("/etc/tidegate")).unwrap();
        assert_eq!(config.admin.token_file, Some(PathBuf::from("/etc/tidegate/secret/tokens")));
        assert_eq!(config.store, crate::config::StoreSpec::Path(PathBuf::from("/var/lib/t.db")));
    }
}
