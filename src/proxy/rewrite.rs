//! What a rule does to requests on their way to a target, and to answers on their way back.

use http::header::HOST;
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::core::model::{HostPolicy, RuleActions};
use crate::core::routing::LiveTarget;

/// Changes a request, whose target is in origin form, for the target that is tried.
pub(super) fn request(
    request: &mut RequestHeader,
    actions: &RuleActions,
    target: &LiveTarget,
) -> Result<()> {
    if let Some(stripped) = actions.stripped(request.raw_path()) {
        request.set_raw_path(&stripped)?;
    }
    match &actions.host {
        HostPolicy::Preserve => {}
        HostPolicy::Target => request.insert_header(HOST, target.address().to_string())?,
        HostPolicy::Literal(host) => request.insert_header(HOST, host.as_str())?,
    }
    let edits = &actions.request_headers;
    for name in &edits.remove {
        request.remove_header(name.as_str());
    }
    for (name, value) in &edits.set {
        request.insert_header(name.to_string(), value.as_str())?;
    }
    Ok(())
}

/// Changes a target's answer.
pub(super) fn response(response: &mut ResponseHeader, actions: &RuleActions) -> Result<()> {
    let edits = &actions.response_headers;
    for name in &edits.remove {
        response.remove_header(name.as_str());
    }
    for (name, value) in &edits.set {
        response.insert_header(name.to_string(), value.as_str())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testkit::{Act, Origin, World, field, named_rule, service, table_with};
    use super::*;
    use crate::core::model::ClientLimits;
    use crate::core::model::{
        EditableField, FieldValue, HeaderEdits, IssuedCookie, PathMatch, Stickiness,
        StickyFallback, WhenIdle,
    };
    use crate::core::routing::ServiceRoute;

    fn edits(set: &[(&str, &str)], remove: &[&str]) -> HeaderEdits {
        let name = |text: &str| text.parse::<EditableField>().expect("valid");
        let value = |text: &str| text.parse::<FieldValue>().expect("valid");
        HeaderEdits {
            set: set.iter().map(|(field, text)| (name(field), value(text))).collect(),
            remove: remove.iter().map(|field| name(field)).collect(),
        }
    }

    /// A world whose only rule takes paths below `/api`.
    fn world(route: ServiceRoute, actions: RuleActions) -> World {
        let mut rule = named_rule("shop.test");
        rule.matched.path = PathMatch::prefix("/api").expect("valid");
        rule.actions = Arc::new(actions);
        World::with(table_with(&[rule], route, WhenIdle::Blue), ClientLimits::default())
    }

    #[tokio::test]
    async fn targets_see_the_path_without_its_prefix_and_with_its_query() {
        let origin = Origin::saying("fine").await;
        let actions =
            RuleActions { strip_prefix: Some("/api".to_owned()), ..RuleActions::default() };
        let world = world(service(0, &[origin.address], &[]), actions);
        let mut client = world.client().await;
        for (sent, expected) in [
            ("/api", "/"),
            ("/api/a%20b?c=/api", "/a%20b?c=/api"),
            ("/api?c", "/?c"),
            ("http://shop.test/api/x?y", "/x?y"),
        ] {
            client.get(sent, "").await;
            let seen = origin.seen().pop().expect("seen");
            let line = format!("GET {expected} HTTP/1.1");
            assert_eq!(seen.lines().next(), Some(line.as_str()), "{sent}");
        }
    }

    #[tokio::test]
    async fn targets_see_the_host_that_the_rule_says() {
        let origin = Origin::saying("fine").await;
        let address = origin.address.to_string();
        for (host, expected) in [
            (HostPolicy::Preserve, "shop.test"),
            (HostPolicy::Target, address.as_str()),
            (HostPolicy::Literal("inner.test:81".to_owned()), "inner.test:81"),
        ] {
            let actions = RuleActions { host, ..RuleActions::default() };
            let world = world(service(0, &[origin.address], &[]), actions);
            world.client().await.get("/api", "").await;
            let seen = origin.seen().pop().expect("seen");
            assert_eq!(field(&seen, "host"), Some(expected), "{seen}");
            assert_eq!(field(&seen, "x-forwarded-host"), Some("shop.test"), "{seen}");
        }
    }

    #[tokio::test]
    async fn fields_are_set_and_removed_in_both_directions() {
        let reply = "HTTP/1.1 200 OK\r\nconnection: x-frame\r\nserver: old\r\nx-b: 1\r\nx-b: 2\r\n\
            set-cookie: a=b\r\ncontent-length: 2\r\n\r\nok";
        let origin = Origin::new(move |_, _| vec![Act::Send(reply.to_owned())]).await;
        let mut route = service(0, &[origin.address], &[]);
        let fallback = StickyFallback::IssuedCookie;
        let issued = IssuedCookie::default();
        route.stickiness = Some(Stickiness { header: None, cookie: None, fallback, issued });
        let actions = RuleActions {
            request_headers: edits(&[("x-a", "set")], &["authorization", "x-gone"]),
            response_headers: edits(
                &[("x-b", "3"), ("x-frame", "DENY")],
                &["server", "set-cookie"],
            ),
            ..RuleActions::default()
        };
        let world = world(route, actions);
        let fields = "x-a: mine\r\nX-A: too\r\nAuthorization: secret\r\nx-kept: 1\r\n";
        let answer = world.client().await.get("/api", fields).await;
        let seen = origin.seen().remove(0);
        let lines = |text: &str, name: &str| -> Vec<String> {
            let wanted = format!("{name}:");
            let lines = text.lines().map(str::to_ascii_lowercase);
            lines.filter(|line| line.starts_with(&wanted)).collect()
        };
        assert_eq!(lines(&seen, "x-a"), ["x-a: set"]);
        assert_eq!(field(&seen, "authorization"), None);
        assert_eq!(field(&seen, "x-kept"), Some("1"));
        assert_eq!(lines(&answer, "x-b"), ["x-b: 3"]);
        assert_eq!(field(&answer, "x-frame"), Some("DENY"), "a target cannot name it hop-by-hop");
        assert_eq!(field(&answer, "server"), None);
        let cookies = lines(&answer, "set-cookie");
        assert_eq!(cookies.len(), 1, "the proxy's own alone: {cookies:?}");
        assert!(cookies[0].starts_with("set-cookie: tidegate-cohort="), "{cookies:?}");
    }
}
