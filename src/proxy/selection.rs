//! Which service, side and target a request gets.
//!
//! This is all of the proxy's own work on a request: no lock, no allocation, no clock.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::core::model::{ListenerName, Side, Stickiness, StickyFallback, WhenIdle};
use crate::core::routing::{
    ListenerRoutes, LiveTarget, RoutingTable, ServiceRoute, address_position, cohort_position,
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
    /// No rule matches, or the listener refuses.
    pub fn choose(
        table: &'t RoutingTable,
        question: &Question<'_>,
        draws: &Draws,
    ) -> Result<Self, Unrouted> {
        let routes = table.listeners.get(question.listener).ok_or(Unrouted::NoRule)?;
        let service = routes.find(question.host, question.path).ok_or(Unrouted::NoRule)?;
        let (side, by) = assign(routes, service, question, draws)?;
        let target = service.pick(side, draws.target, None);
        Ok(Self { service, side, by, target })
    }
}

fn assign(
    routes: &ListenerRoutes,
    service: &ServiceRoute,
    question: &Question<'_>,
    draws: &Draws,
) -> Result<(Side, AssignedBy), Unrouted> {
    match (routes.test, &service.stickiness) {
        (Some(_), _) if service.exposure.green_exists => {
            Ok((Side::Green, AssignedBy::TestListener))
        }
        (Some(WhenIdle::Blue), _) => Ok((Side::Blue, AssignedBy::TestListener)),
        (Some(WhenIdle::Refuse), _) => Err(Unrouted::Idle),
        (None, None) => Ok(by_lot(service, Lot::Drawn(draws.side))),
        (None, Some(sticky)) => Ok(by_cohort(service, sticky, question, draws)),
    }
}

fn by_cohort(
    service: &ServiceRoute,
    sticky: &Stickiness,
    question: &Question<'_>,
    draws: &Draws,
) -> (Side, AssignedBy) {
    let headers = question.headers;
    let named = |name: &String| headers.get(name.as_str()).map(http::HeaderValue::as_bytes);
    let brought = sticky
        .header
        .as_ref()
        .and_then(named)
        .filter(|value| !value.is_empty())
        .or_else(|| sticky.cookie.as_ref().and_then(|name| cookie(headers, name)));
    let salt = service.exposure.salt;
    if let Some(key) = brought {
        return by_lot(service, Lot::Brought(cohort_position(salt, key)));
    }
    match sticky.fallback {
        StickyFallback::IssuedCookie => match CohortId::sent_back(headers) {
            Some(id) => by_lot(service, Lot::Brought(cohort_position(salt, id.as_bytes()))),
            None => {
                let id = CohortId::from_draw(draws.cohort);
                let position = cohort_position(salt, id.as_bytes());
                (service.side_by_draw(position), AssignedBy::Issued(id, position))
            }
        },
        StickyFallback::ClientAddress => {
            let lot = question.client.map_or(Lot::Drawn(draws.side), |client| {
                Lot::Address(address_position(salt, client))
            });
            by_lot(service, lot)
        }
    }
}

fn by_lot(service: &ServiceRoute, lot: Lot) -> (Side, AssignedBy) {
    let (Lot::Drawn(number) | Lot::Brought(number) | Lot::Address(number)) = lot;
    (service.side_by_draw(number), AssignedBy::Chance(lot))
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use http::HeaderValue;

    use super::super::testkit::{public, service, table, test_listener, with_green};
    use super::*;
    use crate::core::model::Salt;

    fn sticky(fallback: StickyFallback) -> Option<Stickiness> {
        let (header, cookie) = (Some("x-user-id".to_owned()), Some("session".to_owned()));
        Some(Stickiness { header, cookie, fallback })
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

    fn question<'r>(listener: &'r ListenerName, headers: &'r HeaderMap) -> Question<'r> {
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        Question { listener, host: "shop.test", path: "/cart", headers, client }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn choosing_allocates_nothing() {
        let listener = public();
        let brought = headers(&[("cookie", "a=b; session=s1"), ("x-other", "1")]);
        let user = headers(&[("x-user-id", "u1")]);
        let cases = [
            (world(None), HeaderMap::new()),
            (world(sticky(StickyFallback::IssuedCookie)), user),
            (world(sticky(StickyFallback::IssuedCookie)), brought),
            (world(sticky(StickyFallback::IssuedCookie)), HeaderMap::new()),
            (world(sticky(StickyFallback::ClientAddress)), HeaderMap::new()),
        ];
        let draws = Draws::random();
        for (number, (table, headers)) in cases.iter().enumerate() {
            let question = question(&listener, headers);
            let mut chosen = None;
            let info = measure(|| chosen = Selection::choose(table, &question, &draws).ok());
            assert!(chosen.and_then(|selection| selection.target).is_some());
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
}
