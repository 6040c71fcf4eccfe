//! One service behind one listener: what every fault happens to.

use std::net::SocketAddr;

use crate::kit::{Ports, Tidegate};

/// How a scene is set. The texts go into the configuration as they are, each beginning with `, `.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// More keys of the listener.
    pub(crate) listener: String,
    /// More keys of the service.
    pub(crate) service: String,
    /// The targets of the group that is blue at first.
    pub(crate) blue: Vec<SocketAddr>,
    /// The targets of the other group.
    pub(crate) green: Vec<SocketAddr>,
    /// More keys of both target groups.
    pub(crate) groups: String,
}

impl Scene {
    /// The configuration for a process.
    pub(crate) fn config(&self, ports: &Ports) -> String {
        let Ports { public, admin } = ports;
        let Self { listener, service, blue, green, groups } = self;
        let (blue, green) = (list(blue), list(green));
        format!(
            "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}]{listener} }}
target_groups:
  shop-a: {{ targets: [{blue}]{groups} }}
  shop-b: {{ targets: [{green}]{groups} }}
services:
  shop: {{ target_groups: [shop-a, shop-b], tell_side: true, strategy: patient{service} }}
strategies:
  patient: {{ steps: [{{ weight: 50%, bake: 1h }}] }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
        )
    }

    /// Starts a process that serves it.
    pub(crate) async fn start(&self) -> Tidegate {
        Tidegate::start(|ports| self.config(ports)).await
    }
}

fn list(targets: &[SocketAddr]) -> String {
    targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(", ")
}
