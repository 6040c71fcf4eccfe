//! Header fields, cookies and methods as a configuration names them, and what is wanted of one.
//!
//! What a request says is asked through [`RequestFields`], so that nothing here knows how a header
//! is held.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::HostMatch;

/// The reason why a text is not the part of a request or response that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a token of RFC 9110, section 5.6.2.
    #[error("{text:?} is not the name of a header or cookie")]
    Name {
        /// What was written.
        text: String,
    },
    /// Not a field's value.
    #[error("{text:?} is not a value: 1 to 4096 printable ASCII characters, no spaces around them")]
    Value {
        /// What was written.
        text: String,
    },
    /// A value that no cookie can have.
    #[error("{text:?} is not a cookie's value: it has no `;`")]
    CookieValue {
        /// What was written.
        text: String,
    },
    /// A field that rules may not change.
    #[error(
        "{name} is not for rules to change: it belongs to the connection, to the framing of bodies, or to the proxy"
    )]
    Protected {
        /// Its name.
        name: String,
    },
    /// Not a method.
    #[error("{text:?} is not a method: a word in upper case such as \"GET\"")]
    Method {
        /// What was written.
        text: String,
    },
    /// Not a cookie's path.
    #[error("{text:?} is not a cookie's path: it begins with `/` and has no `;` or spaces")]
    CookiePath {
        /// What was written.
        text: String,
    },
    /// Not a cookie's domain.
    #[error("{text:?} is not a cookie's domain: a host name such as \"example.com\"")]
    CookieDomain {
        /// What was written.
        text: String,
    },
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident by $check:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = FieldError;
            fn from_str(text: &str) -> Result<Self, FieldError> {
                $check(text).map(|text| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = FieldError;
            fn try_from(text: String) -> Result<Self, FieldError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

texts! {
    /// The name of a header field, in lower case.
    FieldName by field_name;
    /// The name of a header field that rules may change, in lower case.
    EditableField by editable_field;
    /// The value of a header field or cookie.
    FieldValue by field_value;
    /// The name of a cookie, in its own letters.
    CookieName by token;
    /// A request's method.
    MethodName by method;
    /// The path for which a client keeps a cookie.
    CookiePath by cookie_path;
    /// The domain for which a client keeps a cookie, in lower case.
    CookieDomain by cookie_domain;
}

/// What matching asks of a request's header; neither question allocates.
pub trait RequestFields {
    /// Whether a field is there, with this value if one is given; `name` is in lower case.
    fn has_header(&self, name: &str, value: Option<&[u8]>) -> bool;

    /// Whether a cookie is there that is not empty, with this value if one is given.
    fn has_cookie(&self, name: &str, value: Option<&[u8]>) -> bool;
}

/// What is wanted of a header field or cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// That it is there; written `*`.
    Present,
    /// That it has exactly this value.
    Value(FieldValue),
}

impl Wanted {
    /// Reads what is wanted of a header field.
    ///
    /// # Errors
    /// Anything that is neither `*` nor a value.
    pub fn of_header(text: &str) -> Result<Self, FieldError> {
        if text == "*" { Ok(Self::Present) } else { text.parse().map(Self::Value) }
    }

    /// Reads what is wanted of a cookie.
    ///
    /// # Errors
    /// Anything that is neither `*` nor a value that a cookie can have.
    pub fn of_cookie(text: &str) -> Result<Self, FieldError> {
        if text.contains(';') {
            return Err(FieldError::CookieValue { text: shown(text) });
        }
        Self::of_header(text)
    }

    /// The value; `None` if any will do.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Present => None,
            Self::Value(value) => Some(value.as_str().as_bytes()),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("*"),
            Self::Value(value) => f.write_str(value.as_str()),
        }
    }
}

impl Default for CookieName {
    /// The cookie in which cohort keys are issued.
    fn default() -> Self {
        Self("tidegate-cohort".into())
    }
}

impl Default for CookiePath {
    /// Every path.
    fn default() -> Self {
        Self("/".into())
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn token(text: &str) -> Result<String, FieldError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.len() <= NAME_LIMIT && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(FieldError::Name { text: shown(text) })
    }
}

fn field_name(text: &str) -> Result<String, FieldError> {
    token(text).map(|name| name.to_ascii_lowercase())
}

/// Names are compared with `_` as `-`: many targets cannot tell the two apart.
fn editable_field(text: &str) -> Result<String, FieldError> {
    let name = field_name(text)?;
    let dashed = name.replace('_', "-");
    let begins = |prefix: &&str| dashed.starts_with(*prefix);
    if PROTECTED.contains(&dashed.as_str()) || PROTECTED_PREFIXES.iter().any(begins) {
        return Err(FieldError::Protected { name });
    }
    Ok(name)
}

