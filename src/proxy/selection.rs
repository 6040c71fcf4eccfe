//! Which service, side and target a request gets.
//!
//! This is all of the proxy's own work on a request: no lock, no allocation, no clock.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::core::model::{ListenerName, RuleActions, Side, Stickiness, StickyFallback, WhenIdle};
use crate::core::routing::{
    ListenerRoutes, LiveTarget, RouteEnd, RoutingTable, ServiceRoute, address_position,
    address_unit, cohort_position, cohort_unit,
};

use super::cookie::{CohortId, cookie};

/// What of a request decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Question<'r> {
    /// The listener that accepted it.
    pub listener: &'r ListenerName,
    /// Its host without port; empty if it names none.
    pub host: &'r str,
    /// Its path without query.
    pub path: &'r str,
    /// Its header.
    pub headers: &'r HeaderMap,
    /// The client's address; `None` where the transport has none.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: &'r str,
    /// Whether its client speaks TLS, to us or to a trusted proxy.
    pub secure: bool,
}

/// The chance in a selection.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// Uniform over 0..10 000: the side of a request that sticks to none.
    pub side: u16,
    /// Uniform over all 64-bit numbers: the target.
    pub target: u64,
    /// Uniform over all 128-bit numbers: the cohort key of a client that has none.
    pub cohort: u128,
}

impl Draws {
    /// Draws from the thread's generator.
    #[must_use]
    pub fn random() -> Self {
        Self { side: rand::random_range(0..10_000), target: rand::random(), cohort: rand::random() }
    }
}

/// Why a request leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// No rule of the listener matches.
    NoRule,
    /// A test listener that refuses while there is no green.
    Idle,
    /// The rule sends the client to the same place over TLS.
    RedirectToHttps,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'t> {
    /// The service.
    pub service: &'t Arc<ServiceRoute>,
    /// The side that it was assigned.
    pub side: Side,
    /// How the side came about.
    pub by: AssignedBy,
    /// The target; `None` if the side has none that may be tried.
    pub target: Option<&'t Arc<LiveTarget>>,
    /// What the rule does to it and to its answer.
    pub actions: &'t Arc<RuleActions>,
    /// Whether its outcome is evidence: it came to its side by chance, and the service excludes
    /// no such path.
    pub scored: bool,
    /// The sticky unit of which it is one request, for a comparison; `None` without a comparison,
    /// and for a request that was drawn for itself.
    pub unit: Option<u64>,
}

/// How a request came to its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignedBy {
    /// A draw, or the position of a cohort key that the request brought.
    Chance(Lot),
    /// The position, 0..10 000, of a cohort key that its answer issues.
    Issued(CohortId, u16),
    /// The test listener: not by chance, and so evidence of nothing.
    TestListener,
    /// The service's conditions for green: not by chance either.
    Condition,
}

impl AssignedBy {
    /// Whether chance decided, so that the outcome may be evidence.
    #[must_use]
    pub fn by_chance(self) -> bool {
        match self {
            Self::Chance(_) | Self::Issued(..) => true,
            Self::TestListener | Self::Condition => false,
        }
    }
}

/// The number in 0..10 000 that chose a side: green exactly below its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lot {
    /// Drawn for this request alone.
    Drawn(u16),
    /// The position of a cohort key that the request brought.
    Brought(u16),
    /// The position of the client's address.
    Address(u16),
}

impl<'t> Selection<'t> {
    /// Selects service, side and target.
    ///
    /// # Errors
    /// No rule matches, the listener refuses, or the rule redirects.
    pub fn choose(
        table: &'t RoutingTable,
        question: &Question<'_>,
        draws: &Draws,
    ) -> Result<Self, Unrouted> {
        let routes = table.listeners.get(question.listener).ok_or(Unrouted::NoRule)?;
        let Question { host, path, method, headers, .. } = *question;
        let mut matching = routes.matching(host, path, method, headers);
        // Who speaks TLS already would be sent round in a circle.
        let is_circle = |to: &RouteEnd| question.secure && matches!(to, RouteEnd::RedirectToHttps);
        let route = matching.find(|route| !is_circle(&route.to)).ok_or(Unrouted::NoRule)?;
        let service = match &route.to {
            RouteEnd::Service(service) => service,
            RouteEnd::RedirectToHttps => return Err(Unrouted::RedirectToHttps),
        };
        let (side, by, unit) = assign(routes, service, question, draws)?;
        let target = service.pick(side, draws.target, None);
        let scored = by.by_chance() && !service.release.excludes(path);
        Ok(Self { service, side, by, target, actions: &route.actions, scored, unit })
    }
}

