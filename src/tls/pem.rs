//! Files in PEM (RFC 7468).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// Every certificate of a file, in its order; never none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsError::NoCertificate { path: path.to_owned() })
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// The first private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(Error::NoItemsFound) => Err(TlsError::NoKey { path: path.to_owned() }),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// A reason that says nothing of what is in the file: it may be a key.
fn unusable(path: &Path, error: &Error) -> TlsError {
    let reason = if matches!(error, Error::MissingSectionEnd { .. }) {
        "a section has no end"
    } else if matches!(error, Error::Base64Decode(_)) {
        "a section is not base64"
    } else {
        "it is not PEM"
    };
    TlsError::Unusable { path: path.to_owned(), reason: reason.to_owned() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TlsError::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    Ok(bytes)
}

/// A bundle of all public authorities has a quarter of this.
const MAX_BYTES: u64 = 1 << 20;
