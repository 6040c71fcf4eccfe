//! Who comes in, and how anything that is not a route is turned away.

use http::Method;

use super::harness::Api;
use crate::admin::Role;
use crate::admin::routes::table;
use crate::admin::throttle::Throttle;
use crate::control::{HealthView, StoreState};

fn concrete(path: &str) -> String {
    path.replace("{service}", "shop")
        .replace("{rollout}", "d-ABCDEFGHI")
        .replace("{group}", "shop-b")
        .replace("{alarm}", "errors")
}

#[tokio::test]
async fn every_route_but_the_probes_wants_a_token() {
    let mut refused = 0;
    for route in table() {
        // A new API for each, so that the limit of attempts is not what is seen.
        let api = Api::start().await;
        let (method, path) = (route.method.as_str(), concrete(route.path));
        if route.needs.is_none() {
            assert_eq!(api.raw(method, &path, &[], "").await.status, 200, "{path}");
            continue;
        }
        for headers in [&[][..], &[("authorization", "Bearer tg_wrong")]] {
            let answer = api.raw(method, &path, headers, "").await;
            assert_eq!(answer.problem(401), "unauthenticated", "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(answer.json()["fix"].is_string());
            refused += 1;
        }
        assert_eq!(api.requests(), 0, "{method} {path}");
    }
    assert_eq!(refused, 2 * (table().len() - 2));
}

#[tokio::test]
async fn every_route_asks_whether_the_role_may() {
    let all =
        [Role::Viewer, Role::Deployer, Role::Approver, Role::Operator, Role::Admin, Role::Notifier];
    for role in all {
        let api = Api::start_as(role).await;
        for route in table() {
            let Some(needs) = route.needs else { continue };
            let answer = api.send(route.method.as_str(), &concrete(route.path), "[]").await;
            let may = answer.status != 403;
            assert_eq!(may, role.may(needs), "{role} {} {}", route.method, route.path);
            if !may {
                assert_eq!(answer.problem(403), "forbidden");
            }
        }
    }
}

#[tokio::test]
async fn after_ten_wrong_tokens_in_a_minute_a_peer_is_told_to_wait_but_the_right_one_passes() {
    let api = Api::start().await;
    let wrong = [("authorization", "Bearer tg_wrong")];
    for _ in 0..Throttle::LIMIT {
        api.raw("GET", "/v1/services", &wrong, "").await.problem(401);
    }
    let answer = api.raw("GET", "/v1/services", &wrong, "").await;
    assert_eq!(answer.problem(429), "too_many_attempts");
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(api.send("GET", "/v1/services", "").await.status, 200);
}

#[tokio::test]
async fn what_is_no_route_is_told_as_a_problem() {
    let api = Api::start().await;
    assert_eq!(api.send("GET", "/v1/nothing", "").await.problem(404), "no_such_route");
    assert_eq!(api.send("GET", "/", "").await.problem(404), "no_such_route");
    assert_eq!(api.raw("GET", "/v1/nothing", &[], "").await.problem(401), "unauthenticated");
    for (method, path) in [
        ("DELETE", "/v1/services"),
        ("GET", "/v1/services/shop/split"),
        ("PUT", "/v1/rollouts/d-ABCDEFGHI/abort"),
        ("POST", "/livez"),
    ] {
        let answer = api.send(method, path, "").await;
        assert_eq!(answer.problem(405), "wrong_method", "{method} {path}");
        assert!(answer.header("allow").is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused() {
    let api = Api::start().await;
    let bearer = format!("Bearer {}", api.token);
    let with = |host| [("host", host), ("authorization", bearer.as_str())];
    for host in ["evil.example", "evil.example:7070", ""] {
        let answer = api.raw("GET", "/v1/services", &with(host), "").await;
        assert_eq!(answer.problem(421), "wrong_host", "{host}");
    }
    assert_eq!(api.raw("GET", "/v1/services", &with("localhost:1"), "").await.status, 200);
    let absolute = api.raw("GET", "http://evil.example/v1/services", &with("localhost"), "").await;
    assert_eq!(absolute.problem(421), "wrong_host");
}

#[tokio::test]
async fn no_answer_may_be_kept_in_a_cache_or_read_by_a_foreign_page() {
    let api = Api::start().await;
    for path in ["/livez", "/v1/services", "/v1/nothing"] {
        let origin = [("origin", "http://evil.example")];
        let answer = api.send_with("GET", path, &origin, "").await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn it_is_ready_once_every_target_was_probed() {
    let api = Api::start().await;
    api.change_view(|view| view.health = HealthView::Starting);
    let answer = api.raw("GET", "/readyz", &[], "").await;
    assert_eq!((answer.status, &answer.json()["status"]), (503, &"starting".into()));
    api.change_view(|view| {
        view.health = HealthView::Settled;
        view.store = StoreState::Unreadable("newer".to_owned());
    });
    let answer = api.raw("GET", "/readyz", &[], "").await;
    assert_eq!((answer.status, &answer.json()["store"]), (200, &"unreadable".into()));
}

#[tokio::test]
async fn a_writer_that_does_not_come_round_is_stuck_and_the_process_lives() {
    let api = Api::start().await;
    assert_eq!(api.raw("GET", "/readyz", &[], "").await.status, 200);
    api.handle.fall_silent();
    for health in [HealthView::Starting, HealthView::Settled] {
        api.change_view(|view| view.health = health);
        let answer = api.raw("GET", "/readyz", &[], "").await;
        assert_eq!((answer.status, &answer.json()["status"]), (503, &"stuck".into()));
    }
    assert_eq!(api.raw("GET", "/livez", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_shutdown_ends_the_server() {
    let api = Api::start().await;
    assert_eq!(api.raw("GET", "/livez", &[], "").await.status, 200);
    api.stop().await;
}

#[test]
fn no_route_that_changes_anything_is_open_to_viewers() {
    for route in table() {
        let reads = route.needs.is_none_or(|needs| Role::Viewer.may(needs));
        // What gates were told by others is not for everybody who may look.
        let is_told = route.path.ends_with("/gate-calls");
        assert_eq!(reads, route.method == Method::GET && !is_told, "{}", route.path);
    }
}
