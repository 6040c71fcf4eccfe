//! One generation of the table, and how a request finds its service in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::model::{HostMatch, ListenerName, PathMatch, Rule, ServiceName, WhenIdle};

use super::ServiceRoute;

/// A listener's rules, most specific first, each with the service it leads to.
#[derive(Clone, Debug)]
pub struct ListenerRoutes {
    /// `Some` on a test listener.
    pub test: Option<WhenIdle>,
    rules: Box<[Route]>,
}

#[derive(Clone, Debug)]
struct Route {
    host: HostMatch,
    path: PathMatch,
    service: Arc<ServiceRoute>,
}

impl ListenerRoutes {
    /// Builds a listener's routes; a rule whose service is not in the table leads nowhere.
    #[must_use]
    pub fn new(
        test: Option<WhenIdle>,
        rules: &[Rule],
        services: &BTreeMap<ServiceName, Arc<ServiceRoute>>,
    ) -> Self {
        let mut sorted: Vec<&Rule> = rules.iter().collect();
        sorted.sort_by(|a, b| a.by_specificity(b));
        let rules = sorted
            .into_iter()
            .filter_map(|rule| {
                services.get(&rule.service).map(|service| Route {
                    host: rule.host.clone(),
                    path: rule.path.clone(),
                    service: Arc::clone(service),
                })
            })
            .collect();
        Self { test, rules }
    }

    /// The service of the most specific rule that matches; `host` is without its port, `path`
    /// without its query.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<ServiceRoute>> {
        self.rules
            .iter()
            .find(|route| route.host.matches(host) && route.path.matches(path))
            .map(|route| &route.service)
    }
}

/// One generation: where every request goes.
#[derive(Clone, Debug, Default)]
pub struct RoutingTable {
    /// Its number, one higher than the table before.
    pub generation: u64,
    /// Every listener by name.
    pub listeners: BTreeMap<ListenerName, ListenerRoutes>,
    /// Every service by name.
    pub services: BTreeMap<ServiceName, Arc<ServiceRoute>>,
}

#[cfg(test)]
mod tests {
    use super::super::side::tests::service;
    use super::*;
    use crate::core::model::Weight;

    #[test]
    fn the_most_specific_rule_wins_whatever_its_place() {
        let named = |name: &str| {
            let mut route = service(Weight::ZERO, &[]);
            route.name = name.parse().expect("valid");
            (route.name.clone(), Arc::new(route))
        };
        let services = BTreeMap::from([named("all"), named("api"), named("shop"), named("exact")]);
        let rule = |host: Option<&str>, path: PathMatch, service: &str| Rule {
            host: host.map_or(HostMatch::Any, |h| HostMatch::exact(h).expect("valid")),
            path,
            service: service.parse().expect("valid"),
        };
        let rules = [
            rule(None, PathMatch::any(), "all"),
            rule(None, PathMatch::prefix("/api").expect("valid"), "api"),
            rule(Some("shop.test"), PathMatch::any(), "shop"),
            rule(Some("shop.test"), PathMatch::exact("/x").expect("valid"), "exact"),
        ];
        let routes = ListenerRoutes::new(None, &rules, &services);
        let check = |host: &str, path: &str, expected: &str| {
            assert_eq!(routes.find(host, path).expect("matched").name.as_str(), expected);
        };
        check("other", "/", "all");
        check("other", "/api/x", "api");
        check("shop.test", "/api/x", "shop");
        check("SHOP.test", "/x", "exact");
        assert!(ListenerRoutes::new(None, &[], &services).find("a", "/").is_none());
    }
}
