//! An authority that nobody knows, and what it has signed for a target called localhost.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

/// The authority; its files are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Authority {
    _folder: TempDir,
    ca: String,
    certificate: String,
    key: String,
}

impl Authority {
    /// A new one, with a certificate that it has signed.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("the authority of the clients");
        let own = params.self_signed(&key).expect("signed");
        let ca = write(folder.path(), "ca.pem", &own.pem());
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name = named("localhost");
        let signed = params.signed_by(&key, &issuer).expect("signed");
        let certificate = write(folder.path(), "target.pem", &signed.pem());
        let key = write(folder.path(), "target.key", &key.serialize_pem());
        Self { _folder: folder, ca, certificate, key }
    }

    /// The files of the certificate and its key.
    pub(crate) fn signed(&self) -> [&str; 2] {
        [&self.certificate, &self.key]
    }

    /// The keys of a target group that speaks HTTP/2 over TLS, and trusts it alone.
    pub(crate) fn trusted(&self) -> String {
        format!("protocol: h2, tls: {{ ca: '{}', server_name: localhost }},", self.ca)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}
