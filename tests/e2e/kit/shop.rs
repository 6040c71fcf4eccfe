//! The configuration of most scenes: one service behind one listener, with a target in each group.

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
        let Ports { public, admin } = ports;
        let (a, b) = (a.address(), b.address());
        let keys: String = self.service.lines().map(|line| format!("    {line}\n")).collect();
        let file = self.file;
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
