//! Identities: a certificate chain and the key of its leaf.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

use crate::core::model::CertificateFiles;

use super::{TlsError, names, pem};

/// A certificate chain and the key of its leaf, which belong together.
#[derive(Debug)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both files.
    ///
    /// # Errors
    /// A file that cannot be read or is no such thing, or two that do not belong together.
    pub fn load(files: &CertificateFiles) -> Result<Self, TlsError> {
        let unusable =
            |path: &Path, reason: String| TlsError::Unusable { path: path.to_owned(), reason };
        let chain = pem::certificates(&files.certificate)?;
        let names =
            names::names_of(&chain[0]).map_err(|reason| unusable(&files.certificate, reason))?;
        let key = pem::key(&files.key)?;
        let certified = CertifiedKey::from_der(chain, key.clone_key(), &default_provider())
            .map_err(|error| {
                if matches!(error, Error::InconsistentKeys(_)) {
                    let (certificate, key) = (files.certificate.clone(), files.key.clone());
                    TlsError::Mismatch { certificate, key }
                } else {
                    unusable(&files.key, error.to_string())
                }
            })?;
        Ok(Self { certified: Arc::new(certified), names, key })
    }

    /// The host names that the certificate is for, in lower case; a wildcard begins with `*.`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The chain in DER, the leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key in DER.
    #[must_use]
    pub fn key_der(&self) -> &[u8] {
        self.key.secret_der()
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// Reads the certificates of authorities, each of them one that can be trusted as a root.
///
/// # Errors
/// A file that cannot be read, or holds what is no authority's certificate.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = pem::certificates(path)?;
    roots(&certificates, path)?;
    Ok(certificates)
}

/// A store of roots.
pub(super) fn roots(
    certificates: &[CertificateDer<'static>],
    path: &Path,
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| TlsError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}
