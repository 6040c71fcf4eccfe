//! Listeners: addresses that accept traffic.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ListenerName, Rule, Span};

/// What a test listener answers while no rollout has a green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenIdle {
    /// Blue's answers.
    #[default]
    Blue,
    /// 503.
    Refuse,
}

/// What a listener speaks with its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerProtocol {
    /// HTTP/1.1, and with TLS also HTTP/2 for clients that ask for it (ALPN, RFC 7301).
    #[default]
    Http,
    /// HTTP/2 in the clear from the first byte on (prior knowledge, RFC 9113, section 3.3).
    H2c,
}

/// The lowest version of TLS that is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// The files of a certificate chain and of its private key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// What a listener asks of its clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificates {
    /// The authorities that sign them, in PEM.
    pub ca: PathBuf,
    /// Whether a client without one is refused.
    pub required: bool,
    /// The header that tells a target the subject of a client's certificate, in lower case. No
    /// client can set it, on any listener.
    pub header: String,
}

/// The TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// The certificates, chosen by the name that a client asks for (SNI, RFC 6066, section 3);
    /// the first is for clients that ask for none of them.
    pub certificates: Vec<CertificateFiles>,
    /// The lowest version.
    pub minimum_version: TlsVersion,
    /// `None` asks clients for no certificate.
    pub client_certificates: Option<ClientCertificates>,
}

/// The bounds on what a listener's clients may send, hold and wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLimits {
    /// The most open connections.
    pub connections: u32,
    /// The most open connections from one client's address.
    pub connections_per_client: u32,
    /// How long a TLS handshake, a PROXY header, and the header of a request may take, each from
    /// the first byte that is waited for.
    pub header: Span,
    /// The most bytes of a request's header, request line included.
    pub header_bytes: u32,
    /// The most fields in a request's header.
    pub header_count: u32,
    /// The most bytes of a request's body.
    pub body_bytes: u64,
    /// How long a client may pause inside a request's body.
    pub body_read: Span,
    /// The fewest bytes a second that a request's body must come with on average, once its first
    /// ten seconds are over; 0 allows any rate.
    pub body_rate: u32,
    /// How long a client may take to accept one part of a response, at most 64 KiB.
    pub response_write: Span,
    /// How long an idle connection is kept, in whole seconds.
    pub keepalive: Span,
    /// How long the rest of a request's body is read and dropped after an answer of our own, so
    /// that closing the connection does not destroy the answer on its way.
    pub body_drain: Span,
    /// The most streams that are open at once in a connection of HTTP/2.
    pub h2_streams: u32,
    /// The most frames a second, and at once, that carry nothing for a request on a connection of
    /// HTTP/2.
    pub h2_control_frames: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_client: 2_000,
            header: Span::from_secs(10),
            header_bytes: 32 * 1_024,
            header_count: 100,
            body_bytes: 1 << 40,
            body_read: Span::from_secs(30),
            body_rate: 100,
            response_write: Span::from_secs(60),
            keepalive: Span::from_secs(60),
            body_drain: Span::from_secs(2),
            h2_streams: 100,
            h2_control_frames: 1_000,
        }
    }
}

/// An address that accepts traffic, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// Its name.
    pub name: ListenerName,
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// `Some` on a test listener, which answers from green while there is one.
    pub test: Option<WhenIdle>,
    /// Its rules, most specific first.
    pub rules: Vec<Rule>,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// `None` speaks in the clear.
    pub tls: Option<ListenerTls>,
    /// From where connections begin with a PROXY header that tells the client's address; they
    /// must have one, and nobody else's is read. Empty reads none.
    pub proxy_protocol: Vec<IpNet>,
    /// The proxies whose `X-Forwarded-For` is believed. Empty believes none.
    pub trusted_proxies: Vec<IpNet>,
    /// The bounds on its clients.
    pub limits: ClientLimits,
}

impl ListenerSpec {
    /// A listener in the clear that leads nowhere yet.
    #[must_use]
    pub fn plain(name: ListenerName, address: SocketAddr) -> Self {
        Self {
            name,
            address,
            test: None,
            rules: Vec::new(),
            protocol: ListenerProtocol::default(),
            tls: None,
            proxy_protocol: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: ClientLimits::default(),
        }
    }
}
