//! `services`: what rules lead to, each with a pair of target groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::analysis::analysis;
use super::declared::Declared;
use super::fields::Fields;
use super::gate_uses::gate_uses;
use super::health_check::health_check;
use super::mirror::mirror;
use super::node::Node;
use super::outlier_ejection::outlier_ejection;
use super::policies::policies;
use super::release::release;
use super::retries::retries;
use super::stickiness::stickiness;
use crate::core::model::{
    AlarmName, Balance, DrainPolicy, OutlierSpec, Panic, ServiceName, ServiceSpec, Span, Strategy,
    StrategyName, StreamsOnRollback, TargetGroup, TargetGroupName, Timeouts,
};

/// Reads the section.
pub(super) fn services(
    node: &Node<'_>,
    declared: &Declared<'_>,
    groups: &BTreeMap<TargetGroupName, TargetGroup>,
    strategies: &BTreeMap<StrategyName, Strategy>,
) -> BTreeMap<ServiceName, ServiceSpec> {
    let mut pairs = Pairs { declared, groups, users: BTreeMap::new() };
    node.named(MAX_SERVICES, |name, node| {
        let service = service(name, node, declared, &mut pairs)?;
        check_certificates(node, &service, strategies);
        Some(service)
    })
}

/// Checks that the service's strategy asks for nothing that its comparison never gives.
fn check_certificates(
    node: &Node<'_>,
    service: &ServiceSpec,
    strategies: &BTreeMap<StrategyName, Strategy>,
) {
    let step = strategies.get(&service.strategy).and_then(Strategy::wants_certificate);
    let (Some(why), Some(step)) = (service.never_certified(), step) else {
        return;
    };
    if let Some(node) = node.child("strategy") {
        let name = &service.strategy;
        let message = format!(
            "steps[{step}] of {name} wants the comparison's certificate, which this service never \
             gets: {why}"
        );
        node.mistake_with_fix(message, WITHOUT_CERTIFICATE);
    }
}

fn service(
    name: Option<ServiceName>,
    node: &Node<'_>,
    declared: &Declared<'_>,
    pairs: &mut Pairs<'_>,
) -> Option<ServiceSpec> {
    let mut fields = node.fields();
    let target_groups = fields.require("target_groups").and_then(|node| pairs.claim(&node));
    let health_check = fields.take("health_check").as_ref().and_then(health_check);
    let stickiness = fields.take("stickiness").as_ref().map(stickiness);
    let balance = fields.take("balance").and_then(|node| node.word(&BALANCES));
    let panic = fields.take("panic").and_then(|node| node.word(&PANICS));
    let timeouts = fields.take("timeouts").as_ref().map(timeouts);
    let strategy = fields.take("strategy").and_then(|node| node.reference(&declared.strategies));
    let alarms = fields.take("alarms").map(|node| alarms(&node, declared));
    let gates = fields.take("gates").map(|node| gate_uses(&node, &declared.gates));
    let policies = policies(&mut fields);
    let tell_side = fields.take("tell_side").and_then(|node| node.flag());
    let drain = drain(&mut fields);
    let release = release(&mut fields);
    let ejection = fields
        .take("outlier_ejection")
        .map_or_else(|| Some(OutlierSpec::default()), |node| outlier_ejection(&node));
    let slow_start = fields.take("slow_start").and_then(|node| node.quantity());
    let target_limit = fields.take("target_limit").and_then(|node| node.count(0..=MAX_IN_FLIGHT));
    let retries = retries(&mut fields);
    let mirror = fields.take("mirror").as_ref().and_then(mirror);
    let (analysis, slo) = analysis(&mut fields);
    fields.finish();
    Some(ServiceSpec {
        name: name?,
        target_groups: target_groups?,
        health_check,
        stickiness,
        balance: balance.unwrap_or_default(),
        panic: panic.unwrap_or_default(),
        timeouts: timeouts.unwrap_or_default(),
        strategy: strategy.unwrap_or_else(|| {
            DEFAULT_STRATEGY.parse().expect("the default strategy's name is a name")
        }),
        alarms: alarms.unwrap_or_default(),
        gates: gates.unwrap_or_default(),
        policies,
        tell_side: tell_side.unwrap_or(false),
        drain,
        release: Arc::new(release),
        outlier_ejection: ejection,
        slow_start: slow_start.unwrap_or_default(),
        target_limit: target_limit.filter(|limit| *limit > 0),
        retries,
        mirror,
        analysis,
        slo,
    })
}

