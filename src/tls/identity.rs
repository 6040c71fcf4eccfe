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

#[cfg(test)]
mod tests {
    use super::super::testkit::{Authority, write};
    use super::*;

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let authority = Authority::new();
        let (shop, other) = (
            authority.signs("shop", &["Shop.test", "*.shop.test", "127.0.0.1"]),
            authority.signs("other", &["other.test"]),
        );
        let identity = Identity::load(&shop).expect("a pair");
        assert_eq!(identity.names(), ["shop.test", "*.shop.test"]);
        assert_eq!(identity.chain().len(), 1);
        let mixed = CertificateFiles { certificate: shop.certificate, key: other.key };
        let error = Identity::load(&mixed).expect_err("another key");
        assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("shop.pem") && error.contains("other.key"), "{error}");
    }

    #[test]
    fn files_that_are_no_such_thing_say_which_and_what_and_nothing_of_their_content() {
        let authority = Authority::new();
        let files = authority.signs("shop", &["shop.test"]);
        let error = |certificate: &Path, key: &Path| {
            let (certificate, key) = (certificate.to_owned(), key.to_owned());
            Identity::load(&CertificateFiles { certificate, key }).expect_err("bad").to_string()
        };
        let text = authority.folder().join("text.pem");
        let check = |content: &str, as_certificate: &str, as_key: &str| {
            write(&text, content);
            for (found, expected) in [
                (error(&text, &files.key), as_certificate),
                (error(&files.certificate, &text), as_key),
            ] {
                assert!(found.contains(&format!("text.pem: {expected}")), "{found}");
                assert!(!found.contains("c2VjcmV0"), "{found}");
            }
        };
        check("c2VjcmV0", "holds no certificate in PEM", "holds no private key in PEM");
        check(
            "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n",
            "cannot be used: ",
            "holds no private key in PEM",
        );
        check(
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "holds no certificate in PEM",
            "cannot be used: ",
        );
        check(&"x".repeat((1 << 20) + 1), "is larger than 1048576", "is larger than 1048576");
        let none = authority.folder().join("none.pem");
        assert!(error(&none, &files.key).contains("none.pem: cannot be read"));
        assert!(error(&files.certificate, &none).contains("none.pem: cannot be read"));
    }

    #[test]
    fn an_authority_is_a_certificate_that_can_be_a_root() {
        let authority = Authority::new();
        assert_eq!(read_authorities(&authority.file()).expect("a root").len(), 1);
        let key = authority.signs("shop", &["shop.test"]).key;
        let error = read_authorities(&key).expect_err("a key").to_string();
        assert!(error.contains("shop.key: holds no certificate"), "{error}");
    }
}
