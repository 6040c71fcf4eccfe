//! Transports: what is spoken with the targets of a group.

use std::fmt;
use std::sync::Arc;

/// The protocol of a group's targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 in the clear, with prior knowledge (RFC 9113, section 3.3).
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

/// What becomes of trailers between clients and targets of HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrailerPolicy {
    /// They end at the proxy.
    #[default]
    Drop,
    /// They pass, where the one who gets them takes them.
    Pass,
}

/// How a group's targets are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// The protocol.
    pub protocol: TargetProtocol,
    /// `None` speaks in the clear; never `None` with [`TargetProtocol::H2`].
    pub tls: Option<TargetTls>,
    /// What becomes of trailers; over HTTP/2 those of answers pass whatever it says.
    pub trailers: TrailerPolicy,
}

/// The TLS towards targets. Files were read when the configuration was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTls {
    /// The name that is asked for (SNI) and that the certificate must be for; `None` takes the
    /// target's address.
    pub server_name: Option<String>,
    /// What of a target's certificate is verified.
    pub verify: Verify,
    /// The authorities that are trusted, in DER; `None` trusts those of the system.
    pub authorities: Option<Arc<[Vec<u8>]>>,
    /// What is shown to targets that ask for a certificate; `None` shows none.
    pub identity: Option<ClientIdentity>,
}

/// What of a target's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Who signed it, and that it is for the name.
    #[default]
    Full,
    /// Nothing: whoever answers is believed.
    Nothing,
}

/// A certificate chain and its key, in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain, the leaf first.
    pub chain: Arc<[Vec<u8>]>,
    /// The leaf's private key.
    pub key: Arc<[u8]>,
}

impl fmt::Debug for ClientIdentity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}
