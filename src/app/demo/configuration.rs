//! The configuration that the demo runs on: an ordinary file, with short times.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::gate_file::GateFile;

/// The names in the configuration.
pub(super) const LISTENER: &str = "public";
pub(super) const SERVICE: &str = "shop";
pub(super) const FIRST_GROUP: &str = "shop-a";
pub(super) const ALARM: &str = "shop-errors";

/// The text of the file; `None` if the component's path cannot be written in it.
pub(super) fn configuration(blue: &[SocketAddr], gate: &GateFile) -> Option<String> {
    // A JSON text is a YAML text in double quotes, whatever is in it.
    let component = serde_json::Value::from(gate.path.to_str()?).to_string();
    let mut targets = String::new();
    for address in blue {
        // Writing to a text cannot fail.
        let _ = write!(targets, "'{address}', ");
    }
    Some(
        TEMPLATE
            .replace("{targets}", &targets)
            .replace("{component}", &component)
            .replace("{digest}", &gate.digest.to_string()),
    )
}

/// Its times are seconds, so that the demo is short; in production they are minutes.
const TEMPLATE: &str = "\
listeners:
  - { name: public, address: '127.0.0.1:0', rules: [{ service: shop }] }

target_groups:
  shop-a: { targets: [{targets}] }
  shop-b: { targets: [] }

services:
  shop:
    target_groups: [shop-a, shop-b]
    health_check: { path: /healthz, interval: 500ms, timeout: 1s, healthy_after: 2, unhealthy_after: 3 }
    strategy: quick
    alarms: [shop-errors]
    gates:
      - gate: error-budget
        at: [before-step, during-step]
        every: 2s
        params: { slo: 99, max_burn: 10, window_ms: 5000, min_requests: 10, on_no_data: pass }
        on_error: hold
    on_regression: rollback
    tell_side: true
    # Else blue would answer for the bad revision, and no user would see it fail.
    rescue: false

strategies:
  quick:
    steps:
      - { weight: 10%, bake: 4s }
      - { weight: 25%, bake: 3s }
      - { weight: 50%, bake: 3s }
    final_bake: { for: 3s }

alarms:
  shop-errors:
    own: { metric: error_rate, side: green }
    above: 5%
    datapoints: 2 of 3
    period: 1s
    missing: insufficient

gates:
  error-budget: { component: {component}, sha256: {digest}, limits: { deadline: 1s } }

admin: { address: '127.0.0.1:0' }
store: { path: ./tidegate.db }
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, StoreSpec};
    use crate::core::model::{Strategy, StrategyName};

    #[test]
    fn the_configuration_has_no_mistake_and_keeps_to_its_folder() {
        let gate = GateFile::find(None).unwrap();
        let blue = ["127.0.0.1:9001", "127.0.0.1:9002"].map(|address| address.parse().unwrap());
        let text = configuration(&blue, &gate).unwrap();
        let config = Config::parse(&text, Path::new("/demo")).unwrap();
        assert_eq!(config.store, StoreSpec::Path("/demo/tidegate.db".into()));
        assert_eq!(config.admin.address.port(), 0);
        assert!(config.listeners.iter().any(|l| l.name.as_str() == LISTENER));
        assert!(config.alarms.keys().any(|alarm| alarm.as_str() == ALARM));
        let service = config.services.values().find(|s| s.name.as_str() == SERVICE).unwrap();
        assert!(service.tell_side);
        assert_eq!(service.target_groups[0].as_str(), FIRST_GROUP);
        assert_eq!(config.target_groups[&service.target_groups[0]].targets().len(), 2);
        let quick: StrategyName = "quick".parse().unwrap();
        assert_eq!(config.strategy(&quick).unwrap().steps().len(), 4, "100 % follows by itself");
        assert!(Strategy::predefined(&quick).is_none());
    }

    #[test]
    fn a_path_with_quotes_and_spaces_is_read_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let found = GateFile::find(None).unwrap();
        let path = dir.path().join("it's a \"gate\": #1.wasm");
        std::fs::copy(&found.path, &path).unwrap();
        let gate = GateFile::find(Some(&path)).unwrap();
        let text = configuration(&["127.0.0.1:9001".parse().unwrap()], &gate).unwrap();
        let config = Config::parse(&text, Path::new("/demo")).unwrap();
        let read = config.gates.values().next().unwrap();
        assert_eq!(config.component_path(read), gate.path);
    }
}
