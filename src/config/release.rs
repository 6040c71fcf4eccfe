//! `green_for` and `exclude_from_evidence`: the traffic that a release treats apart.

use super::fields::Fields;
use super::node::Node;
use super::wanted::wanted;
use crate::core::model::{GreenFor, PathMatch, ReleaseTraffic, Wanted};

/// Takes the traffic that a release treats apart out of a service's keys.
pub(super) fn release(fields: &mut Fields<'_>) -> ReleaseTraffic {
    let green_for = fields.take("green_for").as_ref().map(green_for);
    let excluded = fields.take("exclude_from_evidence").as_ref().map(excluded);
    ReleaseTraffic {
        green_for: green_for.unwrap_or_default(),
        excluded: excluded.unwrap_or_default(),
    }
}

fn green_for(node: &Node<'_>) -> GreenFor {
    let mut fields = node.fields();
    let headers = fields.take("headers");
    let cookies = fields.take("cookies");
    fields.finish();
    let mapping = &node.yaml().data;
    if mapping.is_mapping() && mapping.is_empty_collection() {
        node.mistake("one of `headers`, `cookies` is missing");
    }
    GreenFor {
        headers: headers.and_then(|node| wanted(&node, Wanted::of_header)).unwrap_or_default(),
        cookies: cookies.and_then(|node| wanted(&node, Wanted::of_cookie)).unwrap_or_default(),
    }
}

fn excluded(node: &Node<'_>) -> Vec<PathMatch> {
    let mut excluded = Vec::new();
    for item in node.items(MAX_EXCLUDED) {
        match item.checked(ReleaseTraffic::exclusion) {
            Some(path) if path == PathMatch::any() => {
                item.mistake("without any evidence no release could be judged");
            }
            Some(path) if excluded.contains(&path) => item.mistake("is listed twice"),
            Some(path) => excluded.push(path),
            None => {}
        }
    }
    excluded
}

/// The most paths of a service that are no evidence.
const MAX_EXCLUDED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};

    fn read(keys: &str) -> ReleaseTraffic {
        let config = parse(&with_service(keys)).unwrap();
        ReleaseTraffic::clone(&config.services.into_values().next().unwrap().release)
    }

    #[test]
    fn conditions_and_exclusions_are_read_and_default_to_none() {
        assert_eq!(read("tell_side: true"), ReleaseTraffic::default());
        let found = read(
            "green_for: { headers: { X-Tidegate-Side: green, x-test-user: '*' }, cookies: { Beta: '1' } }, exclude_from_evidence: [/healthz, /static/]",
        );
        let headers: Vec<String> =
            found.green_for.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(headers, ["x-test-user=*", "x-tidegate-side=green"]);
        let cookies: Vec<String> =
            found.green_for.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(cookies, ["Beta=1"]);
        let exact = PathMatch::exact("/healthz").unwrap();
        assert_eq!(found.excluded, [exact, PathMatch::prefix("/static/").unwrap()]);
    }

    #[test]
    fn conditions_and_exclusions_that_say_nothing_or_too_much_are_refused() {
        let check = |keys: &str, expected: &str| {
            refuses(&with_service(keys), &format!("line 3: services.shop.{expected}"));
        };
        check("green_for: {}", "green_for: one of `headers`, `cookies` is missing");
        check("green_for: { headers: {} }", "green_for.headers: wanted at least one name");
        check("green_for: { header: { a: b } }", "green_for.header: unknown key");
        check("green_for: { cookies: { beta: 1 } }", "green_for.cookies.beta: wanted a text");
        check(
            "green_for: { cookies: { beta: 'a;b' } }",
            "green_for.cookies.beta: \"a;b\" is not a cookie's value",
        );
        check("exclude_from_evidence: /x", "exclude_from_evidence: wanted a list");
        check("exclude_from_evidence: [x]", "exclude_from_evidence[0]: \"x\" is not a path");
        check("exclude_from_evidence: [/]", "exclude_from_evidence[0]: without any evidence");
        check("exclude_from_evidence: [/x, /x]", "exclude_from_evidence[1]: is listed twice");
    }
}
