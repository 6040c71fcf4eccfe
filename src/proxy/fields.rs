//! A request's header as rules and conditions ask about it.

use http::HeaderMap;

use crate::core::model::RequestFields;

use super::cookie::cookies;

impl RequestFields for HeaderMap {
    fn has_header(&self, name: &str, value: Option<&[u8]>) -> bool {
        let same = |found: &[u8]| value.is_none_or(|wanted| found == wanted);
        self.get_all(name).into_iter().any(|found| same(found.as_bytes()))
    }

    fn has_cookie(&self, name: &str, value: Option<&[u8]>) -> bool {
        cookies(self, name).any(|found| value.is_none_or(|wanted| found == wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn any_line_of_a_header_and_any_cookie_of_a_name_will_do() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-tenant", "silver"),
            ("x-tenant", "gold"),
            ("cookie", "beta=0"),
            ("cookie", "beta=1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert!(headers.has_header("x-tenant", Some(b"gold")));
        assert!(headers.has_header("x-tenant", None));
        assert!(!headers.has_header("x-tenant", Some(b"Gold")));
        assert!(!headers.has_header("x-other", None));
        assert!(headers.has_cookie("beta", Some(b"1")));
        assert!(headers.has_cookie("beta", None));
        assert!(!headers.has_cookie("beta", Some(b"2")));
        assert!(!headers.has_cookie("Beta", None));
    }
}
