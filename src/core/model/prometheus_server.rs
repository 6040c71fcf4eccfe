//! Prometheus servers: where they are, and how one proves who asks.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{DnsName, DnsNameError, TargetTls};

/// A server that queries can be asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusServer {
    /// Where it is.
    pub url: ServerUrl,
    /// What is shown to it; `None` shows nothing.
    pub credentials: Option<Credentials>,
    /// Its TLS; `None` exactly with `http`.
    pub tls: Option<TargetTls>,
}

/// What is shown to a server. The secret stays in its file, which is read for every query, so that
/// it can be replaced at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token.
    Bearer {
        /// The file that holds it.
        file: PathBuf,
    },
    /// A user name and a password.
    Basic {
        /// The name.
        user: String,
        /// The file that holds the password.
        password_file: PathBuf,
    },
}

/// The reason why a text is not the URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// Neither `http://` nor `https://`.
    #[error("a server's URL begins with `http://` or `https://`")]
    Scheme,
    /// Credentials in it, which would end up in logs.
    #[error("a URL holds no user name or password: they have keys of their own")]
    Credentials,
    /// A query or a fragment.
    #[error("a server's URL ends with its path: no `?` and no `#`")]
    Query,
    /// No valid port.
    #[error("{found:?} is not a port")]
    Port {
        /// What stands there, shortened.
        found: String,
    },
    /// A path with a character that has to be escaped.
    #[error("the path of a URL is made of printable ASCII without spaces, found {found:?}")]
    Path {
        /// The first character that is not permitted.
        found: char,
    },
    /// Neither a host name nor an address.
    #[error(transparent)]
    Host(#[from] DnsNameError),
    /// Brackets around what is no IPv6 address.
    #[error("{found:?} is not an IPv6 address")]
    Address {
        /// What stands there, shortened.
        found: String,
    },
}

/// The URL of a server, whose path need not be the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerUrl {
    is_https: bool,
    host: String,
    /// Whether the host is an IPv6 address, which has brackets around it in a URL.
    is_v6: bool,
    port: u16,
    /// Without a slash at the end; empty for the root.
    path: String,
}

impl ServerUrl {
    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host name or address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path in front of the API's, without a slash at the end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as a `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let (open, close) = if self.is_v6 { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}:{}", self.host, self.port)
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let (is_https, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(ServerUrlError::Scheme),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(ServerUrlError::Credentials);
        }
        if rest.contains(['?', '#']) {
            return Err(ServerUrlError::Query);
        }
        if let Some(found) = path.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(ServerUrlError::Path { found });
        }
        let (host, is_v6, port) = host_and_port(authority)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                ServerUrlError::Port { found: port.chars().take(SHOWN).collect() }
            })?,
            None if is_https => 443,
            None => 80,
        };
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { is_https, host, is_v6, port, path })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// The host, whether it is an IPv6 address, and the text of the port; `None` without one.
fn host_and_port(authority: &str) -> Result<(String, bool, Option<&str>), ServerUrlError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let bad = || ServerUrlError::Address { found: bracketed.chars().take(SHOWN).collect() };
        let (address, after) = bracketed.split_once(']').ok_or_else(bad)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or_else(bad)?),
        };
        return Ok((address.to_owned(), true, port));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok((host.to_owned(), false, port));
    }
    let name: DnsName = host.parse()?;
    Ok((name.as_str().to_owned(), false, port))
}

const SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_its_path() {
        let check = |text: &str, written: &str| {
            assert_eq!(text.parse::<ServerUrl>().expect(text).to_string(), written);
        };
        check("http://127.0.0.1:9090", "http://127.0.0.1:9090");
        check("http://prometheus.internal/", "http://prometheus.internal:80");
        check("https://Metrics.example.com/prom/", "https://metrics.example.com:443/prom");
        check("http://[::1]:9090/a/b", "http://[::1]:9090/a/b");
        assert_eq!("http://[::1]".parse::<ServerUrl>().expect("valid").host(), "::1");
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused() {
        let check = |text: &str, expected: &str| {
            let found = text.parse::<ServerUrl>().expect_err(text).to_string();
            assert!(found.contains(expected), "{text}: {found}");
        };
        check("127.0.0.1:9090", "begins with `http://`");
        check("ftp://x", "begins with `http://`");
        check("http://ann:secret@x", "no user name or password");
        check("http://x/?a=b", "no `?`");
        check("http://x#a", "no `?`");
        check("http://x:99999", "\"99999\" is not a port");
        check("http://x:0", "\"0\" is not a port");
        check("http://", "label that is empty");
        check("http://x y", "found ' '");
        check("http://x/a b", "found ' '");
        check("http://[::1", "is not an IPv6 address");
        check("http://[x]", "is not an IPv6 address");
    }
}
