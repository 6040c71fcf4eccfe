//! Which side a key gets.

use std::sync::Arc;

use serde_json::json;

use super::harness::{Api, rollout, rollout_id};
use crate::admin::json::Explanation;
use crate::control::RollbackOf;
use crate::core::model::{IssuedCookie, Salt, Side, Stickiness, StickyFallback};
use crate::core::routing::{address_position, cohort_position, side_at};

const PATH: &str = "/v1/services/shop/explain";

#[tokio::test]
async fn a_key_gets_the_side_of_its_position() {
    let api = Api::start().await;
    let sticky = |fallback| {
        Some(Stickiness {
            header: Some("x-user-id".to_owned()),
            cookie: None,
            fallback,
            issued: IssuedCookie::default(),
        })
    };
    api.change_view(|view| {
        let shop = view.services.values_mut().next().expect("a service");
        shop.stickiness = sticky(StickyFallback::ClientAddress);
    });
    let salt = Salt { k0: 1, k1: 2 };
    let mut sides = Vec::new();
    for number in 0..200 {
        let answer = api.send("GET", &format!("{PATH}?key=user%20{number}"), "").await;
        let found: Explanation = serde_json::from_str(&answer.body).expect("an explanation");
        let position = cohort_position(salt, format!("user {number}").as_bytes());
        assert_eq!(found.position, position);
        assert_eq!(found.weight.green_bp, 1_000);
        assert_eq!(found.side, side_at(found.weight.green, position));
        assert!(found.sentence.ends_with(&format!(" green's 1000 (10%): {}", found.side)));
        assert_eq!((found.rollout, found.note, found.steps.len()), (None, None, 0));
        sides.push(found.side);
    }
    assert!(sides.contains(&Side::Blue) && sides.contains(&Side::Green));
    for address in ["192.0.2.7", "::ffff:192.0.2.7"] {
        let found = api.send("GET", &format!("{PATH}?address={address}"), "").await.json();
        let position = address_position(salt, "192.0.2.7".parse().expect("valid"));
        assert_eq!(found["position"], json!(position));
    }
    api.change_view(|view| {
        let shop = view.services.values_mut().next().expect("a service");
        shop.stickiness = sticky(StickyFallback::IssuedCookie);
    });
    let found = api.send("GET", &format!("{PATH}?address=192.0.2.7"), "").await.json();
    assert!(found["note"].as_str().is_some_and(|note| note.contains("client's address")));
}

#[tokio::test]
async fn a_service_that_draws_says_so() {
    let api = Api::start().await;
    let found = api.send("GET", &format!("{PATH}?key=a"), "").await.json();
    assert!(found["note"].as_str().is_some_and(|note| note.contains("drawn")), "{found}");
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_with_a_reason() {
    let api = Api::start().await;
    let check = async |query: &str, status: u16, code: &str| {
        let answer = api.send("GET", &format!("{PATH}{query}"), "").await;
        assert_eq!(answer.problem(status), code, "{query}");
        answer.json()
    };
    check("", 400, "bad_query").await;
    check("?key=", 400, "bad_query").await;
    check("?key=a&address=192.0.2.1", 400, "bad_query").await;
    check("?address=here", 400, "bad_query").await;
    check("?key=a&side=green", 400, "bad_query").await;
    check("?key=a&rollout=d-ZZZZZZZZZ", 404, "no_such_rollout").await;
    let unknown = api.send("GET", "/v1/services/x/explain?key=a", "").await;
    assert_eq!(unknown.problem(404), "no_such_service");

    let rollback: crate::core::model::RolloutId = "d-BBBBBBBBB".parse().expect("valid");
    api.change_view(|view| {
        let mut added = rollout(rollback.clone(), 1);
        added.link = RollbackOf::RollbackOf(rollout_id());
        view.rollouts.insert(rollback.clone(), Arc::new(added));
    });
    let problem = check("?key=a&rollout=d-BBBBBBBBB", 409, "no_cohorts").await;
    assert!(problem["fix"].as_str().is_some_and(|fix| fix.contains("d-ABCDEFGHI")), "{problem}");

    let other = "blog".parse().expect("valid");
    api.change_view(|view| {
        let mut added = rollout(rollback.clone(), 1);
        added.service = other;
        view.rollouts.insert(rollback.clone(), Arc::new(added));
    });
    check("?key=a&rollout=d-BBBBBBBBB", 404, "no_such_rollout").await;
}
