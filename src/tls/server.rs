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

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{CertificateError, ClientConfig, ClientConnection, Error, ServerConnection};

    use super::super::subject_of;
    use super::super::testkit::{Authority, listener_tls, write};
    use super::*;

    /// What the two ends of a connection know of each other.
    #[derive(Debug)]
    struct Shaken {
        /// The subject of the listener's certificate.
        listener: Option<String>,
        /// The subject of the client's.
        client: Option<String>,
    }

    /// Shakes hands with a client that asks for a name.
    fn shake(tls: &ServerTls, client: ClientConfig, name: &str) -> Result<Shaken, Error> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(tls.config())?;
        for _ in 0..10 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("memory");
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).expect("memory");
                server.process_new_packets()?;
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).expect("memory");
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).expect("memory");
                client.process_new_packets()?;
            }
            if !client.is_handshaking() && !server.is_handshaking() {
                let subject = |chain: Option<&[rustls::pki_types::CertificateDer<'_>]>| {
                    chain.and_then(|chain| chain.first()).and_then(|leaf| subject_of(leaf))
                };
                return Ok(Shaken {
                    listener: subject(client.peer_certificates()),
                    client: subject(server.peer_certificates()),
                });
            }
        }
        panic!("no handshake takes as long as this");
    }

    /// The subject that a listener shows to a client that asks for a name.
    fn shown(tls: &ServerTls, authority: &Authority, name: &str) -> Option<String> {
        shake(tls, authority.client(), name).expect("a handshake").listener
    }

    #[test]
    fn the_certificate_is_that_of_the_name_then_of_a_wildcard_then_the_first() {
        let authority = Authority::new();
        let certificates = [
            authority.signs("first", &["first.test", "127.0.0.1"]),
            authority.signs("exact", &["shop.test", "API.shop.test"]),
            authority.signs("wild", &["*.shop.test"]),
        ];
        let tls = ServerTls::load(&listener_tls(&certificates)).expect("loaded");
        let check = |name: &str, expected: &str| {
            assert_eq!(shown(&tls, &authority, name).as_deref(), Some(expected), "{name}");
        };
        check("shop.test", "CN=exact");
        check("api.shop.test", "CN=exact");
        check("www.shop.test", "CN=wild");
        check("WWW.Shop.test", "CN=wild");
        check("first.test", "CN=first");
        // A client that connects to an address asks for no name.
        check("127.0.0.1", "CN=first");
        for unknown in ["other.test", "a.www.shop.test"] {
            let refused = shake(&tls, authority.client(), unknown).expect_err("another name");
            let Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            }) = &refused
            else {
                panic!("{unknown}: {refused:?}");
            };
            assert!(presented.iter().any(|name| name.contains("first.test")), "{presented:?}");
        }
    }

    #[test]
    fn files_that_change_are_followed_and_bad_ones_change_nothing() {
        let authority = Authority::new();
        let files = authority.signs("shop", &["shop.test"]);
        let tls = ServerTls::load(&listener_tls(std::slice::from_ref(&files))).expect("loaded");
        assert!(!tls.follow().expect("nothing is bad"), "nothing is new");
        let before = tls.config();
        authority.signs("shop", &["shop.test", "www.shop.test"]);
        assert!(shake(&tls, authority.client(), "www.shop.test").is_err());
        assert!(tls.follow().expect("good"));
        assert_eq!(shown(&tls, &authority, "www.shop.test").as_deref(), Some("CN=shop"));
        assert!(!Arc::ptr_eq(&before, &tls.config()));
        write(&files.certificate, "not a certificate");
        let bad = tls.follow().expect_err("bad").to_string();
        assert!(bad.contains("shop.pem: holds no certificate"), "{bad}");
        assert!(shown(&tls, &authority, "www.shop.test").is_some(), "the old one serves on");
        assert!(!tls.follow().expect("told already"));
        authority.signs("shop", &["shop.test", "api.shop.test"]);
        assert!(tls.follow().expect("good again"));
        assert!(shown(&tls, &authority, "api.shop.test").is_some());
    }

    #[test]
    fn a_pair_whose_halves_are_replaced_one_after_the_other_is_followed_in_the_end() {
        let authority = Authority::new();
        let files = authority.signs("shop", &["shop.test"]);
        let next = authority.signs("next", &["shop.test", "www.shop.test"]);
        let tls = ServerTls::load(&listener_tls(std::slice::from_ref(&files))).expect("loaded");
        fs::rename(&next.certificate, &files.certificate).expect("renamed");
        let half = tls.follow().expect_err("the key is the old one");
        assert!(matches!(half, TlsError::Mismatch { .. }), "{half}");
        assert_eq!(shown(&tls, &authority, "shop.test").as_deref(), Some("CN=shop"));
        fs::rename(&next.key, &files.key).expect("renamed");
        assert!(tls.follow().expect("whole again"));
        assert_eq!(shown(&tls, &authority, "www.shop.test").as_deref(), Some("CN=next"));
    }

    #[test]
    fn a_client_below_the_lowest_version_is_refused() {
        let authority = Authority::new();
        let spec = listener_tls(&[authority.signs("shop", &["shop.test"])]);
        let check = |minimum_version, expected: bool| {
            let spec = ListenerTls { minimum_version, ..spec.clone() };
            let tls = ServerTls::load(&spec).expect("loaded");
            let old = authority.client_with(&[&TLS12], None);
            assert_eq!(shake(&tls, old, "shop.test").is_ok(), expected, "{minimum_version:?}");
            let new = authority.client_with(&[&TLS13], None);
            assert!(shake(&tls, new, "shop.test").is_ok(), "{minimum_version:?}");
        };
        check(TlsVersion::V1_2, true);
        check(TlsVersion::V1_3, false);
    }

    #[test]
    fn a_client_shows_a_certificate_of_the_authority_or_none_where_none_is_required() {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let spec = listener_tls(&[authority.signs("shop", &["shop.test"])]);
        let alice = authority.signs("alice", &["alice.test"]);
        let mallory = stranger.signs("alice", &["alice.test"]);
        let check = |required, shows: Option<&CertificateFiles>, expected: Option<Option<&str>>| {
            let client_certificates = Some(authority.of_clients(required));
            let spec = ListenerTls { client_certificates, ..spec.clone() };
            let tls = ServerTls::load(&spec).expect("loaded");
            let client = authority.client_with(rustls::DEFAULT_VERSIONS, shows);
            let seen = shake(&tls, client, "shop.test").ok().map(|shaken| shaken.client);
            let expected = expected.map(|subject| subject.map(str::to_owned));
            assert_eq!(seen, expected, "required {required}, shown {shows:?}");
        };
        check(true, Some(&alice), Some(Some("CN=alice")));
        check(true, None, None);
        check(true, Some(&mallory), None);
        check(false, Some(&alice), Some(Some("CN=alice")));
        check(false, None, Some(None));
        check(false, Some(&mallory), None);
    }

    #[test]
    fn a_missing_authority_of_clients_is_found_when_the_files_are_read() {
        let authority = Authority::new();
        let mut clients = authority.of_clients(true);
        clients.ca = authority.folder().join("none.pem");
        let mut spec = listener_tls(&[authority.signs("shop", &["shop.test"])]);
        spec.client_certificates = Some(clients);
        let error = ServerTls::load(&spec).expect_err("no such file").to_string();
        assert!(error.contains("none.pem: cannot be read"), "{error}");
    }
}
