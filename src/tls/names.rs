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

/// The subject of a certificate in the form of RFC 4514, fit for a header's value: what is not
/// printable ASCII is written in hexadecimal. `None` for what is no certificate, and for a subject
/// that is empty or too long to be told whole.
#[must_use]
pub fn subject_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // The most significant part comes first in the certificate and last in the text.
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
    let name = oid2abbrev(kind, oid_registry());
    let name = name.map_or_else(|_| kind.to_id_string(), str::to_owned);
    match attribute.as_str() {
        Ok(value) => format!("{name}={}", escaped(value)),
        Err(_) => {
            let hex = attribute.as_slice().iter().map(|byte| format!("{byte:02x}"));
            format!("{name}=#{}", hex.collect::<String>())
        }
    }
}

/// A value as RFC 4514, section 2.4, wants it.
fn escaped(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, byte) in value.bytes().enumerate() {
        let edge = byte == b' ' && (at == 0 || at == last);
        let first = byte == b'#' && at == 0;
        if edge || first || b"\"+,;<>=\\".contains(&byte) {
            text.push('\\');
            text.push(char::from(byte));
        } else if byte.is_ascii_graphic() || byte == b' ' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("\\{byte:02x}"));
        }
    }
    text
}

/// The most names of a certificate that are used.
const MAX_NAMES: usize = 1_000;
/// The longest subject that is told.
const MAX_SUBJECT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_pass_for_two_parts() {
        for (value, expected) in [
            ("alice", "alice"),
            ("alice, O=Admins", "alice\\, O\\=Admins"),
            (" #a ", "\\ #a\\ "),
            ("#a", "\\#a"),
            ("caf\u{e9}", "caf\\c3\\a9"),
            ("a\r\nb", "a\\0d\\0ab"),
        ] {
            assert_eq!(escaped(value), expected, "{value:?}");
        }
    }
}
