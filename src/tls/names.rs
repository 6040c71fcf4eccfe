//! What a certificate says of its owner.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

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

/// The subject of a certificate as one line (RFC 4514), fit for a header's value: what is not
/// printable ASCII is written `?`. `None` for what is no certificate or has an empty subject.
#[must_use]
pub fn subject_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject().to_string();
    let shown: String = subject
        .chars()
        .take(MAX_SUBJECT)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

/// The most names of a certificate that are used.
const MAX_NAMES: usize = 1_000;
/// The most characters of a subject.
const MAX_SUBJECT: usize = 512;
