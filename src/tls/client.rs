//! The TLS towards targets, for whoever connects to them without Pingora: health checks and
//! mirrors. It believes and shows what requests do: `proxy::peer` hands the same to Pingora.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::core::model::{TargetTls, Verify};

/// What a group's targets are shaken hands with.
#[derive(Clone, Debug)]
pub struct ClientTls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// `None` takes the target's address.
    server_name: Option<ServerName<'static>>,
}

/// Which protocol a handshake offers (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offers {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Why a group's TLS cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientTlsError {
    /// The group trusts the system's authorities, which cannot be read.
    #[error("the system's authorities cannot be read: {0}")]
    System(String),
    /// What was read with the configuration does not fit together.
    #[error("the group's TLS cannot be used: {0}")]
    Unusable(String),
}

impl Offers {
    /// Whether what a target has agreed to speak is the protocol that was offered. Only HTTP/2 has
    /// to be agreed: a target that chooses nothing speaks HTTP/1.1.
    #[must_use]
    pub fn is_agreed(self, agreed: Option<&[u8]>) -> bool {
        match self {
            Self::Http1 => agreed.is_none_or(|protocol| protocol == self.name()),
            Self::Http2 => agreed == Some(self.name()),
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

impl ClientTls {
    /// Makes it from a group's TLS. Reads the system's authorities where the group has none of its
    /// own, and so blocks.
    ///
    /// # Errors
    /// The system's authorities cannot be read, or the group's files do not fit together.
    pub fn of(tls: &TargetTls) -> Result<Self, ClientTlsError> {
        let unusable = |error: &dyn std::fmt::Display| ClientTlsError::Unusable(error.to_string());
        let server_name = match &tls.server_name {
            Some(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|error| unusable(&error))?)
            }
            None => None,
        };
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider knows both versions");
        let builder = match tls.verify {
            Verify::Full => builder.with_root_certificates(roots(tls)?),
            Verify::Nothing => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
            }
        };
        let mut config = match &tls.identity {
            Some(identity) => {
                let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone()));
                let key = PrivateKeyDer::try_from(identity.key.to_vec())
                    .map_err(|error| unusable(&error))?;
                builder
                    .with_client_auth_cert(chain.collect(), key)
                    .map_err(|error| unusable(&error))?
            }
            None => builder.with_no_client_auth(),
        };
        // A session that is resumed is not verified again.
        config.resumption = Resumption::disabled();
        let offering = |offers: Offers| {
            let mut config = config.clone();
            config.alpn_protocols = vec![offers.name().to_vec()];
            Arc::new(config)
        };
        Ok(Self { http1: offering(Offers::Http1), http2: offering(Offers::Http2), server_name })
    }

    /// What shakes hands, with one protocol on offer.
    #[must_use]
    pub fn connector(&self, offers: Offers) -> TlsConnector {
        let config = match offers {
            Offers::Http1 => &self.http1,
            Offers::Http2 => &self.http2,
        };
        TlsConnector::from(Arc::clone(config))
    }

    /// The name that is asked for, and that the certificate of a target at an address must be for.
    #[must_use]
    pub fn name_for(&self, address: IpAddr) -> ServerName<'static> {
        self.server_name.clone().unwrap_or_else(|| ServerName::from(address))
    }

    /// The name that is asked for, and that the certificate of a server at a host must be for.
    ///
    /// # Errors
    /// The host is neither a name nor an address.
    pub fn name_at(&self, host: &str) -> Result<ServerName<'static>, ClientTlsError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(host.to_owned())
                .map_err(|error| ClientTlsError::Unusable(error.to_string())),
        }
    }
}

/// Whom a group trusts.
fn roots(tls: &TargetTls) -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    match &tls.authorities {
        Some(authorities) => {
            for der in authorities.iter() {
                roots
                    .add(CertificateDer::from(der.clone()))
                    .map_err(|error| ClientTlsError::Unusable(error.to_string()))?;
            }
        }
        None => {
            let all = rustls_native_certs::load_native_certs();
            let all = all.map_err(|error| ClientTlsError::System(error.to_string()))?;
            // Some systems have old ones that nobody can read any more.
            roots.add_parsable_certificates(all);
        }
    }
    Ok(roots)
}

/// Believes whoever answers, as long as they have the key of the certificate that they show.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_2_has_to_be_agreed() {
        let check = |offers: Offers, agreed: Option<&[u8]>, expected: bool| {
            assert_eq!(offers.is_agreed(agreed), expected, "{offers:?} {agreed:?}");
        };
        check(Offers::Http1, None, true);
        check(Offers::Http1, Some(b"http/1.1"), true);
        check(Offers::Http1, Some(b"h2"), false);
        check(Offers::Http2, None, false);
        check(Offers::Http2, Some(b"h2"), true);
    }
}
