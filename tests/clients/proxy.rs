//! The proxy between a client and a target.

use std::net::SocketAddr;

use crate::kit::{Ports, Tidegate};

/// Starts one. `listener` and `group` are keys of theirs besides the usual ones, each with a comma
/// behind it.
pub(crate) async fn between(target: SocketAddr, listener: &str, group: &str) -> Tidegate {
    Tidegate::start(|ports| config(ports, target, listener, group)).await
}

fn config(ports: &Ports, target: SocketAddr, listener: &str, group: &str) -> String {
    let Ports { public, admin } = ports;
    format!(
        "\
listeners:
  - {{ {listener} name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ {group} targets: ['{target}'] }}
  shop-b: {{ {group} targets: [] }}
services:
  shop: {{ target_groups: [shop-a, shop-b] }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}
