//! `stickiness.issued`: the cookie in which cohort keys are handed out.

use super::node::Node;
use crate::core::model::{CookieAttributes, CookieError, CookieName, IssuedCookie, SameSite, Span};

/// Reads the section; `key` is the cookie that is the cohort key, if there is one.
pub(super) fn issued_cookie(node: &Node<'_>, key: Option<&str>) -> IssuedCookie {
    let mut fields = node.fields();
    let name = fields.take("name");
    let max_age = fields.take("max_age").and_then(|node| node.span_from(Span::from_secs(1)));
    let path = fields.take("path").and_then(|node| node.parsed());
    let domain = fields.take("domain").and_then(|node| node.parsed());
    let secure = fields.take("secure").and_then(|node| node.flag());
    let same_site = fields.take("same_site");
    fields.finish();
    let attributes = CookieAttributes {
        max_age,
        path: path.unwrap_or_default(),
        domain,
        secure: secure.unwrap_or(false),
        same_site: same_site.as_ref().and_then(|node| node.word(&SAME_SITE)).unwrap_or_default(),
    };
    let named = name.as_ref().and_then(|node| node.parsed::<CookieName>()).unwrap_or_default();
    if let Some(node) = name.as_ref().filter(|_| key == Some(named.as_str())) {
        node.mistake(format!("{named} is the service's own cookie, which this would overwrite"));
    }
    IssuedCookie::new(named, &attributes).unwrap_or_else(|error| {
        let place = match error {
            CookieError::SameSite => &same_site,
            CookieError::SecureName | CookieError::HostName => &name,
        };
        place.as_ref().unwrap_or(node).mistake(error.to_string());
        IssuedCookie::default()
    })
}

const SAME_SITE: [(&str, SameSite); 3] =
    [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};

    fn read(keys: &str) -> IssuedCookie {
        let config = parse(&with_service(&format!("stickiness: {{ {keys} }}"))).unwrap();
        config.services.into_values().next().unwrap().stickiness.unwrap().issued
    }

    #[test]
    fn attributes_are_read_and_default_to_the_plain_cookie() {
        assert_eq!(read(""), IssuedCookie::default());
        assert_eq!(read("issued: {}"), IssuedCookie::default());
        let found = read(
            "issued: { name: __Secure-side, max_age: 30d, path: /shop, domain: example.com, secure: true, same_site: none }",
        );
        assert_eq!(found.name(), "__Secure-side");
        assert_eq!(
            found.attributes(),
            "; Path=/shop; Domain=example.com; Max-Age=2592000; HttpOnly; Secure; SameSite=None"
        );
    }

    #[test]
    fn what_clients_would_drop_or_read_otherwise_is_refused() {
        let check = |keys: &str, expected: &str| {
            refuses(
                &with_service(&format!("stickiness: {{ {keys} }}")),
                &format!("line 3: services.shop.stickiness.issued{expected}"),
            );
        };
        check(
            "issued: { same_site: none }",
            ".same_site: `same_site: none` needs `secure: true`: clients drop the cookie",
        );
        check("issued: { name: __Host-x }", ".name: a name with `__Host-` needs");
        check("issued: { name: 'a b' }", ".name: \"a b\" is not the name of a header or cookie");
        check("issued: { max_age: 500ms }", ".max_age: 500ms is too short: at least 1s");
        check("issued: { path: '/; Secure' }", ".path: \"/; Secure\" is not a cookie's path");
        check("issued: { domain: .a.test }", ".domain: \".a.test\" is not a cookie's domain");
        check("issued: { same_site: Lax }", ".same_site: found \"Lax\", wanted one of lax");
        check("issued: { max-age: 1d }", ".max-age: unknown key; did you mean `max_age`?");
        check(
            "cookie: session, issued: { name: session }",
            ".name: session is the service's own cookie",
        );
        check(
            "fallback: client_address, issued: {}",
            ": nothing is issued with `fallback: client_address`; leave the key out",
        );
    }
}
