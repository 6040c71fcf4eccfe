//! Cookies as far as stickiness needs them: read without allocating, and one of our own.

use std::fmt;

use http::HeaderMap;
use http::header::COOKIE;

use crate::core::model::IssuedCookie;

/// A cohort key that the proxy issued: 128 random bits in lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CohortId([u8; Self::LENGTH]);

impl CohortId {
    const LENGTH: usize = 32;

    /// The key of a draw that is uniform over all 128-bit numbers.
    #[must_use]
    pub fn from_draw(draw: u128) -> Self {
        let mut text = [0; Self::LENGTH];
        let mut rest = draw;
        for digit in text.iter_mut().rev() {
            let low = usize::try_from(rest & 0xf).expect("four bits fit");
            *digit = b"0123456789abcdef"[low];
            rest >>= 4;
        }
        Self(text)
    }

    /// The key that a client sends back in a cookie of this name; `None` if it sends none that
    /// could have been issued.
    #[must_use]
    pub fn sent_back(headers: &HeaderMap, name: &str) -> Option<Self> {
        let value: [u8; Self::LENGTH] = cookie(headers, name)?.try_into().ok()?;
        let hexadecimal = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        value.iter().all(hexadecimal).then_some(Self(value))
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value of the `Set-Cookie` header that issues it.
    pub(super) fn set_cookie(&self, cookie: &IssuedCookie) -> String {
        format!("{}={self}{}", cookie.name(), cookie.attributes())
    }
}

impl fmt::Display for CohortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("hexadecimal digits are text"))
    }
}

/// The first value of a cookie that is not empty.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    cookies(headers, name).next()
}

/// The values of the cookies of a name that are not empty.
pub(super) fn cookies<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let name = name.as_bytes();
    headers
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|b| *b == b'=')?;
            Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
        })
        .filter(move |(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::CookieAttributes;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, http::HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn finds_a_cookie_among_others() {
        let check = |lines: &[&'static str], expected: Option<&[u8]>| {
            assert_eq!(cookie(&headers(lines), "session"), expected, "{lines:?}");
        };
        check(&["session=a"], Some(b"a"));
        check(&["x=1; session=a; y=2"], Some(b"a"));
        check(&["x=1", "y=2;session = a=b "], Some(b"a=b"));
        check(&["session=; session=b"], Some(b"b"));
        check(&["mysession=a; session"], None);
        check(&[], None);
    }

    #[test]
    fn a_key_is_issued_in_the_cookie_that_the_service_says() {
        let id = CohortId::from_draw(7);
        let key = "00000000000000000000000000000007";
        let plain = format!("tidegate-cohort={key}; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(id.set_cookie(&IssuedCookie::default()), plain);
        let secure = CookieAttributes { secure: true, ..CookieAttributes::default() };
        let name = "__Host-side".parse().expect("valid");
        let cookie = IssuedCookie::new(name, &secure).expect("kept by clients");
        let expected = format!("__Host-side={key}; Path=/; HttpOnly; Secure; SameSite=Lax");
        assert_eq!(id.set_cookie(&cookie), expected);
    }

    #[test]
    fn an_issued_key_comes_back_as_itself_and_nothing_else_does() {
        let id = CohortId::from_draw(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.to_string(), "0123456789abcdef0011223344556677");
        let sent = headers(&["a=b; tidegate-cohort=0123456789abcdef0011223344556677"]);
        assert_eq!(CohortId::sent_back(&sent, "tidegate-cohort"), Some(id));
        assert_eq!(CohortId::sent_back(&sent, "cohort"), None);
        for bad in ["tidegate-cohort=1", "tidegate-cohort=0123456789ABCDEF0011223344556677"] {
            assert_eq!(CohortId::sent_back(&headers(&[bad]), "tidegate-cohort"), None);
        }
    }
}