/// The target groups, each of which one service may use once.
struct Pairs<'a> {
    declared: &'a Declared<'a>,
    groups: &'a BTreeMap<TargetGroupName, TargetGroup>,
    /// Where each group is used.
    users: BTreeMap<TargetGroupName, String>,
}

impl Pairs<'_> {
    /// Reads a service's pair; one that cannot answer a single request is a mistake.
    fn claim(&mut self, node: &Node<'_>) -> Option<[TargetGroupName; 2]> {
        let items = node.items(usize::MAX);
        let pair: Vec<TargetGroupName> =
            items.iter().filter_map(|item| self.claim_one(item)).collect();
        if node.yaml().data.is_sequence() && items.len() != 2 {
            node.mistake(format!("a service has exactly two target groups, found {}", items.len()));
            return None;
        }
        let pair: [TargetGroupName; 2] = pair.try_into().ok()?;
        let empty = |name| self.groups.get(name).is_some_and(|group| group.targets().is_empty());
        if pair.iter().all(empty) {
            node.mistake_with_fix(
                "both target groups are empty, so no request could be answered",
                "give the first one targets",
            );
        }
        Some(pair)
    }

    fn claim_one(&mut self, node: &Node<'_>) -> Option<TargetGroupName> {
        let name: TargetGroupName = node.reference(&self.declared.target_groups)?;
        if let Some(user) = self.users.get(&name) {
            node.mistake(format!("target group {name} is used by {user} already"));
            return None;
        }
        self.users.insert(name.clone(), node.at().to_owned());
        Some(name)
    }
}

fn alarms(node: &Node<'_>, declared: &Declared<'_>) -> Vec<AlarmName> {
    let mut seen = BTreeSet::new();
    let read = |item: &Node<'_>| {
        let name: AlarmName = item.reference(&declared.alarms)?;
        if !seen.insert(name.clone()) {
            item.mistake(format!("alarm {name} is listed twice"));
            return None;
        }
        Some(name)
    };
    node.items(MAX_ALARMS).iter().filter_map(read).collect()
}

fn timeouts(node: &Node<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut fields = node.fields();
    let mut span = |key, default: Span| {
        fields.take(key).and_then(|node| node.span_from(Span::from_ms(1))).unwrap_or(default)
    };
    let timeouts = Timeouts {
        connect: span("connect", default.connect),
        read: span("read", default.read),
        write: span("write", default.write),
        idle: span("idle", default.idle),
        stream_idle: span("stream_idle", default.stream_idle),
        per_try: default.per_try,
        unacknowledged: default.unacknowledged,
    };
    let per_try = fields.take("per_try").and_then(|node| node.span_from(Span::from_ms(1)));
    let unacknowledged = fields.take("unacknowledged").and_then(|node| node.quantity());
    let unacknowledged = unacknowledged.unwrap_or(timeouts.unacknowledged);
    fields.finish();
    Timeouts { per_try, unacknowledged, ..timeouts }
}

/// Takes the entries about streams whose side loses its weight.
fn drain(fields: &mut Fields<'_>) -> DrainPolicy {
    let default = DrainPolicy::default();
    let timeout = fields.take("drain_timeout").and_then(|node| node.quantity());
    let on_rollback = fields.take("streams_on_rollback");
    let on_rollback = on_rollback.and_then(|node| node.word(&STREAMS_ON_ROLLBACK));
    DrainPolicy {
        timeout: timeout.unwrap_or(default.timeout),
        on_rollback: on_rollback.unwrap_or(default.on_rollback),
    }
}

const STREAMS_ON_ROLLBACK: [(&str, StreamsOnRollback); 2] =
    [("drain", StreamsOnRollback::Drain), ("cut", StreamsOnRollback::Cut)];
const BALANCES: [(&str, Balance); 2] =
    [("least_of_two", Balance::LeastOfTwo), ("round_robin", Balance::RoundRobin)];
const PANICS: [(&str, Panic); 2] = [("try_all", Panic::TryAll), ("refuse", Panic::Refuse)];

