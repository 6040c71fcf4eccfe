//! The TLS of a client of ours, for what is no target: those are spoken to by the proxy.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use crate::core::model::{ClientIdentity, TargetTls};

use super::TlsError;

/// What a client shakes hands with. Servers are always verified.
#[derive(Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name that is asked for; `None` takes the server's address.
    server_name: Option<String>,
}

impl ClientTls {
    /// Makes it. Reads the system's authorities where no other is named, and therefore blocks.
    ///
    /// # Errors
    /// No authority can be had, or the identity cannot be used.
    pub fn new(spec: &TargetTls) -> Result<Self, TlsError> {
        let roots = match &spec.authorities {
            Some(authorities) => named(authorities)?,
            None => of_the_system()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider knows both versions")
            .with_root_certificates(roots);
        let config = match &spec.identity {
            Some(identity) => {
                let (chain, key) = chain_and_key(identity)?;
                let shown = builder.with_client_auth_cert(chain, key);
                shown.map_err(|error| unusable(IDENTITY, error.to_string()))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), server_name: spec.server_name.clone() })
    }

    /// What the next handshake is done with.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Whom a server at a host must prove to be.
    ///
    /// # Errors
    /// It is neither a host name nor an address.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|error| unusable(name, error.to_string()))
    }
}

fn named(authorities: &[Vec<u8>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for der in authorities {
        let added = roots.add(CertificateDer::from(der.clone()));
        added.map_err(|error| unusable("an authority", error.to_string()))?;
    }
    Ok(roots)
}

fn of_the_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let found = found.map_err(|error| unusable(SYSTEM, error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // Systems have some that are no good; the others are enough.
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(unusable(SYSTEM, "there are none: name one with `ca`".to_owned()));
    }
    Ok(roots)
}

fn chain_and_key(
    identity: &ClientIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(identity.key.to_vec())
        .map_err(|error| unusable(IDENTITY, error.to_owned()))?;
    Ok((chain, key))
}

fn unusable(what: &str, reason: String) -> TlsError {
    TlsError::Unusable { path: PathBuf::from(what), reason }
}

const SYSTEM: &str = "the system's authorities";
const IDENTITY: &str = "the client certificate";
