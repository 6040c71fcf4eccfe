//! Certificates for tests: an authority, what it signs as files in a folder of its own, and clients
//! that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::core::model::{CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};

use super::pem;

/// An authority, and the folder of what it signed.
pub(crate) struct Authority {
    folder: TempDir,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("the authority of the tests");
        let certificate = params.self_signed(&key).expect("signed");
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("ca.pem"), &certificate.pem());
        Self { folder, certificate, issuer: Issuer::new(params, key) }
    }

    /// The folder of everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its own certificate.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// A certificate for these names and addresses with the subject `CN=file`, in the files
    /// `file.pem` and `file.key`. Files that are there are replaced by rename.
    pub(crate) fn signs(&self, file: &str, names: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = named(file);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let path = |end: &str| self.folder.path().join(format!("{file}.{end}"));
        let files = CertificateFiles { certificate: path("pem"), key: path("key") };
        write(&files.certificate, &certificate.pem());
        write(&files.key, &key.serialize_pem());
        files
    }

    /// What a listener asks of clients whose certificates it signs.
    pub(crate) fn of_clients(&self, required: bool) -> ClientCertificates {
        let header = "x-client-cert-subject".to_owned();
        ClientCertificates { ca: self.file(), required, header }
    }

    /// A client that trusts it and speaks any version and protocol.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_with(rustls::DEFAULT_VERSIONS, None)
    }

    /// A client that trusts it, speaks these versions, and shows this certificate.
    pub(crate) fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shows: Option<&CertificateFiles>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("the provider knows all versions")
            .with_root_certificates(roots);
        match shows {
            Some(files) => {
                let chain = pem::certificates(&files.certificate).expect("a chain");
                let key = pem::key(&files.key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
            None => builder.with_no_client_auth(),
        }
    }
}

/// The TLS of a listener with these certificates that asks for none.
pub(crate) fn listener_tls(certificates: &[CertificateFiles]) -> ListenerTls {
    ListenerTls {
        certificates: certificates.to_vec(),
        minimum_version: TlsVersion::default(),
        client_certificates: None,
    }
}

/// Replaces a file, or makes it, in one step.
pub(crate) fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("renamed");
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
