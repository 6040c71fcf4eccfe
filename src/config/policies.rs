//! How a service's rollouts are judged and bounded: reactions, floors, final bake, deadlines.

use super::fields::Fields;
use super::node::Node;
use crate::core::model::{
    Deadline, DeadlineAction, Deadlines, FinalBake, HealthFloor, OnMissingEvidence, OnRegression,
    Policies, Span, StrategyError, Weight,
};

/// Takes the policies out of a service's keys.
pub(super) fn policies(fields: &mut Fields<'_>) -> Policies {
    let default = Policies::default();
    let on_regression = fields.take("on_regression").and_then(|node| node.word(&REGRESSION));
    let on_insufficient = fields.take("on_insufficient").and_then(|node| node.word(&INSUFFICIENT));
    let min_green = fields.take("min_green").and_then(|node| node.count(0..=MAX_SAMPLES));
    let health_floor = fields.take("health_floor").as_ref().map(health_floor);
    let start_node = fields.take("start_healthy");
    let start_healthy = start_node.as_ref().and_then(|node| node.quantity::<Weight>());
    let floor = health_floor.unwrap_or_default().green;
    if let (Some(start), Some(node)) = (start_healthy, &start_node)
        && start < floor
    {
        node.mistake_with_fix(
            format!("{start} is below `health_floor.green`, which is {floor}"),
            "a rollout that went on with so few healthy targets would be a regression at once",
        );
    }
    let final_bake = fields.take("final_bake").as_ref().and_then(final_bake);
    let deadlines = fields.take("deadlines").as_ref().map(deadlines);
    Policies {
        on_regression: on_regression.unwrap_or_default(),
        on_insufficient: on_insufficient.unwrap_or_default(),
        min_green: min_green.map_or(default.min_green, u64::from),
        health_floor: health_floor.unwrap_or_default(),
        start_healthy: start_healthy.unwrap_or(default.start_healthy),
        final_bake: final_bake.unwrap_or_default(),
        deadlines: deadlines.unwrap_or_default(),
    }
}

/// Reads a final bake, of a service or a strategy.
pub(super) fn final_bake(node: &Node<'_>) -> Option<FinalBake> {
    let mut fields = node.fields();
    let length = fields.require("for").and_then(|node| node.quantity::<Span>());
    let keep_blue = fields.take("keep_blue").and_then(|node| {
        let found = node.quantity::<Weight>()?;
        if found == Weight::ZERO || found == Weight::FULL {
            node.mistake(StrategyError::KeepBlue { found }.to_string());
            return None;
        }
        Some(found)
    });
    fields.finish();
    Some(FinalBake { length: length?, keep_blue })
}

fn health_floor(node: &Node<'_>) -> HealthFloor {
    let default = HealthFloor::default();
    let mut fields = node.fields();
    let mut floor = |key| fields.take(key).and_then(|node| node.quantity::<Weight>());
    let (green, blue) = (floor("green"), floor("blue"));
    fields.finish();
    HealthFloor { green: green.unwrap_or(default.green), blue: blue.unwrap_or(default.blue) }
}

fn deadlines(node: &Node<'_>) -> Deadlines {
    let default = Deadlines::default();
    let mut fields = node.fields();
    let mut one =
        |key, default: Deadline| fields.take(key).map_or(default, |node| deadline(&node, default));
    let deadlines = Deadlines {
        created: one("created", default.created),
        installing: one("installing", default.installing),
        testing: one("testing", default.testing),
        ready: one("ready", default.ready),
        hold: one("hold", default.hold),
        whole: one("whole", default.whole),
    };
    fields.finish();
    deadlines
}

fn deadline(node: &Node<'_>, default: Deadline) -> Deadline {
    let mut fields = node.fields();
    let after = fields.take("after").and_then(|node| node.span_from(Span::from_secs(1)));
    let action = fields.take("action").and_then(|node| node.word(&ACTIONS));
    fields.finish();
    Deadline { after: after.unwrap_or(default.after), action: action.unwrap_or(default.action) }
}

/// The most samples that can be asked for.
pub(super) const MAX_SAMPLES: u32 = 1_000_000_000;