fn field_value(text: &str) -> Result<String, FieldError> {
    let printable = |b: u8| b.is_ascii_graphic() || b == b' ';
    let fits = (1..=VALUE_LIMIT).contains(&text.len());
    if fits && text.bytes().all(printable) && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err(FieldError::Value { text: shown(text) })
    }
}

fn method(text: &str) -> Result<String, FieldError> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.len() <= METHOD_LIMIT
        && text.bytes().all(allowed)
    {
        Ok(text.to_owned())
    } else {
        Err(FieldError::Method { text: shown(text) })
    }
}

fn cookie_path(text: &str) -> Result<String, FieldError> {
    let allowed = |b: u8| b.is_ascii_graphic() && b != b';';
    if text.starts_with('/') && text.len() <= COOKIE_PATH_LIMIT && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(FieldError::CookiePath { text: shown(text) })
    }
}

fn cookie_domain(text: &str) -> Result<String, FieldError> {
    let is_host = HostMatch::exact(text).is_ok() && text.parse::<IpAddr>().is_err();
    if is_host && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(FieldError::CookieDomain { text: shown(text) })
    }
}

const NAME_LIMIT: usize = 256;
const VALUE_LIMIT: usize = 4_096;
const METHOD_LIMIT: usize = 32;
const COOKIE_PATH_LIMIT: usize = 1_024;

/// Fields of the connection and of framing, and the host, for which rules have a key of its own.
const PROTECTED: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-real-ip",
    "x-request-id",
];
const PROTECTED_PREFIXES: [&str; 2] = ["x-forwarded-", "x-tidegate-"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_lose_their_case_and_cookies_keep_it() {
        assert_eq!("X-Tenant".parse::<FieldName>().unwrap().as_str(), "x-tenant");
        assert_eq!("Beta".parse::<CookieName>().unwrap().as_str(), "Beta");
        let long = "x".repeat(NAME_LIMIT + 1);
        for bad in ["", "a b", "a:b", "é", "a\r\nb", long.as_str()] {
            assert!(bad.parse::<FieldName>().is_err(), "{bad}");
            assert!(bad.parse::<CookieName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_is_one_line_of_printable_characters() {
        for good in ["gold", "max-age=3; includeSubDomains", "*", "\"a\""] {
            assert_eq!(good.parse::<FieldValue>().unwrap().as_str(), good);
        }
        let long = "x".repeat(VALUE_LIMIT + 1);
        for bad in ["", " a", "a ", "a\r\nset-cookie: b", "a\0", "é", long.as_str()] {
            assert!(bad.parse::<FieldValue>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_belongs_to_the_connection_or_the_proxy_cannot_be_edited() {
        for bad in [
            "Host",
            "Connection",
            "Keep-Alive",
            "TE",
            "Upgrade",
            "Transfer-Encoding",
            "transfer_encoding",
            "Content-Length",
            "Trailer",
            "X-Forwarded-For",
            "x_forwarded_proto",
            "Forwarded",
            "X-Tidegate-Side",
            "x-request-id",
        ] {
            let found = bad.parse::<EditableField>().unwrap_err();
            assert_eq!(found, FieldError::Protected { name: bad.to_ascii_lowercase() });
        }
        for good in ["authorization", "x-forward", "set-cookie", "content-type", "hosts"] {
            assert_eq!(good.parse::<EditableField>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_star_wants_a_field_to_be_there() {
        assert_eq!(Wanted::of_header("*").unwrap().value(), None);
        assert_eq!(Wanted::of_header("a;b").unwrap().value(), Some(&b"a;b"[..]));
        assert_eq!(Wanted::of_cookie("1").unwrap().value(), Some(&b"1"[..]));
        assert!(Wanted::of_cookie("a;b").is_err());
        assert!(Wanted::of_header("").is_err());
    }

    #[test]
    fn a_method_is_a_word_in_upper_case() {
        for good in ["GET", "M-SEARCH", "VERSION_1"] {
            assert_eq!(good.parse::<MethodName>().unwrap().as_str(), good);
        }
        for bad in ["", "get", "Get", "GET ", "-GET", "GET,POST"] {
            assert!(bad.parse::<MethodName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cookie_s_path_and_domain_cannot_carry_another_attribute() {
        assert_eq!("/shop".parse::<CookiePath>().unwrap().as_str(), "/shop");
        for bad in ["", "shop", "/; Secure", "/a b", "/\r\n"] {
            assert!(bad.parse::<CookiePath>().is_err(), "{bad:?}");
        }
        assert_eq!("Example.com".parse::<CookieDomain>().unwrap().as_str(), "example.com");
        for bad in ["", ".example.com", "example.com; Secure", "127.0.0.1", "[::1]", "a:1"] {
            assert!(bad.parse::<CookieDomain>().is_err(), "{bad:?}");
        }
    }
}
