//! What a gate may use beyond telemetry, its state and the log: nothing, unless the file says so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{DnsName, MethodName};

/// What is granted to a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateGrants {
    /// Whether it may know the time of day.
    pub clock: bool,
    /// Whether it may draw random numbers.
    pub random: bool,
    /// Whom it may send requests to; empty permits nobody.
    pub http: Vec<HttpGrant>,
}

/// A host that a gate may send requests to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGrant {
    /// The host.
    pub host: HostPort,
    /// The methods that it may use.
    pub methods: Vec<MethodName>,
    /// Addresses that the host may have although they are not public.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
}

impl HttpGrant {
    /// Whether it is about a host; `port` is the one that is connected to, `usual` that of the
    /// URL's scheme.
    #[must_use]
    pub fn is_about(&self, host: &str, port: u16, usual: u16) -> bool {
        self.host.host() == host && self.host.port().unwrap_or(usual) == port
    }

    /// Whether an address of the host may be connected to.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.host.address() == Some(address)
            || self.addresses.iter().any(|network| network.contains(&address))
            || is_public(address)
    }
}

/// Whether an address is one that the whole internet can have: neither of this machine nor of its
/// networks, and none behind which such an address can hide.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // This network; shared by providers; protocols; benchmarks; multicast and what is above.
    let special = matches!(
        address.octets(),
        [0, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [224..=255, ..]
    );
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocols such as Teredo; documentation; 6to4, which holds an address of IPv4.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] | [0x3fff, ..] => false,
        // Global unicast is what begins with the bits 001.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The reason why a text is not a host with or without a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host: for example \"api.example.com\" or \"10.0.0.7:9090\"")]
pub struct HostPortError {
    /// What was written, shortened.
    text: String,
}

/// A host name in lower case, or an address, with a port or the one of the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl HostPort {
    /// The name without a dot at its end, or the address; one of IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host's address; `None` if it is a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The port; `None` is the one of the URL's scheme.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let error = || HostPortError { text: text.chars().take(80).collect() };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(error)?;
                host.parse::<Ipv6Addr>().map_err(|_| error())?;
                let port = rest.strip_prefix(':');
                if port.is_none() && !rest.is_empty() {
                    return Err(error());
                }
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = port.parse().ok().filter(|port: &u16| *port > 0);
                Some(port.ok_or_else(error)?)
            }
            Some(_) => return Err(error()),
            None => None,
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Ok(Self { host: address.to_string(), address: Some(address), port });
        }
        let name: DnsName = host.parse().map_err(|_| error())?;
        let host = name.as_str().trim_end_matches('.').to_owned();
        Ok(Self { host, address: None, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Some(IpAddr::V4(_)) | None => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;
    fn try_from(text: String) -> Result<Self, HostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(host: HostPort) -> Self {
        host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(host: &str, addresses: &[&str]) -> HttpGrant {
        HttpGrant {
            host: host.parse().unwrap(),
            methods: vec!["GET".parse().unwrap()],
            addresses: addresses.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_host_is_read_as_it_is_written_in_a_url() {
        let check = |text: &str, host: &str, port: Option<u16>, shown: &str| {
            let read: HostPort = text.parse().unwrap();
            assert_eq!((read.host(), read.port()), (host, port), "{text}");
            assert_eq!(read.to_string(), shown);
        };
        check("API.example.com", "api.example.com", None, "api.example.com");
        check("api.example.com.:8443", "api.example.com", Some(8_443), "api.example.com:8443");
        check("10.0.0.7:80", "10.0.0.7", Some(80), "10.0.0.7:80");
        check("[::1]", "::1", None, "[::1]");
        check("[::ffff:10.0.0.7]:80", "10.0.0.7", Some(80), "10.0.0.7:80");
        for bad in ["", ":80", "a:", "a:0", "a:+1", "a:65536", "a b", "a/b", "u@a", "::1", "[a]:1"]
        {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grant_without_a_port_is_about_the_one_of_the_scheme() {
        let (plain, other) = (grant("a.example", &[]), grant("a.example:8080", &[]));
        assert!(plain.is_about("a.example", 443, 443) && !plain.is_about("a.example", 80, 443));
        assert!(other.is_about("a.example", 8_080, 443) && !other.is_about("a.example", 443, 443));
        assert!(!plain.is_about("b.a.example", 443, 443));
    }

    #[test]
    fn addresses_that_are_not_public_have_to_be_listed() {
        let plain = grant("a.example", &[]);
        let check = |address: &str| plain.permits(address.parse().unwrap());
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"] {
            assert!(check(public), "{public}");
        }
        for other in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!check(other), "{other}");
        }
        assert!(grant("10.0.0.7", &[]).permits("10.0.0.7".parse().unwrap()));
        assert!(!grant("10.0.0.7", &[]).permits("10.0.0.8".parse().unwrap()));
        let listed = grant("a.example", &["10.0.0.0/8"]);
        assert!(listed.permits("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!listed.permits("192.168.1.1".parse().unwrap()));
    }
}
