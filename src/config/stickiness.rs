//! `stickiness`: what keeps a user on a side.

use super::issued_cookie::issued_cookie;
use super::node::{Node, shorten};
use crate::core::model::{IssuedCookie, Stickiness, StickyFallback};

/// Reads the section.
pub(super) fn stickiness(node: &Node<'_>) -> Stickiness {
    let mut fields = node.fields();
    let mut token = |key| fields.take(key).and_then(|node| node.checked(token));
    let header = token("header").map(|name| name.to_ascii_lowercase());
    let cookie = token("cookie");
    let fallback = fields.take("fallback").and_then(|node| node.word(&FALLBACKS));
    let fallback = fallback.unwrap_or_default();
    let issued = fields.take("issued");
    fields.finish();
    let issued = issued.map_or_else(IssuedCookie::default, |node| match fallback {
        StickyFallback::IssuedCookie => issued_cookie(&node, cookie.as_deref()),
        StickyFallback::ClientAddress => {
            node.mistake_with_fix(
                "nothing is issued with `fallback: client_address`",
                "leave the key out",
            );
            IssuedCookie::default()
        }
    });
    Stickiness { header, cookie, fallback, issued }
}

/// The name of a header or cookie: a token of RFC 9110, section 5.6.2.
pub(super) fn token(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("{:?} is not the name of a header or cookie", shorten(text)))
    }
}

const FALLBACKS: [(&str, StickyFallback); 2] = [
    ("issued_cookie", StickyFallback::IssuedCookie),
    ("client_address", StickyFallback::ClientAddress),
];
const MAX_TOKEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};

    #[test]
    fn stickiness_is_read_with_the_header_in_lower_case() {
        let check = |text: &str, header: Option<&str>, cookie: Option<&str>, fallback| {
            let config = parse(&with_service(&format!("stickiness: {text}"))).unwrap();
            let (header, cookie) = (header.map(str::to_owned), cookie.map(str::to_owned));
            let issued = IssuedCookie::default();
            let expected = Some(Stickiness { header, cookie, fallback, issued });
            assert_eq!(config.services.into_values().next().unwrap().stickiness, expected);
        };
        check("{}", None, None, StickyFallback::IssuedCookie);
        check(
            "{ header: X-User-Id, cookie: Session }",
            Some("x-user-id"),
            Some("Session"),
            StickyFallback::IssuedCookie,
        );
        check("{ fallback: client_address }", None, None, StickyFallback::ClientAddress);
    }

    #[test]
    fn what_cannot_be_a_header_or_cookie_is_refused() {
        let check = |text: &str, expected: &str| {
            refuses(
                &with_service(&format!("stickiness: {text}")),
                &format!("services.shop.stickiness{expected}"),
            );
        };
        check("{ header: 'x y' }", ".header: \"x y\" is not the name of a header");
        check("{ cookie: '' }", ".cookie: \"\" is not the name");
        check(
            "{ fallback: cookie }",
            ".fallback: found \"cookie\", wanted one of issued_cookie, client_address",
        );
        check("{ headers: x }", ".headers: unknown key; did you mean `header`?");
    }
}
