//! What can be wrong with certificates and keys.

use std::io;
use std::path::PathBuf;

/// The reason why files cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or may not be read.
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// More than a file of certificates can have.
    #[error("{path}: is larger than {limit} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        limit: u64,
    },
    /// No certificate where one is needed.
    #[error("{path}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No private key where one is needed.
    #[error("{path}: holds no private key in PEM (-----BEGIN PRIVATE KEY-----)", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// PEM, and in it what cannot be used.
    #[error("{path}: cannot be used: {reason}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate and the key of another one.
    #[error(
        "{key} is not the key of the certificate in {certificate}",
        key = key.display(), certificate = certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}
