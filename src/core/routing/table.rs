//! One generation of the table, and how a request finds its service in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::model::{
    Destination, ListenerName, RequestFields, RequestMatch, Rule, RuleActions, ServiceName, Side,
    WhenIdle,
};

use super::ServiceRoute;

/// A listener's rules, most specific first, each with the service it leads to.
#[derive(Clone, Debug)]
pub struct ListenerRoutes {
    /// `Some` on a test listener.
    pub test: Option<WhenIdle>,
    rules: Box<[RouteMatch]>,
}

/// A rule in one table.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    matched: RequestMatch,
    /// Where its requests go.
    pub to: RouteEnd,
    /// What is done to them and to their answers.
    pub actions: Arc<RuleActions>,
}

/// Where a rule leads in one table.
#[derive(Clone, Debug)]
pub enum RouteEnd {
    /// To a service.
    Service(Arc<ServiceRoute>),
    /// Back to the client, which is told to come again over TLS.
    RedirectToHttps,
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
                let to = match &rule.to {
                    Destination::Service(name) => {
                        RouteEnd::Service(Arc::clone(services.get(name)?))
                    }
                    Destination::RedirectToHttps => RouteEnd::RedirectToHttps,
                };
                let (matched, actions) = (rule.matched.clone(), Arc::clone(&rule.actions));
                Some(RouteMatch { matched, to, actions })
            })
            .collect();
        Self { test, rules }
    }

    /// The most specific rule that matches; `host` is without its port, `path` without its query.
    #[must_use]
    pub fn find(
        &self,
        host: &str,
        path: &str,
        method: &str,
        fields: &impl RequestFields,
    ) -> Option<&RouteMatch> {
        self.matching(host, path, method, fields).next()
    }

    /// Every rule that matches, the most specific first.
    pub fn matching<'t, 'q>(
        &'t self,
        host: &'q str,
        path: &'q str,
        method: &'q str,
        fields: &'q impl RequestFields,
    ) -> impl Iterator<Item = &'t RouteMatch> {
        self.rules.iter().filter(move |route| route.matched.matches(host, path, method, fields))
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

impl RoutingTable {
    /// Notes at every group to which requests can come that they can, in this table. To be called
    /// before the table is published: a group that had weight for a moment that nobody saw is then
    /// told from one that had none.
    pub fn mark_carriers(&self) {
        for service in self.services.values() {
            for side in [Side::Blue, Side::Green] {
                if service.carries(side) {
                    service.side(side).live.carry(self.generation);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::side::tests::service;
    use super::*;
    use crate::core::model::{FieldName, HostMatch, PathMatch, Wanted, Weight};

    /// The value of the header `x-tenant`.
    struct Tenant(&'static str);

    impl RequestFields for Tenant {
        fn has_header(&self, name: &str, value: Option<&[u8]>) -> bool {
            name == "x-tenant" && value.is_none_or(|wanted| wanted == self.0.as_bytes())
        }

        fn has_cookie(&self, _: &str, _: Option<&[u8]>) -> bool {
            false
        }
    }

    const NOBODY: Tenant = Tenant("");

    fn named(name: &str) -> (ServiceName, Arc<ServiceRoute>) {
        let mut route = service(Weight::ZERO, &[]);
        route.name = name.parse().expect("valid");
        (route.name.clone(), Arc::new(route))
    }

    fn rule(host: &str, path: &str, service: &str) -> Rule {
        let host = match host {
            "" => HostMatch::Any,
            host => HostMatch::pattern(host).expect("valid"),
        };
        let path = PathMatch::prefix(path).expect("valid");
        let matched = RequestMatch { host, path, ..RequestMatch::default() };
        Rule::to_service(matched, service.parse().expect("valid"))
    }

    fn lead(route: &RouteMatch) -> &str {
        match &route.to {
            RouteEnd::Service(service) => service.name.as_str(),
            RouteEnd::RedirectToHttps => "https",
        }
    }

    #[test]
    fn the_most_specific_rule_wins_whatever_its_place() {
        let names = ["all", "api", "shop", "exact", "below"];
        let services = names.into_iter().map(named).collect();
        let mut exact = rule("shop.test", "/x", "exact");
        exact.matched.path = PathMatch::exact("/x").expect("valid");
        let rules = [
            rule("", "/", "all"),
            rule("", "/api", "api"),
            rule("*.test", "/", "below"),
            rule("shop.test", "/", "shop"),
            exact,
        ];
        let routes = ListenerRoutes::new(None, &rules, &services);
        let check = |host: &str, path: &str, expected: &str| {
            let found = routes.find(host, path, "GET", &NOBODY).expect("matched");
            assert_eq!(lead(found), expected, "{host}{path}");
        };
        check("other", "/", "all");
        check("", "/api/x", "api");
        check("shop.test", "/api/x", "shop");
        check("SHOP.test", "/x", "exact");
        check("cart.test", "/api/x", "below");
        check("test", "/", "all");
        let none = ListenerRoutes::new(None, &[], &services);
        assert!(none.find("a", "/", "GET", &NOBODY).is_none());
    }

    #[test]
    fn a_request_goes_on_to_the_next_rule_where_method_or_fields_differ() {
        let services = ["all", "write", "gold"].into_iter().map(named).collect();
        let mut write = rule("", "/", "write");
        write.matched.methods =
            ["POST", "PUT"].iter().map(|method| method.parse().expect("valid")).collect();
        let mut gold = rule("", "/", "gold");
        let wanted = Wanted::of_header("gold").expect("valid");
        let tenant = "x-tenant".parse::<FieldName>().expect("valid");
        gold.matched.headers = BTreeMap::from([(tenant, wanted)]);
        let mut redirect = rule("plain.test", "/", "all");
        redirect.to = Destination::RedirectToHttps;
        let rules = [rule("", "/", "all"), gold, write, redirect, rule("", "/lost", "nowhere")];
        let routes = ListenerRoutes::new(None, &rules, &services);
        let check = |host: &str, method: &str, tenant: Tenant, expected: &str| {
            let found = routes.find(host, "/lost", method, &tenant).expect("matched");
            assert_eq!(lead(found), expected);
        };
        check("a.test", "GET", Tenant("silver"), "all");
        check("a.test", "GET", Tenant("gold"), "gold");
        check("a.test", "PUT", Tenant("gold"), "write");
        check("a.test", "put", Tenant("silver"), "all");
        check("plain.test", "PUT", Tenant("gold"), "https");
    }
}