/// A side, how it came about, and the sticky unit if there is one to be counted.
type Assigned = (Side, AssignedBy, Option<u64>);

fn assign(
    routes: &ListenerRoutes,
    service: &ServiceRoute,
    question: &Question<'_>,
    draws: &Draws,
) -> Result<Assigned, Unrouted> {
    match (routes.test, &service.stickiness) {
        (Some(_), _) if service.exposure.green_exists => {
            Ok((Side::Green, AssignedBy::TestListener, None))
        }
        (Some(WhenIdle::Blue), _) => Ok((Side::Blue, AssignedBy::TestListener, None)),
        (Some(WhenIdle::Refuse), _) => Err(Unrouted::Idle),
        (None, _)
            if service.exposure.green_exists
                && service.release.green_for.matches(question.headers) =>
        {
            Ok((Side::Green, AssignedBy::Condition, None))
        }
        (None, None) => Ok(by_lot(service, Lot::Drawn(draws.side), None)),
        (None, Some(sticky)) => Ok(by_cohort(service, sticky, question, draws)),
    }
}

fn by_cohort(
    service: &ServiceRoute,
    sticky: &Stickiness,
    question: &Question<'_>,
    draws: &Draws,
) -> Assigned {
    let headers = question.headers;
    let named = |name: &String| headers.get(name.as_str()).map(http::HeaderValue::as_bytes);
    let brought = sticky
        .header
        .as_ref()
        .and_then(named)
        .filter(|value| !value.is_empty())
        .or_else(|| sticky.cookie.as_ref().and_then(|name| cookie(headers, name)));
    let salt = service.exposure.salt;
    let unit = |key: &[u8]| service.comparison.is_some().then(|| cohort_unit(salt, key));
    if let Some(key) = brought {
        return by_lot(service, Lot::Brought(cohort_position(salt, key)), unit(key));
    }
    match sticky.fallback {
        StickyFallback::IssuedCookie => match CohortId::sent_back(headers, sticky.issued.name()) {
            Some(id) => {
                let position = cohort_position(salt, id.as_bytes());
                by_lot(service, Lot::Brought(position), unit(id.as_bytes()))
            }
            None => {
                let id = CohortId::from_draw(draws.cohort);
                let position = cohort_position(salt, id.as_bytes());
                let side = service.side_by_draw(position);
                (side, AssignedBy::Issued(id, position), unit(id.as_bytes()))
            }
        },
        StickyFallback::ClientAddress => {
            let lot = question.client.map_or(Lot::Drawn(draws.side), |client| {
                Lot::Address(address_position(salt, client))
            });
            let counted = question.client.filter(|_| service.comparison.is_some());
            by_lot(service, lot, counted.map(|client| address_unit(salt, client)))
        }
    }
}

