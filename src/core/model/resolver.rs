//! How DNS is asked.

use std::net::SocketAddr;

use super::Span;

/// How DNS is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSpec {
    /// Whom to ask; empty asks whom the system asks.
    pub nameservers: Vec<SocketAddr>,
    /// How long an answer may take.
    pub timeout: Span,
}

impl Default for ResolverSpec {
    fn default() -> Self {
        Self { nameservers: Vec::new(), timeout: Span::from_secs(2) }
    }
}
