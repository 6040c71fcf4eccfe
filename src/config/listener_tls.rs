//! `tls` of a listener, and the pairs of files that it shares with target groups.

use std::path::Path;

use super::file_path;
use super::node::Node;
use crate::core::model::{
    CertificateFiles, ClientCertificates, EditableField, ListenerTls, TlsVersion,
};
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
    // One that belongs to the connection or to framing would be taken out of every request.
    let header = fields.take("header").map(|node| node.parsed::<EditableField>());
    fields.finish();
    let header = match header {
        Some(header) => header?.as_str().to_owned(),
        None => DEFAULT_HEADER.to_owned(),
    };
    Some(ClientCertificates { ca: ca?, required: required.unwrap_or(true), header })
}

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
const DEFAULT_HEADER: &str = "x-client-cert-subject";
/// The most certificates of a listener.
const MAX_CERTIFICATES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::super::listeners::tests::with_listener;
    use super::*;
    use crate::config::tests::{parse, refuses};
    use crate::tls::testkit::Authority;

    /// A pair of files as it is written.
    fn pair(certificate: &Path, key: &Path) -> String {
        format!("{{ certificate: '{}', key: '{}' }}", certificate.display(), key.display())
    }

    fn tls(keys: &str) -> String {
        with_listener(&format!("tls: {keys}"))
    }

    #[test]
    fn everything_of_tls_is_read() {
        let authority = Authority::new();
        let files = authority.signs("shop", &["shop.test"]);
        let good = pair(&files.certificate, &files.key);
        let read = |text: &str| parse(text).expect(text).listeners.remove(0).tls;
        let small = read(&tls(&format!("{{ certificates: [{good}] }}"))).expect("TLS");
        assert_eq!(small.certificates, std::slice::from_ref(&files));
        assert_eq!(small.minimum_version, TlsVersion::V1_2);
        assert_eq!(small.client_certificates, None);
        let ca = authority.file().display().to_string();
        let clients = |keys: &str| {
            let text = format!(
                "{{ certificates: [{good}, {good}], minimum_version: '1.3', client_certificates: {{ ca: '{ca}'{keys} }} }}"
            );
            let tls = read(&tls(&text)).expect("TLS");
            assert_eq!((tls.certificates.len(), tls.minimum_version), (2, TlsVersion::V1_3));
            tls.client_certificates.expect("asked for")
        };
        let plain = clients("");
        assert_eq!((plain.required, plain.header.as_str()), (true, "x-client-cert-subject"));
        let other = clients(", required: false, header: X-User");
        assert_eq!((other.required, other.header.as_str()), (false, "x-user"));
    }

    #[test]
    fn every_mistake_of_tls_is_told_where_it_is() {
        let (authority, other) = (Authority::new(), Authority::new());
        let files = authority.signs("shop", &["shop.test"]);
        let good = pair(&files.certificate, &files.key);
        let none = authority.folder().join("none.pem");
        let check = |keys: &str, expected: &str| {
            refuses(&tls(keys), &format!("line 1: listeners[0].tls{expected}"));
        };
        check("true", ": wanted a mapping, found true");
        check("{}", ": `certificates` is missing");
        check("{ certificates: [] }", ".certificates: wanted at least one certificate, found an");
        check(
            &format!("{{ certificates: [{{ certificate: '{}' }}] }}", files.certificate.display()),
            ".certificates[0]: `key` is missing",
        );
        let broken = |pair: &str, expected: &str| {
            check(
                &format!("{{ certificates: [{good}, {pair}] }}"),
                &format!(".certificates[1].{expected}"),
            );
        };
        let shown = |path: &Path| path.display().to_string();
        broken(
            &pair(&none, &files.key),
            &format!("certificate: {}: cannot be read: ", shown(&none)),
        );
        broken(&pair(&files.certificate, &none), &format!("key: {}: cannot be read", shown(&none)));
        broken(
            &pair(&files.key, &files.key),
            &format!("certificate: {}: holds no certificate in PEM", shown(&files.key)),
        );
        broken(
            &pair(&files.certificate, &files.certificate),
            &format!("key: {}: holds no private key in PEM", shown(&files.certificate)),
        );
        let another = other.signs("another", &["shop.test"]).key;
        let mismatch = format!(
            "key: {} is not the key of the certificate in {}",
            shown(&another),
            shown(&files.certificate)
        );
        broken(&pair(&files.certificate, &another), &mismatch);
        let more = |keys: &str, expected: &str| {
            check(&format!("{{ certificates: [{good}], {keys} }}"), expected);
        };
        more("minimum_version: '1.1'", ".minimum_version: found \"1.1\", wanted one of 1.2, 1.3");
        more(
            "minimum_version: 1.3",
            ".minimum_version: wanted a text, found the number 1.3; put it in",
        );
        more(
            "minimum_versio: '1.3'",
            ".minimum_versio: unknown key; did you mean `minimum_version`",
        );
    }

    #[test]
    fn every_mistake_about_clients_certificates_is_told_where_it_is() {
        let authority = Authority::new();
        let files = authority.signs("shop", &["shop.test"]);
        let good = pair(&files.certificate, &files.key);
        let ca = authority.file().display().to_string();
        let check = |keys: &str, expected: &str| {
            let keys = format!("{{ certificates: [{good}], client_certificates: {{ {keys} }} }}");
            refuses(&tls(&keys), &format!("listeners[0].tls.client_certificates{expected}"));
        };
        check("required: true", ": `ca` is missing");
        check("ca: /nowhere/ca.pem", ".ca: /nowhere/ca.pem: cannot be read: ");
        let key = files.key.display().to_string();
        check(&format!("ca: '{key}'"), &format!(".ca: {key}: holds no certificate in PEM"));
        check(&format!("ca: '{ca}', required: 1"), ".required: wanted true or false");
        check(
            &format!("ca: '{ca}', header: 'a b'"),
            ".header: \"a b\" is not the name of a header",
        );
        check(&format!("ca: '{ca}', header: Host"), ".header: host is not for rules to change");
        check(&format!("ca: '{ca}', depth: 2"), ".depth: unknown key");
    }
}
