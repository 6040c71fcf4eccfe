//! The configuration of most scenes: one service behind one listener, with a target in each group.

use std::net::SocketAddr;

use super::{Origin, Ports};

/// What a scene adds to it; lines of YAML.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop {
    /// Keys of the service, besides its groups.
    pub(crate) service: &'static str,
    /// Keys of the file, besides those that every scene has.
    pub(crate) file: &'static str,
}

impl Shop {
    /// The configuration for a process.
    pub(crate) fn config(&self, ports: &Ports, a: &Origin, b: &Origin) -> String {
        Self::config_with(ports, [a.address(), b.address()], self.service, self.file)
    }

    /// The same for keys that are known only when the test runs.
    pub(crate) fn config_with(
        ports: &Ports,
        [a, b]: [SocketAddr; 2],
        service: &str,
        file: &str,
    ) -> String {
        let Ports { public, admin } = ports;
        let keys: String = service.lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{a}'] }}
  shop-b: {{ targets: ['{b}'] }}
services:
  shop:
    target_groups: [shop-a, shop-b]
{keys}\
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
{file}"
        )
    }
}