fn by_lot(service: &ServiceRoute, lot: Lot, unit: Option<u64>) -> Assigned {
    let (Lot::Drawn(number) | Lot::Brought(number) | Lot::Address(number)) = lot;
    (service.side_by_draw(number), AssignedBy::Chance(lot), unit)
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use arc_swap::ArcSwap;
    use http::HeaderValue;

    use super::super::evidence::Evidence;
    use super::super::testkit::{
        compare, named_rule, public, service, table, table_with, test_listener, with_green,
    };
    use super::*;
    use crate::core::model::{
        Balance, Destination, GreenFor, IssuedCookie, ReleaseTraffic, Rule, Salt, TargetHealth,
        Wanted,
    };
    use crate::core::routing::MeterId;
    use crate::telemetry::Recorder;

    fn sticky(fallback: StickyFallback) -> Option<Stickiness> {
        let (header, cookie) = (Some("x-user-id".to_owned()), Some("session".to_owned()));
        Some(Stickiness { header, cookie, fallback, issued: IssuedCookie::default() })
    }

    fn route(stickiness: Option<Stickiness>) -> ServiceRoute {
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let mut route = service(5_000, &[address(1), address(2)], &[address(3), address(4)]);
        route.stickiness = stickiness;
        route
    }

    fn world(stickiness: Option<Stickiness>) -> RoutingTable {
        table(route(stickiness), WhenIdle::Refuse)
    }

    /// Green for the cookie `beta`, nothing scored at `/cart`, and a rule for a tenant before the
    /// one for everybody.
    fn with_conditions(stickiness: Option<Stickiness>) -> RoutingTable {
        let mut route = route(stickiness);
        route.exposure.green_exists = true;
        route.release = Arc::new(release());
        let mut tenant = named_rule("*.test");
        tenant.matched.methods = ["GET", "PUT"].iter().map(|m| m.parse().expect("valid")).collect();
        let name = "x-tenant".parse().expect("valid");
        tenant.matched.headers.insert(name, Wanted::of_header("gold").expect("valid"));
        table_with(&[tenant, named_rule("*.test")], route, WhenIdle::Refuse)
    }

    fn release() -> ReleaseTraffic {
        let mut green_for = GreenFor::default();
        let wanted = |text: &str| Wanted::of_cookie(text).expect("valid");
        green_for.headers.insert("x-tidegate-side".parse().expect("valid"), wanted("green"));
        green_for.cookies.insert("beta".parse().expect("valid"), wanted("*"));
        let excluded = vec![ReleaseTraffic::exclusion("/cart").expect("valid")];
        ReleaseTraffic { green_for, excluded }
    }

    fn question<'r>(listener: &'r ListenerName, headers: &'r HeaderMap) -> Question<'r> {
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        let (host, path, method) = ("shop.test", "/cart", "GET");
        Question { listener, host, path, headers, client, method, secure: false }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    /// Two targets of which the less loaded is taken, and a limit.
    fn balanced() -> RoutingTable {
        let mut route = route(None);
        (route.balance, route.target_limit) = (Balance::LeastOfTwo, Some(2));
        table(route, WhenIdle::Refuse)
    }

    /// Every request is counted in, and what came of it.
    fn compared(stickiness: Option<Stickiness>) -> RoutingTable {
        let mut route = route(stickiness);
        compare(&mut route, 1_000);
        table(route, WhenIdle::Refuse)
    }

    /// No target is healthy, and any may be tried.
    fn panicking() -> RoutingTable {
        let route = route(None);
        let targets = route.blue.targets.iter().chain(&*route.green.targets);
        targets.for_each(|target| target.set_health(TargetHealth::Unhealthy));
        table(route, WhenIdle::Refuse)
    }

    #[test]
    fn loading_the_table_and_choosing_allocate_nothing() {
        let brought = headers(&[("cookie", "a=b; session=s1"), ("x-other", "1")]);
        let user = headers(&[("x-user-id", "u1")]);
        let none = HeaderMap::new;
        let cases = [
            (world(None), none(), public()),
            (world(sticky(StickyFallback::IssuedCookie)), user, public()),
            (world(sticky(StickyFallback::IssuedCookie)), brought, public()),
            (world(sticky(StickyFallback::IssuedCookie)), none(), public()),
            (world(sticky(StickyFallback::ClientAddress)), none(), public()),
            (with_conditions(sticky(StickyFallback::IssuedCookie)), none(), public()),
            (with_conditions(None), headers(&[("cookie", "a=b"), ("x-tenant", "gold")]), public()),
            (with_conditions(None), headers(&[("cookie", "a=b; beta=1")]), public()),
            (with_conditions(None), none(), test_listener()),
            (table(route(None), WhenIdle::Blue), none(), test_listener()),
            (balanced(), none(), public()),
            (panicking(), none(), public()),
            (compared(None), none(), public()),
            (compared(sticky(StickyFallback::IssuedCookie)), none(), public()),
            (compared(sticky(StickyFallback::ClientAddress)), none(), public()),
        ];
        let draws = Draws::random();
        let recorder = Recorder::default();
        for (number, (table, headers, listener)) in cases.into_iter().enumerate() {
            let question = question(&listener, &headers);
            let table = ArcSwap::from_pointee(table);
            // The first load of a thread prepares it for all that follow.
            drop(table.load());
            let mut found = false;
            let info = measure(|| {
                let table = table.load();
                let chosen = Selection::choose(&table, &question, &draws);
                if let Some(selection) = chosen.as_ref().ok().filter(|chosen| chosen.scored) {
                    for status in [200, 503] {
                        let mut evidence = Evidence::arrive(selection, 0);
                        evidence.sent(1);
                        evidence.answered(status, 2);
                        evidence.header_ended(None, &recorder);
                        evidence.failed(MeterId(0), &recorder, 4);
                        evidence.over(&recorder, 5);
                    }
                }
                found = chosen.is_ok_and(|selection| selection.target.is_some());
            });
            assert!(found, "case {number}");
            assert_eq!(info.count_total, 0, "case {number}");
        }
    }

    #[test]
    fn the_header_is_the_key_before_the_cookie_before_the_issued_one() {
        let draws = Draws { side: 0, target: 0, cohort: 42 };
        let brought = |position| AssignedBy::Chance(Lot::Brought(position));
        let issued = CohortId::from_draw(42);
        let issues = |position| AssignedBy::Issued(issued, position);
        // One side is right by chance half of the time; thirty-two salts leave no doubt.
        let check = |fields: &[(&'static str, &'static str)],
                     key: &[u8],
                     by: &dyn Fn(u16) -> AssignedBy| {
            let (listener, headers) = (public(), headers(fields));
            for k0 in 0..32 {
                let mut route = route(sticky(StickyFallback::IssuedCookie));
                route.exposure.salt = Salt { k0, k1: 0 };
                let position = cohort_position(route.exposure.salt, key);
                let expected = (route.side_by_cohort(key), by(position));
                let table = table(route, WhenIdle::Refuse);
                let selection = Selection::choose(&table, &question(&listener, &headers), &draws)
                    .expect("routed");
                assert_eq!((selection.side, selection.by), expected);
            }
        };
        let session = ("cookie", "tidegate-cohort=0123456789abcdef0011223344556677; session=s");
        check(&[("x-user-id", "u"), session], b"u", &brought);
        check(&[session], b"s", &brought);
        let sent_back = ("cookie", "tidegate-cohort=0123456789abcdef0011223344556677");
        check(&[sent_back], b"0123456789abcdef0011223344556677", &brought);
        check(&[("x-user-id", "")], issued.as_bytes(), &issues);
    }

    #[test]
    fn a_unit_is_known_by_its_key_while_there_is_a_comparison() {
        let (listener, draws) = (public(), Draws { side: 0, target: 0, cohort: 42 });
        let unit = |table: &RoutingTable, fields: &[(&'static str, &'static str)]| {
            let headers = headers(fields);
            let chosen = Selection::choose(table, &question(&listener, &headers), &draws);
            chosen.expect("routed").unit
        };
        let issued = sticky(StickyFallback::IssuedCookie);
        assert_eq!(unit(&world(issued.clone()), &[("x-user-id", "ann")]), None);
        assert_eq!(unit(&compared(None), &[("x-user-id", "ann")]), None);
        let table = compared(issued);
        let ann = unit(&table, &[("x-user-id", "ann")]);
        assert!(ann.is_some());
        assert_eq!(unit(&table, &[("cookie", "session=ann")]), ann);
        assert_ne!(unit(&table, &[("x-user-id", "bob")]), ann);
        let new = unit(&table, &[]);
        let id = CohortId::from_draw(42);
        let key = cohort_unit(Salt::default(), id.as_bytes());
        assert_eq!(new, Some(key), "and is the same when it comes back");
        let by_address = compared(sticky(StickyFallback::ClientAddress));
        assert!(unit(&by_address, &[]).is_some());
    }

    #[test]
    fn a_test_listener_answers_from_green_while_there_is_one() {
        let (listener, headers) = (test_listener(), HeaderMap::new());
        let draws = Draws { side: 0, target: 0, cohort: 0 };
        let check = |green_exists: bool, when_idle, expected: Result<Side, Unrouted>| {
            let address = |port: u16| ([127, 0, 0, 1], port).into();
            let mut route = service(0, &[address(1)], &[address(2)]);
            route.exposure = with_green(0);
            route.exposure.green_exists = green_exists;
            let table = table(route, when_idle);
            let chosen = Selection::choose(&table, &question(&listener, &headers), &draws);
            assert_eq!(chosen.map(|selection| selection.side), expected);
        };
        check(true, WhenIdle::Refuse, Ok(Side::Green));
        check(true, WhenIdle::Blue, Ok(Side::Green));
        check(false, WhenIdle::Blue, Ok(Side::Blue));
        check(false, WhenIdle::Refuse, Err(Unrouted::Idle));
    }

    #[test]
    fn conditions_lead_to_green_while_it_exists_and_are_no_evidence() {
        let listener = public();
        let draws = Draws { side: 0, target: 0, cohort: 0 };
        type Found = (Side, AssignedBy, bool);
        let check = |exists: bool, fields: &[(&'static str, &'static str)], expected: Found| {
            let mut route = route(None);
            route.exposure = with_green(0);
            route.exposure.green_exists = exists;
            route.release = Arc::new(ReleaseTraffic { excluded: Vec::new(), ..release() });
            let table = table(route, WhenIdle::Refuse);
            let headers = headers(fields);
            let found = Selection::choose(&table, &question(&listener, &headers), &draws);
            let found = found.map(|selection| (selection.side, selection.by, selection.scored));
            assert_eq!(found, Ok(expected), "{fields:?}");
        };
        let green = (Side::Green, AssignedBy::Condition, false);
        let blue = (Side::Blue, AssignedBy::Chance(Lot::Drawn(0)), true);
        check(true, &[("x-tidegate-side", "green")], green);
        check(true, &[("x-tidegate-side", "blue"), ("cookie", "beta=yes")], green);
        check(true, &[("x-tidegate-side", "blue"), ("cookie", "beta=")], blue);
        check(true, &[], blue);
        check(false, &[("x-tidegate-side", "green")], blue);
    }

    #[test]
    fn an_excluded_path_is_drawn_as_any_other_and_no_evidence() {
        let listener = public();
        let headers = HeaderMap::new();
        let table = with_conditions(None);
        let check = |path: &str, side: u16, expected: (Side, bool)| {
            let draws = Draws { side, target: 0, cohort: 0 };
            let question = Question { path, ..question(&listener, &headers) };
            let found = Selection::choose(&table, &question, &draws).expect("routed");
            assert_eq!((found.side, found.scored), expected, "{path}");
        };
        check("/cart", 0, (Side::Green, false));
        check("/cart", 9_999, (Side::Blue, false));
        check("/cart/1", 0, (Side::Green, true));
    }

    #[test]
    fn a_rule_that_redirects_leads_to_no_service() {
        let rule = Rule { to: Destination::RedirectToHttps, ..named_rule("shop.test") };
        let table = table_with(&[rule], route(None), WhenIdle::Refuse);
        let headers = HeaderMap::new();
        for listener in [public(), test_listener()] {
            let question = question(&listener, &headers);
            let found = Selection::choose(&table, &question, &Draws::random());
            assert_eq!(found.map(|selection| selection.side), Err(Unrouted::RedirectToHttps));
        }
    }
}
