//! The cookie in which a cohort key is handed out.
//!
//! A client that drops the cookie is drawn anew with every request, so that what clients are known
//! to drop is refused here.

use serde::{Deserialize, Serialize};

use super::{CookieDomain, CookieName, CookiePath, Span};

/// The reason why clients would drop a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// `SameSite=None` without `Secure`.
    #[error("`same_site: none` needs `secure: true`: clients drop the cookie without it")]
    SameSite,
    /// A name that begins with `__Secure-`, without `Secure`.
    #[error("a name with `__Secure-` needs `secure: true`: clients drop the cookie without it")]
    SecureName,
    /// A name that begins with `__Host-`, without what that asks for.
    #[error(
        "a name with `__Host-` needs `secure: true`, the path / and no domain: clients drop the cookie without them"
    )]
    HostName,
}

/// Which requests from other sites carry a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Links that are followed.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All.
    None,
}

/// What a client is told to do with a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieAttributes {
    /// How long it is kept, in whole seconds; `None` keeps it until the client is closed.
    pub max_age: Option<Span>,
    /// For which paths.
    pub path: CookiePath,
    /// For which domain and what is below it; `None` is the very host that issued it.
    pub domain: Option<CookieDomain>,
    /// Whether it travels over TLS alone.
    pub secure: bool,
    /// Which requests from other sites carry it.
    pub same_site: SameSite,
}

impl CookieAttributes {
    /// What stands behind the cookie's value.
    fn text(&self) -> String {
        let mut text = format!("; Path={}", self.path);
        if let Some(domain) = &self.domain {
            text.push_str(&format!("; Domain={domain}"));
        }
        if let Some(age) = self.max_age {
            text.push_str(&format!("; Max-Age={}", age.ms() / 1_000));
        }
        text.push_str("; HttpOnly");
        if self.secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            SameSite::Lax => "; SameSite=Lax",
            SameSite::Strict => "; SameSite=Strict",
            SameSite::None => "; SameSite=None",
        });
        text
    }
}

/// The cookie in which a cohort key is handed out; scripts cannot read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCookie {
    name: CookieName,
    attributes: String,
}

impl IssuedCookie {
    /// A cookie of a name.
    ///
    /// # Errors
    /// Clients would drop it.
    pub fn new(name: CookieName, attributes: &CookieAttributes) -> Result<Self, CookieError> {
        let everywhere = attributes.path == CookiePath::default() && attributes.domain.is_none();
        // Clients compare the prefixes without case.
        let begins = |prefix: &str| {
            let start = name.as_str().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if begins("__Host-") && !(attributes.secure && everywhere) {
            return Err(CookieError::HostName);
        }
        if begins("__Secure-") && !attributes.secure {
            return Err(CookieError::SecureName);
        }
        if attributes.same_site == SameSite::None && !attributes.secure {
            return Err(CookieError::SameSite);
        }
        Ok(Self { name, attributes: attributes.text() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What stands behind its value in `Set-Cookie`: every attribute with `; ` before it.
    #[must_use]
    pub fn attributes(&self) -> &str {
        &self.attributes
    }
}

impl Default for IssuedCookie {
    fn default() -> Self {
        Self { name: CookieName::default(), attributes: CookieAttributes::default().text() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, attributes: &CookieAttributes) -> Result<IssuedCookie, CookieError> {
        IssuedCookie::new(name.parse().expect("valid"), attributes)
    }

    #[test]
    fn attributes_are_written_as_clients_read_them() {
        let plain = IssuedCookie::default();
        assert_eq!(plain.name(), "tidegate-cohort");
        assert_eq!(plain.attributes(), "; Path=/; HttpOnly; SameSite=Lax");
        let all = CookieAttributes {
            max_age: Some(Span::from_ms(90_500)),
            path: "/shop".parse().expect("valid"),
            domain: Some("example.com".parse().expect("valid")),
            secure: true,
            same_site: SameSite::None,
        };
        assert_eq!(
            named("c", &all).expect("kept by clients").attributes(),
            "; Path=/shop; Domain=example.com; Max-Age=90; HttpOnly; Secure; SameSite=None"
        );
    }

    #[test]
    fn a_cookie_that_clients_drop_is_refused() {
        let plain = CookieAttributes::default();
        let secure = CookieAttributes { secure: true, ..plain.clone() };
        let open = CookieAttributes { same_site: SameSite::None, ..plain.clone() };
        let deep = CookieAttributes { path: "/x".parse().expect("valid"), ..secure.clone() };
        assert_eq!(named("c", &open), Err(CookieError::SameSite));
        assert_eq!(named("__Secure-c", &plain), Err(CookieError::SecureName));
        assert_eq!(named("__host-c", &plain), Err(CookieError::HostName));
        assert_eq!(named("__Host-c", &deep), Err(CookieError::HostName));
        assert!(named("__Host-c", &secure).is_ok());
        assert!(named("__Secure-c", &deep).is_ok());
    }
}
