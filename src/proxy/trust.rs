//! What is made of a link: whom to trust and what to show when connecting to targets with TLS, in
//! Pingora's types, and what takes a mirror's copies there.

use std::sync::Arc;

use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use tokio::sync::OnceCell;

use crate::core::model::{TargetTls, Transport};

use super::carrier::Carrier;

/// Made once for each link, whose files were read with the configuration.
pub(super) struct Trust {
    /// `None` trusts the system's authorities.
    pub(super) authorities: Option<Arc<[WrappedX509]>>,
    /// `None` shows no certificate.
    pub(super) identity: Option<Arc<CertKey>>,
    /// Made with the first copy of a mirror.
    pub(super) carrier: OnceCell<Carrier>,
}

impl Trust {
    pub(super) fn of(transport: &Transport) -> Self {
        let tls: Option<&TargetTls> = transport.tls.as_ref();
        let authorities = tls.and_then(|tls| tls.authorities.as_ref());
        let identity = tls.and_then(|tls| tls.identity.as_ref());
        Self {
            authorities: authorities.map(|all| {
                all.iter().map(|der| WrappedX509::new(der.clone(), parse_x509)).collect()
            }),
            identity: identity.map(|identity| {
                Arc::new(CertKey::new(identity.chain.to_vec(), identity.key.to_vec()))
            }),
            carrier: OnceCell::new(),
        }
    }
}
