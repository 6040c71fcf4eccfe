//! `tls` of a listener, and the pairs of files that it shares with target groups.

use std::path::Path;

use super::file_path;
use super::node::Node;
use super::stickiness::token;
use crate::core::model::{CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};
use crate::tls::{Identity, ServerTls, TlsError};

/// Reads the section, and the files that it names.
pub(super) fn listener_tls(node: &Node<'_>, base_dir: &Path) -> Option<ListenerTls> {
    let mut fields = node.fields();
    let certificates = fields.require("certificates").map(|node| {
        let items = node.some_items(MAX_CERTIFICATES, "certificate");
        let pairs = items.iter().filter_map(|item| certificate_files(item, base_dir));
        pairs.collect::<Vec<_>>()
    });
    let version = fields.take("minimum_version").and_then(|node| node.word(&VERSIONS));
    let clients = fields.take("client_certificates");
    let clients = clients.map(|node| client_certificates(&node, base_dir));
    fields.finish();
    let tls = ListenerTls {
        certificates: certificates.filter(|pairs| !pairs.is_empty())?,
        minimum_version: version.unwrap_or_default(),
        client_certificates: match clients {
            Some(clients) => Some(clients?),
            None => None,
        },
    };
    // What each file has to be is checked where it is named; this is for what they are together.
    ServerTls::load(&tls).map_err(|error| node.mistake(error.to_string())).ok()?;
    Some(tls)
}

/// Reads a certificate and its key, which must belong together.
pub(super) fn certificate_files(node: &Node<'_>, base_dir: &Path) -> Option<CertificateFiles> {
    let mut fields = node.fields();
    let certificate = fields.require("certificate");
    let key = fields.require("key");
    fields.finish();
    let (certificate, key) = (certificate?, key?);
    let files = CertificateFiles {
        certificate: file_path(&certificate, base_dir)?,
        key: file_path(&key, base_dir)?,
    };
    match Identity::load(&files) {
        Ok(_) => Some(files),
        Err(error) => {
            let culprit = match &error {
                TlsError::Unreadable { path, .. }
                | TlsError::TooLarge { path, .. }
                | TlsError::NoCertificate { path }
                | TlsError::Unusable { path, .. }
                    if *path == files.certificate =>
                {
                    &certificate
                }
                TlsError::Unreadable { .. }
                | TlsError::TooLarge { .. }
                | TlsError::NoCertificate { .. }
                | TlsError::Unusable { .. }
                | TlsError::NoKey { .. }
                | TlsError::Mismatch { .. } => &key,
            };
            culprit.mistake(error.to_string());
            None
        }
    }
}

fn client_certificates(node: &Node<'_>, base_dir: &Path) -> Option<ClientCertificates> {
    let mut fields = node.fields();
    let ca = fields.require("ca").and_then(|node| {
        let path = file_path(&node, base_dir)?;
        let read = crate::tls::read_authorities(&path);
        read.map_err(|error| node.mistake(error.to_string())).ok()?;
        Some(path)
    });
    let required = fields.take("required").and_then(|node| node.flag());
    let header = fields.take("header").map(|node| node.checked(token));
    fields.finish();
    let header = match header {
        Some(header) => header?.to_ascii_lowercase(),
        None => DEFAULT_HEADER.to_owned(),
    };
    Some(ClientCertificates { ca: ca?, required: required.unwrap_or(true), header })
}

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
const DEFAULT_HEADER: &str = "x-client-cert-subject";
/// The most certificates of a listener.
const MAX_CERTIFICATES: usize = 1_000;