/// A tenth first, everything after five minutes: cautious without being asked.
const DEFAULT_STRATEGY: &str = "CodeDeployDefault.ECSCanary10Percent5Minutes";

/// What to do instead of asking for a certificate that is never given.
const WITHOUT_CERTIFICATE: &str = "let the step ask for `samples` instead of `evidence` and `promote_early`, or choose another \
     strategy";

/// The most services of a configuration.
const MAX_SERVICES: usize = 1_000;
/// The most alarms of a service.
const MAX_ALARMS: usize = 100;
/// The largest limit of requests in flight at a target.
const MAX_IN_FLIGHT: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{BASE, parse, refuses, with_service};

    #[test]
    fn checks_and_mirrors_speak_whatever_the_targets_do() {
        for group in ["tls: {}", "protocol: h2c", "protocol: h2, tls: {}"] {
            for keys in [
                "health_check: { path: /h }",
                "health_check: { tcp: true }",
                "health_check: { grpc: true }",
                "mirror: { share: 5% }",
            ] {
                let text = with_service(keys);
                let declared = format!("b: {{ targets: [], {group}");
                let text = text.replace("b: { targets: []", &declared);
                assert!(text.contains(group), "{text}");
                parse(&text).expect(&text);
            }
        }
    }

    #[test]
    fn a_service_has_two_declared_groups_of_its_own() {
        let check = |groups: &str, expected: &str| {
            refuses(&BASE.replace("[a, b]", groups), &format!("line 3: services.{expected}"));
        };
        check("[a]", "shop.target_groups: a service has exactly two target groups, found 1");
        check("[]", "shop.target_groups: a service has exactly two target groups, found 0");
        check("[a, b, c]", "shop.target_groups: a service has exactly two target groups, found 3");
        check("a", "shop.target_groups: wanted a list, found the text \"a\"");
        check("[a, e]", "shop.target_groups[1]: unknown target group \"e\"");
        check(
            "[a, a]",
            "shop.target_groups[1]: target group a is used by services.shop.target_groups[0] already",
        );
        check("[c, b]", "shop.target_groups: both target groups are empty");
        check(
            "[a, b] }, more: { target_groups: [c, a]",
            "more.target_groups[1]: target group a is used by services.shop.target_groups[0] already",
        );
        refuses(
            &BASE.replace("target_groups: [a, b]", ""),
            "services.shop: `target_groups` is missing",
        );
    }

    #[test]
    fn a_service_refers_to_what_is_there() {
        let check = |keys: &str, expected: &str| refuses(&with_service(keys), expected);
        check(
            "strategy: CodeDeployDefault.ECSAllAtOne",
            "services.shop.strategy: unknown strategy \"CodeDeployDefault.ECSAllAtOne\"; did you mean \"CodeDeployDefault.ECSAllAtOnce\"?",
        );
        check(
            "alarms: [errors]",
            "services.shop.alarms[0]: unknown alarm \"errors\"; no alarm is declared",
        );
        check(
            "gates: [{ gate: x, at: [before-step] }]",
            "services.shop.gates[0].gate: unknown gate \"x\"; no gate is declared",
        );
        let alarms =
            format!("{}alarms: {{ x: {{ pushed: true }} }}\n", with_service("alarms: [x, x]"));
        refuses(&alarms, "services.shop.alarms[1]: alarm x is listed twice");
    }

    #[test]
    fn a_strategy_may_not_ask_for_a_certificate_that_is_never_given() {
        let text = |keys: &str, asks: &str| {
            let step = format!("{{ weight: 1%, bake: 2m, {asks} }}");
            format!(
                "{}strategies: {{ own: {{ steps: [{step}] }} }}\n",
                with_service(&format!("strategy: own, {keys}"))
            )
        };
        let never = "services.shop.strategy: steps[0] of own wants the comparison's certificate, \
                     which this service never gets: ";
        for asks in ["evidence: pass", "promote_early: true"] {
            refuses(&text("analysis: off", asks), &format!("{never}`analysis` is off"));
            let sticky = text("stickiness: { header: x-user-id }", asks);
            refuses(&sticky, &format!("{never}it has `stickiness`"));
            refuses(&sticky, "; let the step ask for `samples`");
            parse(&text("slo: 99.9%", asks)).unwrap();
        }
        parse(&text("analysis: off", "promote_early: false")).unwrap();
        parse(&text("stickiness: { header: x-user-id }", "samples: 500")).unwrap();
    }

    #[test]
    fn the_smaller_keys_of_a_service_are_checked() {
        let check = |keys: &str, expected: &str| {
            refuses(&with_service(keys), &format!("services.shop.{expected}"));
        };
        check(
            "balance: random",
            "balance: found \"random\", wanted one of least_of_two, round_robin",
        );
        check("panic: yes", "panic: found \"yes\", wanted one of try_all, refuse");
        check("timeouts: { connect: 0s }", "timeouts.connect: 0s is too short: at least 1ms");
        check("timeouts: { reed: 1s }", "timeouts.reed: unknown key; did you mean `read`?");
        check("tell_side: 1", "tell_side: wanted true or false, found the number 1");
        check("slow_start: 30", "slow_start: \"30\" has no unit");
        check("target_limit: -1", "target_limit: wanted a whole number from 0 to 1000000");
        check("colour: red", "colour: unknown key; known here: target_groups,");
        let text = with_service(
            "balance: round_robin, panic: refuse, timeouts: { read: 5s }, tell_side: true",
        );
        let shop = parse(&text).unwrap().services.into_values().next().unwrap();
        assert_eq!(
            (shop.balance, shop.panic, shop.tell_side),
            (Balance::RoundRobin, Panic::Refuse, true)
        );
        assert_eq!(shop.timeouts, Timeouts { read: Span::from_secs(5), ..Timeouts::default() });
    }

    #[test]
    fn a_target_has_no_limit_and_no_slow_start_unless_it_is_given_them() {
        let read = |keys: &str| {
            let shop = parse(&with_service(keys)).unwrap().services.into_values().next().unwrap();
            (shop.target_limit, shop.slow_start)
        };
        assert_eq!(read("tell_side: true"), (None, Span::ZERO));
        assert_eq!(read("target_limit: 0"), (None, Span::ZERO));
        let both = read("target_limit: 1000, slow_start: 30s");
        assert_eq!(both, (Some(1_000), Span::from_secs(30)));
    }

    #[test]
    fn a_service_with_a_mistake_is_not_unknown_to_its_rules() {
        refuses(&with_service("colour: red"), "services.shop.colour: unknown key");
    }

    #[test]
    fn what_happens_to_streams_is_read_and_has_a_default() {
        let read = |keys: &str| {
            let shop = parse(&with_service(keys)).unwrap().services.into_values().next().unwrap();
            (shop.drain, shop.timeouts.stream_idle)
        };
        let default = DrainPolicy { timeout: Span::from_secs(600), ..DrainPolicy::default() };
        assert_eq!(read("tell_side: true"), (default, Span::from_secs(3_600)));
        let given =
            read("drain_timeout: 0s, streams_on_rollback: cut, timeouts: { stream_idle: 5m }");
        let expected = DrainPolicy { timeout: Span::ZERO, on_rollback: StreamsOnRollback::Cut };
        assert_eq!(given, (expected, Span::from_secs(300)));
        let check = |keys: &str, expected: &str| {
            refuses(&with_service(keys), &format!("services.shop.{expected}"));
        };
        check("drain_timeout: 30", "drain_timeout: \"30\" has no unit");
        check(
            "streams_on_rollback: kill",
            "streams_on_rollback: found \"kill\", wanted one of drain, cut",
        );
        check("timeouts: { stream_idle: 0s }", "timeouts.stream_idle: 0s is too short");
    }

    #[test]
    fn how_long_a_target_may_acknowledge_nothing_has_a_default_and_can_be_left_to_the_system() {
        let read = |keys: &str| {
            let shop = parse(&with_service(keys)).unwrap().services.into_values().next().unwrap();
            shop.timeouts.unacknowledged
        };
        assert_eq!(read("tell_side: true"), Span::from_secs(8));
        assert_eq!(read("timeouts: { unacknowledged: 20s }"), Span::from_secs(20));
        assert_eq!(read("timeouts: { unacknowledged: 0s }"), Span::ZERO);
    }
}
