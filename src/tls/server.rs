//! The TLS of a listener, which follows its files.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::core::model::{CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};

use super::identity::roots;
use super::{Identity, TlsError, pem};

/// What a listener shakes hands with; a connection that stands keeps what it began with.
#[derive(Debug)]
pub struct ServerTls {
    spec: ListenerTls,
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// The files as they were read last.
#[derive(Debug)]
struct Seen {
    certificates: Vec<Stamp>,
    /// `None` asks clients for no certificate.
    clients: Option<Stamp>,
    /// Kept when certificates change, so that clients may resume their sessions; not when the
    /// authorities do that sign clients, because a session that is resumed is not verified again.
    tickets: Arc<dyn ProducesTickets>,
}

impl ServerTls {
    /// Reads the files of a listener.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(spec: &ListenerTls) -> Result<Self, TlsError> {
        let (certificates, clients) = stamps(spec);
        let tickets = new_tickets()?;
        let config = ArcSwap::from_pointee(build(spec, &tickets)?);
        let seen = Mutex::new(Seen { certificates, clients, tickets });
        Ok(Self { spec: spec.clone(), config, seen })
    }

    /// What the next handshake is done with.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files again if one of them is another one now; tells whether it did.
    ///
    /// # Errors
    /// The files are bad now. What was read before stays, and the same files are not read again.
    pub fn follow(&self) -> Result<bool, TlsError> {
        let (certificates, clients) = stamps(&self.spec);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if (&seen.certificates, seen.clients) == (&certificates, clients) {
            return Ok(false);
        }
        if seen.clients != clients {
            seen.tickets = new_tickets()?;
        }
        (seen.certificates, seen.clients) = (certificates, clients);
        self.config.store(Arc::new(build(&self.spec, &seen.tickets)?));
        Ok(true)
    }
}

fn new_tickets() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    Ticketer::new().map_err(|error| TlsError::Unusable {
        path: PathBuf::new(),
        reason: format!("no key for session tickets: {error}"),
    })
}

fn build(spec: &ListenerTls, tickets: &Arc<dyn ProducesTickets>) -> Result<ServerConfig, TlsError> {
    let versions = match spec.minimum_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12][..],
        TlsVersion::V1_3 => &[&TLS13][..],
    };
    let resolver = Arc::new(BySni::load(&spec.certificates)?);
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("the provider knows both versions");
    let builder = match &spec.client_certificates {
        Some(clients) => builder.with_client_cert_verifier(verifier(clients)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Arc::clone(tickets);
    Ok(config)
}

fn verifier(clients: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(roots(&pem::certificates(&clients.ca)?, &clients.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder
        .build()
        .map_err(|error| TlsError::Unusable { path: clients.ca.clone(), reason: error.to_string() })
}

/// Chooses the certificate by the name that a client asks for.
#[derive(Debug)]
struct BySni {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl BySni {
    fn load(files: &[CertificateFiles]) -> Result<Self, TlsError> {
        let mut by_name = HashMap::new();
        let mut first = None;
        for files in files {
            let identity = Identity::load(files)?;
            for name in identity.names() {
                by_name.entry(name.clone()).or_insert_with(|| identity.certified());
            }
            first.get_or_insert_with(|| identity.certified());
        }
        let none = || TlsError::NoCertificate { path: PathBuf::new() };
        Ok(Self { by_name, first: first.ok_or_else(none)? })
    }

    fn of(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, rest) = name.split_once('.')?;
            self.by_name.get(&format!("*.{rest}"))
        })
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.of(name));
        Some(Arc::clone(named.unwrap_or(&self.first)))
    }
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// The stamps of the certificates' files, and of the file that verifies clients.
fn stamps(spec: &ListenerTls) -> (Vec<Stamp>, Option<Stamp>) {
    let pairs = spec.certificates.iter().flat_map(|files| [&*files.certificate, &*files.key]);
    let clients = spec.client_certificates.as_ref().map(|clients| stamp(&clients.ca));
    (pairs.map(stamp).collect(), clients)
}

/// A file that is not there has a stamp of its own.
fn stamp(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(file) => Stamp {
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
        },
        Err(_) => Stamp { inode: 0, bytes: 0, modified: (0, 0) },
    }
}
