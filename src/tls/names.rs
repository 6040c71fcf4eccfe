//! What a certificate says of its owner.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

/// The host names of a certificate (subject alternative names, RFC 6125), in lower case.
pub(super) fn names_of(der: &[u8]) -> Result<Vec<String>, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let alternative = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let Some(alternative) = alternative else { return Ok(Vec::new()) };
    let names = alternative.value.general_names.iter().filter_map(|name| {
        let GeneralName::DNSName(name) = name else { return None };
        Some(name.to_ascii_lowercase())
    });
    Ok(names.take(MAX_NAMES).collect())
}

/// The subject of a certificate as one line (RFC 4514), fit for a header's value: the most specific
/// part first, and what separates parts, or is not printable ASCII, escaped inside of them. So no
/// certificate can be made to read as another one's. `None` for what is no certificate, and for a
/// subject that is empty or too long.
#[must_use]
pub fn subject_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut parts: Vec<String> = certificate
        .subject()
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    let subject = parts.join(",");
    (1..=MAX_SUBJECT).contains(&subject.len()).then_some(subject)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let kind = match oid2abbrev(kind, oid_registry()) {
        Ok(known) => known.to_owned(),
        Err(_) => kind.to_id_string(),
    };
    let value = match attribute.as_str() {
        Ok(text) => escaped(text),
        Err(_) => {
            attribute.as_slice().iter().fold("#".to_owned(), |hex, b| format!("{hex}{b:02x}"))
        }
    };
    format!("{kind}={value}")
}

fn escaped(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let outside = at == 0 || at == last;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            b' ' | b'#' if outside => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\{byte:02X}")),
        }
    }
    escaped
}

/// The most names of a certificate that are used.
const MAX_NAMES: usize = 1_000;
/// The most bytes of a subject.
const MAX_SUBJECT: usize = 512;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> Option<String> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().expect("a key");
        subject_of(params.self_signed(&key).expect("signed").der())
    }

    #[test]
    fn a_subject_is_one_line_that_a_header_can_hold() {
        let named = |name: &str| subject(&[(DnType::CommonName, name)]);
        assert_eq!(named("alice").as_deref(), Some("CN=alice"));
        assert_eq!(named("zo\u{eb}\r\nx: 1").as_deref(), Some("CN=zo\\C3\\AB\\0D\\0Ax: 1"));
        assert_eq!(named(&"a".repeat(5_000)), None);
        assert_eq!(subject(&[]), None);
        assert_eq!(subject_of(b"no certificate"), None);
    }

    #[test]
    fn no_part_of_a_subject_can_be_written_inside_of_another() {
        let check = |parts: &[(DnType, &str)], expected: &str| {
            assert_eq!(subject(parts).as_deref(), Some(expected));
        };
        let (organisation, name) = (DnType::OrganizationName, DnType::CommonName);
        check(&[(organisation, "Shop"), (name.clone(), "alice")], "CN=alice,O=Shop");
        check(&[(name.clone(), "alice,O=Shop")], "CN=alice\\,O\\=Shop");
        check(&[(name.clone(), "alice+O=Shop;\\")], "CN=alice\\+O\\=Shop\\;\\\\");
        check(&[(name, " # a ")], "CN=\\ # a\\ ");
    }
}