const REGRESSION: [(&str, OnRegression); 3] = [
    ("rollback", OnRegression::Rollback),
    ("freeze", OnRegression::Freeze),
    ("notify", OnRegression::Notify),
];
const INSUFFICIENT: [(&str, OnMissingEvidence); 3] = [
    ("hold", OnMissingEvidence::Hold),
    ("promote", OnMissingEvidence::Promote),
    ("rollback", OnMissingEvidence::Rollback),
];
const ACTIONS: [(&str, DeadlineAction); 3] = [
    ("rollback", DeadlineAction::Rollback),
    ("stop", DeadlineAction::Stop),
    ("fail", DeadlineAction::Fail),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};

    fn read(keys: &str) -> Policies {
        parse(&with_service(keys)).unwrap().services.into_values().next().unwrap().policies
    }

    #[test]
    fn policies_are_read_and_default_to_the_safe_ones() {
        assert_eq!(read("min_green: 1"), Policies::default());
        let found = read(
            "min_green: 0, on_regression: freeze, on_insufficient: promote, health_floor: { blue: 10% }, start_healthy: 75%",
        );
        assert_eq!((found.min_green, found.on_regression), (0, OnRegression::Freeze));
        assert_eq!(found.on_insufficient, OnMissingEvidence::Promote);
        assert_eq!(found.health_floor.blue.to_string(), "10%");
        assert_eq!(found.health_floor.green, HealthFloor::default().green);
        assert_eq!(found.start_healthy.to_string(), "75%");
        let bake = read("final_bake: { for: 15m, keep_blue: 50% }").final_bake;
        assert_eq!(bake, FinalBake { length: Span::from_mins(15), keep_blue: "50%".parse().ok() });
    }

    #[test]
    fn a_deadline_keeps_what_is_not_written() {
        let found =
            read("deadlines: { installing: { after: 5m }, hold: { action: stop } }").deadlines;
        let default = Deadlines::default();
        assert_eq!(found.installing, Deadline { after: Span::from_mins(5), ..default.installing });
        assert_eq!(found.hold, Deadline { action: DeadlineAction::Stop, ..default.hold });
        assert_eq!(found.whole, default.whole);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let check = |keys: &str, expected: &str| {
            refuses(&with_service(keys), &format!("line 3: services.shop.{expected}"));
        };
        check(
            "on_regression: rolback",
            "on_regression: found \"rolback\", wanted one of rollback, freeze, notify; did you mean \"rollback\"?",
        );
        check(
            "on_insufficient: true",
            "on_insufficient: wanted a text, found true; put it in quotes",
        );
        check("min_green: some", "min_green: wanted a whole number from 0");
        check("min_green: -1", "min_green: wanted a whole number from 0");
        check("health_floor: 50%", "health_floor: wanted a mapping, found the text \"50%\"");
        check(
            "health_floor: { green: 50 }",
            "health_floor.green: \"50\" has no unit: a weight is written in percent",
        );
        check(
            "health_floor: { gren: 50% }",
            "health_floor.gren: unknown key; did you mean `green`?",
        );
        check("start_healthy: 101%", "start_healthy: weight 10100 is above 10000");
        check(
            "start_healthy: 25%",
            "start_healthy: 25% is below `health_floor.green`, which is 50%; a rollout that went",
        );
        check(
            "start_healthy: 75%, health_floor: { green: 80% }",
            "start_healthy: 75% is below `health_floor.green`, which is 80%",
        );
        check("final_bake: {}", "final_bake: `for` is missing");
        check("final_bake: { for: 15 }", "final_bake.for: \"15\" has no unit: a duration");
        check(
            "final_bake: { for: 15m, keep_blue: 100% }",
            "final_bake.keep_blue: keep_blue is above 0% and below 100%",
        );
        check(
            "deadlines: { ready: { after: 0s } }",
            "deadlines.ready.after: 0s is too short: at least 1s",
        );
        check("deadlines: { ready: { action: abort } }", "deadlines.ready.action: found \"abort\"");
        check("deadlines: { reddy: {} }", "deadlines.reddy: unknown key; did you mean `ready`?");
    }
}
